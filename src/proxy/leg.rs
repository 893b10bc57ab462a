//! One of two attempts that run beside each other: a subrequest of pingora's, through the same hooks as any request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use http::Version;
use log::error;
use pingora::http::RequestHeader;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::subrequest::server::SubrequestHandle;
use pingora_proxy::subrequest::{BodyMode, Ctx as SubrequestCtx};
use pingora_proxy::{PreparedSubrequest, Session};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::again::Failed;
use super::exchange::Exchange;
use super::generation::Generation;
use crate::backend::{BackendState, Failure, Lease, Outcome};
use crate::filter::{Chain, Ctx};
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
pub(super) struct Start {
    pub(super) generation: Arc<Generation>,
    pub(super) route: Option<usize>,
    pub(super) destination: Option<usize>,
    pub(super) header: RequestHeader,
    pub(super) ctx: Ctx,
    pub(super) lease: Lease,
    pub(super) role: Role,
}

/// One of pingora's, ready to run.
pub(super) struct Subrequest {
    pub(super) prepared: PreparedSubrequest,
    pub(super) handle: SubrequestHandle,
}

impl Subrequest {
    /// One that begins with `start`; `None` if pingora gives no way to.
    pub(super) fn new(session: &mut Session, start: Start, body: BodyMode) -> Option<Self> {
        let context = SubrequestCtx::builder().body_mode(body).user_ctx(Box::new(Some(start))).build();
        // Pingora hands the header over as HTTP/1 text, and would write a version into it that it cannot read.
        let version = session.req_header().version;
        session.req_header_mut().set_version(Version::HTTP_11);
        let spawner = session.subrequest_spawner.as_ref();
        let subrequest = spawner.map(|spawner| spawner.create_subrequest(&session.downstream_session, context));
        session.req_header_mut().set_version(version);
        subrequest.map(|(prepared, handle)| Subrequest { prepared, handle })
    }
}

/// What makes an exchange a leg.
pub(super) struct Role {
    end: Option<oneshot::Sender<LegEnd>>,
    fate: Arc<AtomicU8>,
    failure: Option<LegFailure>,
    /// It must have a connection of its own.
    pub(super) fresh: bool,
    /// Nobody waits for it: it is a copy for a second pool.
    copy: bool,
    /// The filters of what it is a copy of. They see it on its way to a backend, and nothing else of it.
    filters: Option<Arc<Chain>>,
}

impl Role {
    /// That of a copy, which says at its end how it was.
    pub(super) fn copy(end: oneshot::Sender<LegEnd>, filters: Option<Arc<Chain>>) -> Self {
        let fate = Arc::new(AtomicU8::new(Fate::Own as u8));
        Role { end: Some(end), fate, failure: None, fresh: false, copy: true, filters }
    }
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
            destination: exchange.destination,
            header: session.req_header().clone(),
            ctx: exchange.ctx.for_leg(),
            lease,
            role: Role {
                end: Some(sender),
                fate: Arc::clone(&fate),
                failure: None,
                fresh: exchange.needs_fresh_connection(),
                copy: false,
                filters: None,
            },
        };
        let Subrequest { prepared, handle } = Subrequest::new(session, start, BodyMode::NoBody)?;
        let task = tokio::spawn(prepared.run()).abort_handle();
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
        (self.route, self.destination) = (start.route, start.destination);
        (self.ctx, self.reserved, self.leg) = (start.ctx, Some(start.lease), Some(start.role));
        true
    }

    /// Whether it is a copy of a request, for a second pool.
    pub(super) fn is_copy(&self) -> bool {
        self.leg.as_ref().is_some_and(|leg| leg.copy)
    }

    /// The filters of what it is a copy of, if it is one.
    pub(super) fn filters_of_copy(&self) -> Option<Arc<Chain>> {
        self.leg.as_ref()?.filters.clone()
    }

    /// Note how the attempt of a leg failed; the request decides what follows. A copy has none, and asks the same backend once more,
    /// over a connection of its own, if a kept one was stale.
    pub(super) fn fail_leg(&mut self, failed: &Failed<'_>) -> bool {
        let took = self.ctx.attempt.started.map(|at| at.elapsed()).unwrap_or_default();
        if let Some(mut lease) = self.ctx.lease.take() {
            lease.report(failed.outcome, took);
            let leg = self.leg.as_mut().filter(|leg| leg.copy && failed.stale && failed.safe && !leg.fresh);
            if let Some(leg) = leg {
                leg.fresh = true;
                lease.renew();
                self.reserved = Some(lease);
                return true;
            }
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
        false
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
