//! `proxy_protocol`: each connection begins with who the client is, ahead of TLS and HTTP.
//!
//! So a connection is one client's, and is kept for requests of the same client connection alone.

use std::fmt;
use std::net::SocketAddr as InetAddress;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ahash::RandomState;
use async_trait::async_trait;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{ErrorType, OkOrErr, OrErr, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, UnixStream};

use crate::config::ProxyProtocol;
use crate::proxy_header::{self, Ends};

/// How long such a connection is kept: its client may send another request, and nobody else can use it.
const IDLE: Duration = Duration::from_secs(10);

/// Have connections for this peer begin with the two ends of the client's.
pub(super) fn introduce(peer: &mut HttpPeer, version: ProxyProtocol, ends: Ends) {
    static STATE: OnceLock<RandomState> = OnceLock::new();
    peer.group_key = STATE.get_or_init(RandomState::new).hash_one((peer.group_key, ends));
    let options = &mut peer.options;
    options.idle_timeout = Some(options.idle_timeout.map_or(IDLE, |idle| idle.min(IDLE)));
    let (inner, tweak) = (options.custom_l4.take(), options.upstream_tcp_sock_tweak_hook.take());
    options.custom_l4 = Some(Arc::new(Introduced { header: proxy_header::encode(version, ends), inner, tweak }));
}

type Tweak = Arc<dyn Fn(&TcpSocket) -> Result<()> + Send + Sync>;

/// Connects as pingora would have, and begins with the header.
struct Introduced {
    header: Vec<u8>,
    /// Who else was to connect, and what was to be done with a new socket.
    inner: Option<Arc<dyn Connect + Send + Sync>>,
    tweak: Option<Tweak>,
}

impl fmt::Debug for Introduced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introduced").finish_non_exhaustive()
    }
}

#[async_trait]
impl Connect for Introduced {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let mut stream = match (&self.inner, address) {
            (Some(inner), _) => inner.connect(address).await?,
            (None, SocketAddr::Inet(address)) => self.dial(*address).await?,
            (None, SocketAddr::Unix(address)) => {
                let path = address.as_pathname().or_err(ErrorType::ConnectError, "a socket without a path")?;
                UnixStream::connect(path).await.or_err(ErrorType::ConnectError, "cannot connect")?.into()
            }
        };
        let written = stream.write_all(&self.header).await;
        written.or_err(ErrorType::ConnectError, "cannot send the PROXY header")?;
        stream.flush().await.or_err(ErrorType::ConnectError, "cannot send the PROXY header")?;
        Ok(stream)
    }
}

impl Introduced {
    async fn dial(&self, address: InetAddress) -> Result<Stream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.or_err(ErrorType::SocketError, "cannot make a socket")?;
        if let Some(tweak) = &self.tweak {
            tweak(&socket)?;
        }
        Ok(socket.connect(address).await.or_err(ErrorType::ConnectError, "cannot connect")?.into())
    }
}
