//! The end of a tunnel, in good order.
//!
//! Once a request has become a WebSocket, pingora only carries bytes: no hook runs while nobody says anything. But it always
//! reads from the client. So here, below it, the end is waited for: then the client gets a close frame, as soon as no other is
//! half sent, nothing after it, and a moment to answer. What it answers still reaches the backend.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora_core::protocols::Stream;
use tokio::io::AsyncWrite;

use super::frames::Frames;
use crate::proxy::{Connection, Phase};

/// A close frame of a server, with the code 1001: it goes away.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// How long the client may take to answer a close frame.
const ANSWER: Duration = Duration::from_secs(1);

type Event = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that has become a tunnel.
pub(super) struct Tunnel {
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

impl Tunnel {
    /// The connection is about to get the header of the response that begins the tunnel.
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        let connection = Arc::clone(connection);
        let event: Event = Box::pin(async move { connection.reaches(Phase::Ending).await });
        Tunnel { frames: Frames::new(), event: Mutex::new(event), end: End::Open }
    }

    /// Whether the client is taken to have hung up.
    pub(super) fn over(&self) -> bool {
        self.end == End::Over
    }

    /// Do what can be done now towards the end, if it has come.
    pub(super) fn advance(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> io::Result<()> {
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

    pub(super) fn write(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
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
