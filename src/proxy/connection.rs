//! What becomes of a client's connection when its listener closes, or the process stops.
//!
//! Pingora's hooks see requests, not connections. So whoever serves a connection puts a [`Connection`] around that
//! ([`Connection::around`]), and the hooks find it there: they note in it that a request is under way or has become a tunnel,
//! and read from it whether the response should be the last.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use pingora_proxy::Session;
use tokio::sync::watch;

use crate::reason::Reason;

tokio::task_local! {
    static CURRENT: Arc<Connection>;
}

/// How far a listener has come on its way to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    #[default]
    Open,
    /// It still accepts, but every response is the last of its connection: clients go elsewhere.
    Leaving,
    /// It accepts no more. What is under way is finished, tunnels go on.
    Closing,
    /// Tunnels, too, come to their end.
    Ending,
}

/// What is under way in this process, over all listeners and generations.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicUsize,
    connections: AtomicUsize,
}

impl Traffic {
    /// Requests from the end of their header to the end of everything that they leave to do.
    pub fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// Connections of clients.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Count a connection for as long as the result lives.
    pub fn connection(self: &Arc<Self>) -> impl Send + use<> {
        self.connections.fetch_add(1, SeqCst);
        Counted(Arc::clone(self))
    }
}

struct Counted(Arc<Traffic>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, SeqCst);
    }
}

/// A client's connection, or one stream of it.
#[derive(Debug)]
pub struct Connection {
    phase: watch::Receiver<Phase>,
    traffic: Arc<Traffic>,
    busy: AtomicBool,
    tunnel: AtomicBool,
    /// The byte is to be made up that ends the body of a refused upgrade.
    end_body: AtomicBool,
    /// Requests that have begun.
    begun: AtomicU64,
    /// When it began; moments on it are told from there.
    born: Instant,
    /// By when the request under way is to be answered, and how long that is from when it was set, in milliseconds; 0 if there
    /// is no such time.
    due: AtomicU64,
    allowed: AtomicU64,
    /// That time has passed.
    overdue: AtomicBool,
    /// More of the body of the request is to come, and when some did last, in milliseconds.
    body_open: AtomicBool,
    body_at: AtomicU64,
    /// Why what the client sent is not read any further.
    refusal: OnceLock<Reason>,
}

impl Connection {
    /// A connection that nothing has come on, of a listener in this phase.
    pub fn new(phase: watch::Receiver<Phase>, traffic: Arc<Traffic>) -> Arc<Self> {
        let (busy, tunnel, end_body, begun, due, allowed) = Default::default();
        let (overdue, body_open, body_at, refusal) = Default::default();
        let born = Instant::now();
        Arc::new(Connection {
            phase,
            traffic,
            busy,
            tunnel,
            end_body,
            begun,
            born,
            due,
            allowed,
            overdue,
            body_open,
            body_at,
            refusal,
        })
    }

    /// What is served in `serve` is served on this connection.
    pub async fn around<T>(self: Arc<Self>, serve: impl Future<Output = T>) -> T {
        CURRENT.scope(self, serve).await
    }

    /// Whether its listener has left the phase in which the connection began. One atomic read.
    #[inline]
    pub fn stirs(&self) -> bool {
        // Nothing is ever marked as seen.
        self.phase.has_changed().unwrap_or(true)
    }

    /// Whether its listener is about to close. Takes no lock while it is not.
    #[inline]
    fn closing(&self) -> bool {
        self.stirs() && self.phase() > Phase::Open
    }

    /// The phase of its listener.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Resolves when its listener has come as far as that.
    pub async fn reaches(&self, phase: Phase) {
        let mut phases = self.phase.clone();
        if phases.wait_for(|now| *now >= phase).await.is_err() {
            // Nobody can close it any more.
            std::future::pending::<()>().await;
        }
    }

    /// Whether a request is under way.
    pub fn busy(&self) -> bool {
        self.busy.load(SeqCst)
    }

    /// How many requests have begun.
    pub fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    /// Whether it carries something other than HTTP by now.
    #[inline]
    pub fn tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    /// Whether the byte is to be made up that ends a body. Says so once.
    #[inline]
    pub fn ends_body(&self) -> bool {
        self.end_body.load(Relaxed) && self.end_body.swap(false, Relaxed)
    }

    /// By when the request under way is to be answered. One that has come whole only `since` then has as long from there.
    #[inline]
    pub fn due(&self, since: Option<Instant>) -> Option<Instant> {
        let due = match self.due.load(Relaxed) {
            0 => return None,
            due => self.born + Duration::from_millis(due),
        };
        let allowed = Duration::from_millis(self.allowed.load(Relaxed));
        Some(since.map_or(due, |since| due.max(since + allowed)))
    }

    /// How long ago it began.
    pub fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// When the request under way waits for too long, and for whom: for its body, if that pauses for as long as `pause`, or for
    /// the backend. For a stream of HTTP/2, whose body only the hooks see.
    pub fn stalls(&self, pause: Duration) -> Option<(Instant, Reason)> {
        let body_at = match self.body_at.load(Relaxed) {
            0 => None,
            at => Some(self.born + Duration::from_millis(at)),
        };
        match body_at {
            Some(at) if self.body_open.load(Relaxed) => Some((at + pause, Reason::ClientTimeout)),
            _ => self.due(body_at).map(|due| (due, Reason::RequestTimeout)),
        }
    }

    /// That time has passed.
    pub fn overdue(&self) {
        self.overdue.store(true, Relaxed);
    }

    /// Nothing more is read of what the client sends.
    pub fn refuse(&self, reason: Reason) {
        // The first is the one.
        let _ = self.refusal.set(reason);
    }

    /// A request is under way.
    fn begin(&self) {
        if !self.busy.swap(true, SeqCst) {
            self.begun.fetch_add(1, Relaxed);
            self.traffic.requests.fetch_add(1, SeqCst);
        }
    }

    /// The request that was under way, if any, is over.
    pub fn rest(&self) {
        if self.busy.swap(false, SeqCst) {
            self.traffic.requests.fetch_sub(1, SeqCst);
        }
        self.due.store(0, Relaxed);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.rest();
    }
}

/// A request has begun on the present connection.
pub(super) fn request_begins() {
    // None for what is not the client's own: an attempt that runs beside another.
    let _ = CURRENT.try_with(|connection| connection.begin());
}

/// What is written from now on is the header of an upgraded response, and then a tunnel.
pub(super) fn tunnel_begins() {
    let _ = CURRENT.try_with(|connection| connection.tunnel.store(true, Relaxed));
}

/// Whether there is a connection around this, to do what is asked of it.
pub(super) fn is_known() -> bool {
    CURRENT.try_with(|_| ()).is_ok()
}

/// Have the byte made up that pingora waits for as the body of a request.
pub(super) fn end_body() {
    let _ = CURRENT.try_with(|connection| connection.end_body.store(true, Relaxed));
}

/// Have the response say that it is the last, if the listener is about to close.
pub(super) fn last_if_closing(session: &mut Session) {
    let closing = CURRENT.try_with(|connection| connection.closing());
    if closing == Ok(true) {
        session.set_keepalive(None);
    }
}

/// By when the request under way is to be answered, whatever pingora waits for.
pub(super) fn answer_within(now: Instant, left: Duration) {
    let _ = CURRENT.try_with(|connection| {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        connection.allowed.store(millis(left), Relaxed);
        connection.due.store(millis(now.saturating_duration_since(connection.born) + left), Relaxed);
    });
}

/// Some of the body of a request has come, or is about to.
pub(super) fn body_comes(ends: bool) {
    let _ = CURRENT.try_with(|connection| {
        let at = u64::try_from(connection.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        connection.body_at.store(at.max(1), Relaxed);
        connection.body_open.store(!ends, Relaxed);
    });
}

/// The request under way is being answered.
pub(super) fn answered() {
    let _ = CURRENT.try_with(|connection| connection.due.store(0, Relaxed));
}

/// Whether the request under way should have been answered by now, and pingora was told.
pub(super) fn is_overdue() -> bool {
    CURRENT.try_with(|connection| connection.overdue.load(Relaxed)).unwrap_or(false)
}

/// Why nothing more is read of what the client sends, if so.
pub(super) fn refusal() -> Option<Reason> {
    CURRENT.try_with(|connection| connection.refusal.get().copied()).ok().flatten()
}
