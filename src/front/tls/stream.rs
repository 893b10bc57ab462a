//! A connection after its handshake, as pingora sees it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use log::debug;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, raw_connect,
};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

/// A client's connection over TLS.
pub(super) struct Secured {
    stream: TlsStream<Stream>,
    digest: Arc<SslDigest>,
    timing: TimingDigest,
}

impl Secured {
    /// The connection of a handshake that took so long. `digest` is what pingora's hooks see of it.
    pub(super) fn new(stream: TlsStream<Stream>, digest: SslDigest, took: Duration) -> Self {
        let timing = TimingDigest {
            established_ts: SystemTime::now(),
            establishment_duration: Some(took),
            ..TimingDigest::default()
        };
        Secured { stream, digest: Arc::new(digest), timing }
    }

    fn below(&self) -> &Stream {
        self.stream.get_ref().0
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

crate::front::delegate::writes_through!(Secured);

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secured").field(self.below()).finish()
    }
}

#[async_trait]
impl Shutdown for Secured {
    async fn shutdown(&mut self) {
        if let Err(e) = AsyncWriteExt::shutdown(&mut self.stream).await {
            debug!("a TLS connection did not end in good order: {e}");
        }
    }
}

#[async_trait]
impl Peek for Secured {}

impl UniqueID for Secured {
    fn id(&self) -> i32 {
        self.below().id()
    }
}

impl Ssl for Secured {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(Arc::clone(&self.digest))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.stream.get_ref().1.alpn_protocol()? {
            b"h2" => Some(ALPN::H2),
            b"http/1.1" => Some(ALPN::H1),
            _ => None,
        }
    }
}

impl GetTimingDigest for Secured {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        let mut digests = self.below().get_timing_digest();
        digests.push(Some(self.timing.clone()));
        digests
    }

    fn get_read_pending_time(&self) -> Duration {
        self.below().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.below().get_write_pending_time()
    }
}

impl GetProxyDigest for Secured {
    fn get_proxy_digest(&self) -> Option<Arc<raw_connect::ProxyDigest>> {
        self.below().get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: raw_connect::ProxyDigest) {
        self.stream.get_mut().0.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Secured {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.below().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.get_mut().0.set_socket_digest(digest);
    }
}
