//! An HTTP/2 connection as pingora sees it: what was read of it already, and a limit on what costs us work and nobody else.
//!
//! The h2 crate bounds what a client may have us remember: headers that go on for ever, streams that are reset as soon as they
//! are opened, pings that nobody takes the answer of. What is left is that we do what is asked, as fast as it is asked.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use log::debug;
use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::flood::Flood;

/// With what a client begins that speaks HTTP/2 by prior knowledge.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read until others have their turn: the h2 crate goes on as long as there is something, and headers of so many
/// bytes may stand for some hundred times as many, all of which it looks at before it refuses them.
const TURN: usize = 16 * 1024;

/// Whether this may be its beginning.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let most = bytes.len().min(PREFACE.len());
    bytes.get(..most) == PREFACE.get(..most)
}

/// A client's connection that speaks HTTP/2.
pub(super) struct Http2 {
    stream: Stream,
    ahead: BytesMut,
    /// Until when the client has to begin; `None` once it has.
    begin_by: Option<Instant>,
    alarm: Alarm,
    flood: Flood,
    /// How much was read in this turn.
    turn: usize,
}

impl Http2 {
    /// A connection of which `ahead` has been read already; the client has so long to begin.
    pub(super) fn new(stream: Stream, ahead: BytesMut, patience: Duration) -> Self {
        let begin_by = Some(Instant::now() + patience);
        Http2 { stream, ahead, begin_by, alarm: Alarm::default(), flood: Flood::new(), turn: 0 }
    }
}

impl AsyncRead for Http2 {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.turn >= TURN {
            this.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if this.ahead.is_empty() {
            let read = Pin::new(&mut this.stream).poll_read(context, buffer);
            if let (true, Some(by)) = (read.is_pending(), this.begin_by)
                && this.alarm.rings(by, context)
            {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if read.is_pending() {
                this.turn = 0;
            }
            ready!(read)?;
        } else {
            let most = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(this.ahead.get(..most).unwrap_or_default());
            this.ahead.advance(most);
        }
        let new = buffer.filled().get(before..).unwrap_or_default();
        this.turn += new.len();
        if !this.flood.pass(new) {
            debug!("a client floods its HTTP/2 connection: closing");
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if this.flood.begun() {
            this.begin_by = None;
        }
        Poll::Ready(Ok(()))
    }
}

super::delegate::writes_through!(Http2);
super::delegate::pingora_stream!(Http2);
