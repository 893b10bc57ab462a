//! Where clients connect, and what is asked of them there.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::{Extension, ListenerTls, Place, Redirect};

/// One listener: an address that clients connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// `ip:port` or `unix:/path`. Port 0 takes any free port; the log and `/api/v1/listeners` say which.
    pub address: ListenAddress,
    /// Speak TLS here; plain HTTP without it.
    pub tls: Option<ListenerTls>,
    /// Speak HTTP/2 without TLS, too, by prior knowledge. Default `false`.
    pub h2c: bool,
    /// Answer every request here by sending the client to HTTPS. Default not.
    pub redirect_to_https: Option<Redirect>,
    /// Who begins a connection with a header of the PROXY protocol, and is believed. Default nobody.
    pub proxy_protocol: Vec<IpNet>,
    /// What requests that come here pass, after the filters of the whole and before those of their route.
    pub filters: Vec<Extension>,
    /// Where the file says so.
    pub at: Place,
}

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP address; `:8080` in the file means every IPv4 interface.
    Tcp(SocketAddr),
    /// The absolute path of a Unix domain socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(f, "{address}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
