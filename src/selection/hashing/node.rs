//! A backend as the hashing tables see it: a name and a weight, and nothing that changes while it serves.

use std::os::unix::ffi::OsStrExt;

use pingora_core::protocols::l4::socket::SocketAddr;

use crate::backend::Group;

/// One backend. A table answers with its position in the slice that the table was built from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    pub(super) address: &'a SocketAddr,
    /// Against that of the others. 0 counts as 1: who may not be picked is not in the slice.
    pub(super) weight: u64,
}

impl Node<'_> {
    /// What it is hashed and sorted by: `10.0.0.1:80`, `unix:/run/app.sock`. In bytes, for a path need not be text.
    pub(super) fn name(&self) -> Vec<u8> {
        match self.address {
            SocketAddr::Inet(address) => address.to_string().into_bytes(),
            SocketAddr::Unix(address) => {
                let path = address.as_pathname().map(|path| path.as_os_str().as_bytes());
                [b"unix:", path.unwrap_or_default()].concat()
            }
        }
    }

    /// What pingora hashes for a ketama ring, and nginx for IPv4: host, zero byte, port. nginx leaves the brackets around
    /// an IPv6 address. Pingora's ring has no Unix sockets; nginx's has their paths without `unix:`, and a zero byte.
    pub(super) fn ketama_name(&self) -> Vec<u8> {
        match self.address {
            SocketAddr::Inet(address) => format!("{}\0{}", address.ip(), address.port()).into_bytes(),
            SocketAddr::Unix(_) => self.name(),
        }
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight.max(1)
    }
}

/// The positions of nodes in the order of their names: who comes first may not depend on the order in which discovery lists.
pub(super) fn by_name(nodes: &[Node<'_>]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..nodes.len() as u32).collect();
    order.sort_by_cached_key(|&i| nodes[i as usize].name());
    order
}

/// The candidates of a group as nodes.
pub(super) fn nodes(group: &Group) -> Vec<Node<'_>> {
    group.candidates.iter().map(|c| Node { address: &c.backend.addr, weight: c.weight }).collect()
}
