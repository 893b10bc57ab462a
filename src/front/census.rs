//! How many connections there are, in all and of each client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::reason::Reason;

/// Locks that are taken once when a connection comes and once when it goes.
const SHARDS: usize = 16;

/// Counts connections.
#[derive(Debug, Default)]
pub(super) struct Census {
    all: AtomicUsize,
    clients: [Mutex<HashMap<IpAddr, u64, ahash::RandomState>>; SHARDS],
}

/// A connection, counted as long as this lives.
pub(super) struct Counted {
    census: Arc<Census>,
    client: Option<IpAddr>,
}

impl Census {
    /// Count a connection, if there may be one more.
    ///
    /// # Errors
    /// That there may not.
    pub(super) fn count(self: &Arc<Self>, most: u64) -> Result<Counted, Reason> {
        let counted = Counted { census: Arc::clone(self), client: None };
        let before = self.all.fetch_add(1, Relaxed);
        if before as u64 >= most {
            return Err(Reason::TooManyConnections);
        }
        Ok(counted)
    }

    fn shard(&self, client: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u64, ahash::RandomState>> {
        let last = match client {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[7],
        };
        self.clients[usize::from(last) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Whose it is, if that client may have one more.
    ///
    /// # Errors
    /// That it may not.
    pub(super) fn of(&mut self, client: IpAddr, most: u64) -> Result<(), Reason> {
        let client = network(client);
        let mut clients = self.census.shard(client);
        let count = clients.entry(client).or_default();
        if *count >= most {
            return Err(Reason::TooManyConnectionsPerIp);
        }
        *count += 1;
        drop(clients);
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.census.all.fetch_sub(1, Relaxed);
        let Some(client) = self.client else { return };
        let mut clients = self.census.shard(client);
        if let Some(count) = clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&client);
            }
        }
    }
}

/// What is counted as one client: whoever has an IPv6 address has 2^64 of them.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let census = Arc::new(Census::default());
        let first = census.count(2).unwrap();
        let _second = census.count(2).unwrap();
        assert_eq!(census.count(2).err(), Some(Reason::TooManyConnections));
        assert_eq!(census.count(2).err(), Some(Reason::TooManyConnections), "who is refused is not counted");
        drop(first);
        assert!(census.count(2).is_ok());
        assert!(census.count(u64::MAX).is_ok());
    }

    #[test]
    fn a_client_has_so_many_and_no_more() {
        let census = Arc::new(Census::default());
        let connect = |client: &str| {
            let mut counted = census.count(u64::MAX)?;
            counted.of(address(client), 2).map(|()| counted)
        };
        let (_a, b) = (connect("192.0.2.1").unwrap(), connect("::ffff:192.0.2.1").unwrap());
        assert_eq!(connect("192.0.2.1").err(), Some(Reason::TooManyConnectionsPerIp));
        assert!(connect("192.0.2.2").is_ok());
        drop(b);
        assert!(connect("192.0.2.1").is_ok());
        let (_c, _d) = (connect("2001:db8::1").unwrap(), connect("2001:db8::2").unwrap());
        assert_eq!(connect("2001:db8::ffff:3").err(), Some(Reason::TooManyConnectionsPerIp));
        assert!(connect("2001:db8:0:1::1").is_ok());
        drop((_a, _c, _d));
        assert_eq!(census.clients.iter().map(|shard| shard.lock().unwrap().len()).sum::<usize>(), 0);
        assert_eq!(census.all.load(Relaxed), 0);
    }
}
