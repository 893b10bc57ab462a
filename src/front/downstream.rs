//! A client's connection as pingora sees it, with a way to end a tunnel in good order.
//!
//! Once a request has become a WebSocket, pingora only carries bytes: no hook runs while nobody says anything. But it always
//! reads from the client. So here, below it, the end is waited for: then the client gets a close frame, as soon as no other is
//! half sent, nothing after it, and a moment to answer. What it answers still reaches the backend.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, raw_connect,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;
use crate::proxy::{Connection, Phase};

/// A close frame of a server, with the code 1001: it goes away.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// How long the client may take to answer a close frame.
const ANSWER: Duration = Duration::from_secs(1);

type Event = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A client's connection.
pub(super) struct Downstream {
    stream: Stream,
    connection: Arc<Connection>,
    tunnel: Option<Tunnel>,
}

struct Tunnel {
    frames: Frames,
    /// In a mutex for that to be shared, which it never is.
    event: Mutex<Event>,
    end: End,
}

/// How far a tunnel has come on its way to its end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It goes on.
    Open,
    /// The frame under way is finished, then so many bytes of the close frame have been sent.
    Closing(usize),
    /// The close frame is out.
    Closed,
    /// The client is taken to have hung up.
    Over,
}

impl Downstream {
    pub(super) fn new(stream: Stream, connection: Arc<Connection>) -> Self {
        Downstream { stream, connection, tunnel: None }
    }

    /// The tunnel that the connection has become, if it has.
    fn tunnel(&mut self) -> Option<(&mut Tunnel, &mut Stream)> {
        if !self.connection.tunnel() {
            return None;
        }
        let connection = &self.connection;
        let tunnel = self.tunnel.get_or_insert_with(|| {
            let connection = Arc::clone(connection);
            let event: Event = Box::pin(async move { connection.reaches(Phase::Ending).await });
            Tunnel { frames: Frames::new(), event: Mutex::new(event), end: End::Open }
        });
        Some((tunnel, &mut self.stream))
    }
}

impl Tunnel {
    /// Do what can be done now towards the end, if it has come.
    fn advance(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> io::Result<()> {
        let event = self.event.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.end == End::Open && event.as_mut().poll(context).is_ready() {
            self.end = End::Closing(0);
        }
        while let End::Closing(sent) = self.end {
            if sent == 0 && !self.frames.at_boundary() {
                return Ok(());
            }
            let rest = GOING_AWAY.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                let Poll::Ready(flushed) = Pin::new(&mut *stream).poll_flush(context) else { return Ok(()) };
                flushed?;
                let event: Event = Box::pin(tokio::time::sleep(ANSWER));
                (self.event, self.end) = (Mutex::new(event), End::Closed);
                break;
            }
            let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(context, rest) else { return Ok(()) };
            self.end = End::Closing(sent + written?);
        }
        let event = self.event.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.end == End::Closed && event.as_mut().poll(context).is_ready() {
            self.end = End::Over;
        }
        Ok(())
    }

    fn write(&mut self, stream: &mut Stream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.advance(stream, context)?;
        let bytes = match self.end {
            End::Open => bytes,
            End::Closing(0) if !self.frames.at_boundary() => {
                bytes.get(..self.frames.to_boundary(bytes)).unwrap_or(bytes)
            }
            // The close frame is half sent, and whoever sends it is woken when there is room.
            End::Closing(_) => return Poll::Pending,
            // Nothing may follow a close frame.
            End::Closed | End::Over => return Poll::Ready(Ok(bytes.len())),
        };
        let written = ready!(Pin::new(&mut *stream).poll_write(context, bytes))?;
        self.frames.pass(bytes.get(..written).unwrap_or_default());
        // Perhaps that was the end of the frame that the close frame waits for.
        self.advance(stream, context)?;
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for Downstream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((tunnel, stream)) = self.tunnel() {
            tunnel.advance(stream, context)?;
            if tunnel.end == End::Over {
                return Poll::Ready(Ok(()));
            }
        }
        if self.connection.ends_body() && buffer.remaining() > 0 {
            buffer.put_slice(&[0]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.tunnel() {
            Some((tunnel, stream)) => tunnel.write(stream, context, bytes),
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.tunnel() {
            Some((tunnel, stream)) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                tunnel.write(stream, context, first.map_or(&[], |slice| slice))
            }
            None => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl fmt::Debug for Downstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

#[async_trait]
impl Shutdown for Downstream {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

#[async_trait]
impl Peek for Downstream {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.stream.try_peek(buffer).await
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> i32 {
        self.stream.id()
    }
}

impl Ssl for Downstream {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Downstream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Downstream {
    fn get_proxy_digest(&self) -> Option<Arc<raw_connect::ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: raw_connect::ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Downstream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}
