//! `max_connections`: how many connections to its backends a pool may have open.
//!
//! Counted where pingora opens and closes them: the hook that it calls on a new socket takes a place, and the tracer that it
//! ties to the connection gives it back. So a connection that is being opened counts, one that is kept counts, and one
//! that is used again needs no second place.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use async_trait::async_trait;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::upstreams::peer::{HttpPeer, Tracer, Tracing};
use pingora_core::{Error, ErrorType, OkOrErr, OrErr, Result};
use tokio::net::UnixStream;

use crate::backend::clock_millis;

/// Says of pingora's error that the pool has all the connections that it may have.
pub(crate) const CONNECTION_LIMIT: ErrorType = ErrorType::Custom("connection limit");

/// A refusal asks for a connection back, but not sooner after the one before: under a real overload, each connection would
/// serve but one request.
const ASK_EVERY_MILLIS: u64 = 10;

/// The open connections of one pool.
#[derive(Debug)]
pub(super) struct Connections {
    max: AtomicUsize,
    open: AtomicUsize,
    /// Somebody was refused, and when that last was. All places may be held by connections that are kept to other backends,
    /// which pingora closes only when they have been idle for long.
    wanted: AtomicBool,
    asked: AtomicU64,
}

impl Connections {
    pub(super) fn new(max: u32) -> Arc<Self> {
        let (open, wanted, asked) = Default::default();
        Arc::new(Connections { max: AtomicUsize::new(max as usize), open, wanted, asked })
    }

    pub(super) fn max(&self) -> usize {
        self.max.load(Relaxed)
    }

    /// Allow so many from now on; nobody is cut off.
    pub(super) fn set_max(&self, max: u32) {
        self.max.store(max as usize, Relaxed);
    }

    /// How many there are, those included that are being opened.
    pub(super) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// Count what is opened for this peer.
    pub(super) fn watch(self: &Arc<Self>, peer: &mut HttpPeer) {
        let places = Arc::new(Places { connections: Arc::clone(self), held: AtomicUsize::default() });
        let options = &mut peer.options;
        options.tracer = Some(Tracer(Box::new(Watch(Arc::clone(&places)))));
        if matches!(peer._address, SocketAddr::Unix(_)) {
            // Pingora has no hook on these.
            options.custom_l4 = Some(Arc::new(Watch(places)));
        } else {
            options.upstream_tcp_sock_tweak_hook = Some(Arc::new(move |_| places.take()));
        }
    }

    /// Whether a connection is to be closed after its request, because another is wanted. Says so once.
    #[inline]
    pub(super) fn wanted(&self) -> bool {
        self.wanted.load(Relaxed) && self.wanted.swap(false, Relaxed)
    }

    fn take(&self) -> Result<()> {
        if self.open.fetch_update(SeqCst, SeqCst, |n| (n < self.max()).then_some(n + 1)).is_ok() {
            return Ok(());
        }
        self.ask(clock_millis());
        Error::e_explain(CONNECTION_LIMIT, "max_connections is reached")
    }

    /// Want a connection back, unless somebody did just now.
    fn ask(&self, now: u64) {
        if now.saturating_sub(self.asked.load(Relaxed)) >= ASK_EVERY_MILLIS {
            self.asked.store(now, Relaxed);
            self.wanted.store(true, Relaxed);
        }
    }
}

/// The places that one attempt holds: 1 from when its connection is being opened. Given back when the connection is
/// closed, or when nobody knows of the attempt any more, if none came of it.
#[derive(Debug)]
struct Places {
    connections: Arc<Connections>,
    held: AtomicUsize,
}

impl Places {
    fn take(&self) -> Result<()> {
        self.connections.take()?;
        self.held.fetch_add(1, SeqCst);
        Ok(())
    }

    fn give_back(&self, most: usize) {
        let mut given = 0;
        let _ = self.held.fetch_update(SeqCst, SeqCst, |held| {
            given = held.min(most);
            Some(held - given)
        });
        self.connections.open.fetch_sub(given, SeqCst);
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.give_back(usize::MAX);
    }
}

/// Tied to a connection, as long as it is open.
#[derive(Clone, Debug)]
struct Watch(Arc<Places>);

impl Tracing for Watch {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        self.0.give_back(1);
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Connect for Watch {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let path = address.as_unix().and_then(|address| address.as_pathname());
        let path = path.or_err(ErrorType::ConnectError, "a socket without a path")?;
        self.0.take()?;
        Ok(UnixStream::connect(path).await.or_err(ErrorType::ConnectError, "cannot connect")?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections: &Arc<Connections>) -> Places {
        Places { connections: Arc::clone(connections), held: AtomicUsize::default() }
    }

    #[test]
    fn a_place_is_held_until_the_connection_is_closed_or_came_to_nothing() {
        let connections = Connections::new(2);
        let (open, failed) = (Arc::new(places(&connections)), places(&connections));
        open.take().unwrap();
        failed.take().unwrap();
        assert_eq!(places(&connections).take().unwrap_err().etype, CONNECTION_LIMIT);
        assert_eq!(connections.open(), 2, "whoever is refused holds nothing");
        drop(failed);
        assert_eq!(connections.open(), 1);

        let watch = Watch(Arc::clone(&open)).boxed_clone();
        watch.on_connected();
        drop(open);
        assert_eq!(connections.open(), 1, "the connection is kept");
        watch.on_disconnected();
        assert_eq!(connections.open(), 0);
        drop(watch);
        assert_eq!(connections.open(), 0, "given back once");
    }

    #[test]
    fn refusals_ask_for_a_connection_back_one_at_a_time() {
        let connections = Connections::new(1);
        assert!(!connections.wanted());
        for (now, wanted) in [(100, true), (101, false), (109, false), (110, true), (115, false), (500, true)] {
            connections.ask(now);
            assert_eq!(connections.wanted(), wanted, "{now}");
            assert!(!connections.wanted(), "it says so once");
        }
    }
}
