//! Where clients connect, and what is asked of them there.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{ListenerTls, Place, Redirect};

/// One listener: an address that clients connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// `ip:port` or `unix:/path`. Port 0 takes any free port; the log and `/api/v1/listeners` say which.
    pub address: ListenAddress,
    /// Speak TLS here; plain HTTP without it.
    pub tls: Option<ListenerTls>,
    /// Speak HTTP/2 without TLS, by prior knowledge, beside nothing else. Default `false`.
    pub h2c: bool,
    /// Answer every request here by sending the client to HTTPS. Default not.
    pub redirect_to_https: Option<Redirect>,
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

/// Limits of the client's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a TLS handshake may take. Default [`Limits::HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// How long a kept-alive connection may stay silent, and how long a started request header may pause.
    /// Default [`Limits::IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// How long a request body may pause before the client gets a 408. Default [`Limits::BODY_TIMEOUT`].
    pub body_timeout: Duration,
    /// How long the client may refuse to take what we send. Default [`Limits::WRITE_TIMEOUT`].
    pub write_timeout: Duration,
    /// The largest request body, in bytes; more is answered with 413. Default none: bodies are streamed, never held.
    pub max_body_size: Option<u64>,
}

impl Limits {
    /// As long as a client on a bad line needs. A connection is all that one costs which says nothing.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
    /// As nginx's `keepalive_timeout`.
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
    /// As nginx's `client_body_timeout`.
    pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
    /// As nginx's `send_timeout`.
    pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshake_timeout: Self::HANDSHAKE_TIMEOUT,
            idle_timeout: Self::IDLE_TIMEOUT,
            body_timeout: Self::BODY_TIMEOUT,
            write_timeout: Self::WRITE_TIMEOUT,
            max_body_size: None,
        }
    }
}
