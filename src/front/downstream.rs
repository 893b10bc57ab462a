//! A client's connection as pingora sees it: one request at a time, as its bytes were checked.
//!
//! The header of a request is read here, whole, before pingora hears of it; nothing of a connection that waits is held but the
//! connection. Then pingora gets that header and reads the body, up to where it ends. What comes after that is kept for the
//! next request. And when a request is overdue, pingora is told here, where it always listens.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::http1::{Body, Bounds, Head};
use super::pace::Pace;
use super::tunnel::Tunnel;
use crate::proxy::Connection;
use crate::reason::Reason;

/// How much is read at once where nothing is known of what comes.
const PIECE: usize = 4096;
/// How much of the requests after this one is held; the rest stays with the client.
const MOST_AHEAD: usize = 64 * 1024;

/// What a client may take its time for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the first byte of a header.
    pub(super) idle: Duration,
    /// From there to its last.
    pub(super) header: Duration,
    /// How large it may be.
    pub(super) bounds: Bounds,
    /// For the body, in all that it is waited for; beyond that, how many bytes of it come in a second at least.
    pub(super) body: Duration,
    pub(super) body_rate: Option<u64>,
}

/// Why no request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There is nobody any more, or nobody has said anything for long.
    Silent,
    /// What came is answered with this, and nothing after it.
    Refused(Reason),
    /// The client speaks HTTP/2.
    Http2,
}

/// A client's connection.
pub(super) struct Downstream {
    stream: Stream,
    connection: Arc<Connection>,
    /// What has come and was not wanted yet.
    ahead: BytesMut,
    /// What is to come of the request under way, and when the last of it came, if it had a body.
    body: Body,
    body_ended: Option<std::time::Instant>,
    pace: Pace,
    alarm: Alarm,
    /// The client will send no more.
    ended: bool,
    tunnel: Option<Tunnel>,
}

impl Downstream {
    /// A connection of which `ahead` has been read already.
    pub(super) fn new(stream: Stream, connection: Arc<Connection>, ahead: BytesMut) -> Self {
        let (pace, alarm) = Default::default();
        Downstream {
            stream,
            connection,
            ahead,
            body: Body::NONE,
            body_ended: None,
            pace,
            alarm,
            ended: false,
            tunnel: None,
        }
    }

    /// Take the connection back from pingora.
    pub(super) fn again(stream: Stream) -> Option<Box<Self>> {
        stream.into_any().downcast().ok()
    }

    /// What lies below.
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What lies below, and what was read of it.
    pub(super) fn into_parts(self) -> (Stream, BytesMut) {
        (self.stream, self.ahead)
    }

    /// What has come of a request that is none.
    pub(super) fn came(&self) -> &[u8] {
        &self.ahead
    }

    /// The header of the next request.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn next(&mut self, patience: &Patience, h2c: bool) -> Result<BytesMut, End> {
        let mut wait = Wait { head: Head::default(), since: Instant::now(), begun: !self.ahead.is_empty(), h2c };
        (self.pace, self.body_ended) = (Pace::new(patience.body_rate, patience.body), None);
        std::future::poll_fn(|context| self.poll_next(&mut wait, patience, context)).await
    }

    fn poll_next(
        &mut self,
        wait: &mut Wait,
        patience: &Patience,
        context: &mut Context<'_>,
    ) -> Poll<Result<BytesMut, End>> {
        loop {
            if wait.begun {
                if wait.h2c && super::http2::begins(&self.ahead) {
                    match self.ahead.len() < super::http2::PREFACE.len() {
                        true => {}
                        false => return Poll::Ready(Err(End::Http2)),
                    }
                } else if let Some(found) = wait.head.scan(&self.ahead, &patience.bounds).map_err(End::Refused)? {
                    self.body = found.body;
                    let mut header = self.ahead.split_to(found.place.end);
                    header.advance(found.place.start);
                    return Poll::Ready(Ok(header));
                }
            }
            if self.ended {
                return Poll::Ready(Err(End::Silent));
            }
            match self.read_ahead(context) {
                Poll::Ready(Ok(0) | Err(_)) => self.ended = true,
                Poll::Ready(Ok(_)) if wait.begun => {}
                Poll::Ready(Ok(_)) => (wait.begun, wait.since) = (true, Instant::now()),
                Poll::Pending => {
                    let patience = if wait.begun { patience.header } else { patience.idle };
                    return match (self.alarm.rings(wait.since + patience, context), wait.begun) {
                        (false, _) => Poll::Pending,
                        (true, false) => Poll::Ready(Err(End::Silent)),
                        (true, true) => Poll::Ready(Err(End::Refused(Reason::ClientTimeout))),
                    };
                }
            }
        }
    }

    /// Read what comes, for later. On the stack first: a connection on which nothing comes holds no buffer for it.
    fn read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; PIECE];
        let mut piece = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
        self.ahead.extend_from_slice(piece.filled());
        Poll::Ready(Ok(piece.filled().len()))
    }

    /// Some of the body.
    fn read_body(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let most = self.ahead.len().min(buffer.remaining());
            let passed = self.body.pass(self.ahead.get(..most).unwrap_or_default());
            let passed = passed.map_err(|reason| self.refuse(reason))?;
            buffer.put_slice(&self.ahead.split_to(passed));
            self.note_end();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) else {
            return match self.pace.late(&mut self.alarm, context) {
                true => Poll::Ready(Err(self.refuse(Reason::ClientTimeout))),
                false => Poll::Pending,
            };
        };
        read?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        let passed = self.body.pass(new).map_err(|reason| self.refuse(reason))?;
        self.pace.came(passed);
        // What belongs to the next request is not pingora's yet.
        self.ahead.extend_from_slice(new.get(passed..).unwrap_or_default());
        buffer.set_filled(before + passed);
        self.note_end();
        Poll::Ready(Ok(()))
    }

    fn note_end(&mut self) {
        if self.body.over() {
            self.body_ended = Some(Instant::now().into());
        }
    }

    /// The request has come whole, and pingora waits for its answer: is the client still there?
    fn read_between(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ended && self.ahead.len() < MOST_AHEAD {
            match self.read_ahead(context) {
                Poll::Ready(read) => self.ended = read? == 0,
                Poll::Pending => break,
            }
        }
        // Who has sent another request waits for its answer, too.
        if self.ended && self.ahead.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.connection.due(self.body_ended) {
            Some(due) if self.alarm.rings(due.into(), context) => {
                self.connection.overdue();
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            _ => Poll::Pending,
        }
    }

    /// What comes is no request that could be answered in any other way.
    fn refuse(&self, reason: Reason) -> io::Error {
        self.connection.refuse(reason);
        io::ErrorKind::InvalidData.into()
    }

    /// The tunnel that the connection has become, if it has.
    fn tunnel(&mut self) -> Option<(&mut Tunnel, &mut Stream)> {
        if !self.connection.tunnel() {
            return None;
        }
        let tunnel = self.tunnel.get_or_insert_with(|| Tunnel::new(&self.connection));
        Some((tunnel, &mut self.stream))
    }
}

/// What is known of a request that is being waited for.
struct Wait {
    head: Head,
    /// When it began to come, or to be waited for.
    since: Instant,
    begun: bool,
    /// It may be HTTP/2.
    h2c: bool,
}

impl AsyncRead for Downstream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((tunnel, stream)) = self.tunnel() {
            tunnel.advance(stream, context)?;
            if tunnel.over() {
                return Poll::Ready(Ok(()));
            }
            if self.ahead.is_empty() {
                return Pin::new(&mut self.stream).poll_read(context, buffer);
            }
            let most = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(most));
            return Poll::Ready(Ok(()));
        }
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !self.body.over() {
            return self.read_body(context, buffer);
        }
        if self.connection.ends_body() {
            buffer.put_slice(&[0]);
            return Poll::Ready(Ok(()));
        }
        self.read_between(context)
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

super::delegate::pingora_stream!(Downstream);
