//! One of two attempts that run beside each other: a subrequest of pingora's, through the same hooks as any request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use http::Version;
use log::error;
use pingora::http::RequestHeader;
use pingora_core::protocols::http::HttpTask;
use pingora_proxy::Session;
use pingora_proxy::subrequest::{BodyMode, Ctx as SubrequestCtx};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::again::Failed;
use super::exchange::Exchange;
use super::generation::Generation;
use crate::backend::{BackendState, Failure, Lease, Outcome};
use crate::filter::Ctx;
use crate::pool::{Permit, Trouble};
use crate::reason::Reason;

/// How long a leg that has closed its response may take to say how it ended; it has nothing to wait for.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What the request says of a leg before it ends it; read when the leg's lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fate {
    /// Nothing: its own outcome counts.
    Own,
    /// It was too late.
    TimedOut,
    /// The other was first.
    Overtaken,
}

/// A leg as the request sees it. Dropped, it is cut off.
pub(super) struct Leg {
    pub(super) backend: Arc<BackendState>,
    pub(super) started: Instant,
    tasks: mpsc::Receiver<HttpTask>,
    /// Kept: to a leg, its end is the client's leaving.
    client: Option<mpsc::Sender<HttpTask>>,
    end: oneshot::Receiver<LegEnd>,
    fate: Arc<AtomicU8>,
    task: AbortHandle,
    /// The right to it, if it is not the first.
    pub(super) permit: Option<Permit>,
}

/// How a leg ended.
pub(super) struct LegEnd {
    /// Its context: attempt, lease, and what filters keep in it.
    pub(super) ctx: Ctx,
    pub(super) failure: Option<LegFailure>,
}

/// How a leg failed.
#[derive(Clone, Debug)]
pub(super) struct LegFailure {
    pub(super) reason: Reason,
    pub(super) trouble: Trouble,
    pub(super) stale: bool,
    pub(super) safe: bool,
    pub(super) text: String,
}

impl LegFailure {
    pub(super) fn timeout() -> Self {
        let (reason, trouble) = (Reason::BackendTimeout, Trouble::Timeout);
        LegFailure { reason, trouble, stale: false, safe: true, text: "no header in time".to_owned() }
    }

    pub(super) fn status(status: u16) -> Self {
        let (reason, trouble) = (Reason::BackendStatus, Trouble::Status(status));
        LegFailure { reason, trouble, stale: false, safe: true, text: status.to_string() }
    }

    /// Its task has ended without a word: it panicked, which pingora's own code can.
    fn internal() -> Self {
        let (reason, trouble) = (Reason::Internal, Trouble::Other);
        LegFailure { reason, trouble, stale: false, safe: false, text: "its task has ended".to_owned() }
    }
}

/// What a leg begins with, handed over through the subrequest's context.
struct Start {
    generation: Arc<Generation>,
    route: Option<usize>,
    header: RequestHeader,
    ctx: Ctx,
    lease: Lease,
    role: Role,
}

/// What makes an exchange a leg.
pub(super) struct Role {
    end: Option<oneshot::Sender<LegEnd>>,
    fate: Arc<AtomicU8>,
    failure: Option<LegFailure>,
    /// It must have a connection of its own.
    pub(super) fresh: bool,
}

impl Leg {
    /// Begin one on this lease; `None` if pingora gives no way to.
    pub(super) fn start(
        exchange: &Exchange,
        session: &mut Session,
        lease: Lease,
        permit: Option<Permit>,
    ) -> Option<Self> {
        let (sender, end) = oneshot::channel();
        let (fate, backend) = (Arc::new(AtomicU8::new(Fate::Own as u8)), Arc::clone(lease.backend()));
        let start = Start {
            generation: Arc::clone(&exchange.generation),
            route: exchange.route,
            header: session.req_header().clone(),
            ctx: exchange.ctx.for_leg(),
            lease,
            role: Role {
                end: Some(sender),
                fate: Arc::clone(&fate),
                failure: None,
                fresh: exchange.needs_fresh_connection(),
            },
        };
        let context = SubrequestCtx::builder().body_mode(BodyMode::NoBody).user_ctx(Box::new(Some(start))).build();
        // Pingora hands the header over as HTTP/1 text, and would write a version into it that it cannot read.
        let version = session.req_header().version;
        session.req_header_mut().set_version(Version::HTTP_11);
        let spawner = session.subrequest_spawner.as_ref();
        let subrequest = spawner.map(|spawner| spawner.create_subrequest(&session.downstream_session, context));
        session.req_header_mut().set_version(version);
        let (subrequest, handle) = subrequest?;
        let task = tokio::spawn(subrequest.run()).abort_handle();
        let (tasks, client) = (handle.rx, Some(handle.tx));
        Some(Leg { backend, started: Instant::now(), tasks, client, end, fate, task, permit })
    }

    /// The next piece of its response; `None` when it has ended.
    pub(super) async fn next(&mut self) -> Option<HttpTask> {
        self.tasks.recv().await
    }

    /// The same, if there is one already.
    pub(super) fn next_if_any(&mut self) -> Option<HttpTask> {
        self.tasks.try_recv().ok()
    }

    /// Let it see that the client has left, which it then ends by.
    pub(super) fn hang_up(&mut self) {
        self.client = None;
        self.tasks.close();
    }

    pub(super) fn is_hung_up(&self) -> bool {
        self.client.is_none()
    }

    /// Cut it off.
    pub(super) fn give_up(self, fate: Fate) {
        self.fate.store(fate as u8, SeqCst);
    }

    /// How it ended, when [`Leg::next`] has nothing more.
    pub(super) async fn end(mut self) -> Result<LegEnd, LegFailure> {
        match timeout(LAST_WORD, &mut self.end).await {
            Ok(Ok(end)) => Ok(end),
            _ => {
                error!("{}: an attempt ended without a word", Reason::Internal);
                Err(LegFailure::internal())
            }
        }
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Exchange {
    /// Become a leg, if the session is that of one.
    pub(super) fn become_leg(&mut self, session: &mut Session) -> bool {
        let context = session.subrequest_ctx.as_mut().and_then(|context| context.user_ctx_mut());
        let Some(start) = context.and_then(|context| context.downcast_mut::<Option<Start>>()).and_then(Option::take)
        else {
            return false;
        };
        self.serve(start.generation);
        // As filters have left it; what pingora makes of it is what had come in.
        *session.req_header_mut() = start.header;
        (self.route, self.ctx, self.reserved, self.leg) = (start.route, start.ctx, Some(start.lease), Some(start.role));
        true
    }

    /// Note how the attempt of a leg failed; the request decides what follows.
    pub(super) fn fail_leg(&mut self, failed: &Failed<'_>) {
        if let Some(mut lease) = self.ctx.lease.take() {
            let took = self.ctx.attempt.started.map(|at| at.elapsed()).unwrap_or_default();
            lease.report(failed.outcome, took);
        }
        if let Some(leg) = &mut self.leg {
            leg.failure = Some(LegFailure {
                reason: failed.reason,
                trouble: failed.trouble,
                stale: failed.stale,
                safe: failed.safe,
                text: failed.text.to_string(),
            });
        }
    }

    /// Give the request what is known at the end of a leg. `false` if this is none.
    pub(super) fn end_leg(&mut self) -> bool {
        let Some(leg) = &mut self.leg else {
            return false;
        };
        if let Some(end) = leg.end.take() {
            let ctx = std::mem::replace(&mut self.ctx, Ctx::new());
            // Nobody listens any more to one that was cut off; then its lease ends with it.
            let _ = end.send(LegEnd { ctx, failure: leg.failure.take() });
        }
        true
    }
}

impl Role {
    /// Say of the lease what the request has said of the leg.
    pub(super) fn judge(&self, ctx: &mut Ctx) {
        let (Some(lease), Some(started)) = (&mut ctx.lease, ctx.attempt.started) else {
            return;
        };
        match self.fate.load(SeqCst) {
            fate if fate == Fate::TimedOut as u8 => {
                lease.report(Outcome::Failed(Failure::Timeout), started.elapsed());
            }
            fate if fate == Fate::Overtaken as u8 => lease.overtaken(started.elapsed()),
            _ => {}
        }
    }
}
