//! `tcp`: a backend is well if a connection to it can be made.

use async_trait::async_trait;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::{ErrorType, OrErr, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;
use tokio::net::{TcpStream, UnixStream};

/// Connects and hangs up. How long that may take is the pool's `timeout` to say.
#[derive(Default)]
pub struct TcpCheck;

#[async_trait]
impl HealthCheck for TcpCheck {
    async fn check(&self, target: &Backend) -> Result<()> {
        let connected = match &target.addr {
            SocketAddr::Inet(address) => TcpStream::connect(address).await.map(drop),
            SocketAddr::Unix(address) => {
                UnixStream::connect(address.as_pathname().unwrap_or("".as_ref())).await.map(drop)
            }
        };
        connected.or_err(ErrorType::ConnectError, "cannot connect")
    }

    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}
