//! The name of a backend, as people see it.

use pingora_core::protocols::l4::socket::SocketAddr;

/// An address as text; pingora prints Unix paths as debug output.
pub(crate) fn label(address: &SocketAddr) -> String {
    match address {
        SocketAddr::Inet(address) => address.to_string(),
        SocketAddr::Unix(address) => match address.as_pathname() {
            Some(path) => format!("unix:{}", path.display()),
            None => "unix:".to_owned(),
        },
    }
}
