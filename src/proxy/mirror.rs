//! Mirroring: a second pool gets a copy of a request, and nobody waits for what it answers.
//!
//! A copy is a subrequest of pingora's, like a [`Leg`](super::leg::Leg), in a task of its own: with the hooks, the connections and
//! the lease of any other request to that pool. It begins when all of the request is there: at once without a body, and with one
//! at the end of that, up to a bound. What the request itself does for it is to keep that body, and to take a place among those
//! that may be under way. It waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use pingora::http::RequestHeader;
use pingora_core::protocols::http::HttpTask;
use pingora_proxy::Session;
use pingora_proxy::subrequest::BodyMode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::exchange::Exchange;
use super::leg::{LegEnd, Role, Start, Subrequest};
use crate::config::{self, Priority};
use crate::filter::{Hook, key};
use crate::metrics::Mirrored;
use crate::pool::{Pick, Pool};

/// Who gets copies of the requests of a route.
pub struct Mirror {
    pool: Arc<Pool>,
    percent: u16,
    max_body_size: u64,
    places: Arc<Semaphore>,
}

/// The body of a request that is to be copied, as far as it has come.
#[derive(Default)]
pub(super) struct Copy {
    body: Vec<u8>,
    /// The attempt that it was given to: a further one is given all of it again.
    attempt: u8,
}

impl Mirror {
    /// What `config` says, to this pool.
    pub fn new(config: &config::Mirror, pool: Arc<Pool>) -> Self {
        let places = usize::try_from(config.max_in_flight).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Mirror {
            pool,
            percent: config.percent.0,
            max_body_size: config.max_body_size,
            places: Arc::new(Semaphore::new(places)),
        }
    }

    fn count(&self, outcome: Mirrored) {
        self.pool.metrics.mirrored(outcome);
    }
}

impl Exchange {
    /// Send a copy of the request, or get ready to do so when its body has come.
    pub(super) fn mirror(&mut self, session: &mut Session, mirror: &Mirror) {
        // What a WebSocket says is a conversation: nobody could answer for the second backend.
        if session.is_upgrade_req() || mirror.percent < 100 && fastrand::u16(..100) >= mirror.percent {
            return;
        }
        if session.is_body_empty() {
            self.send_copy(session, mirror, None);
        } else if announced(session.req_header()).is_some_and(|length| length > mirror.max_body_size) {
            mirror.count(Mirrored::TooLarge);
        } else {
            self.copy = Some(Copy::default());
        }
    }

    /// Some of the body has come, or all of it, as the filters have left it.
    pub(super) fn mirror_body(&mut self, session: &mut Session, body: Option<&Bytes>, ends: bool) {
        let Some(copy) = &mut self.copy else { return };
        let generation = Arc::clone(&self.generation);
        let route = self.route.and_then(|number| generation.routes.get(number));
        let Some(mirror) = route.and_then(|route| route.mirror.as_ref()) else { return };
        if let Some(body) = body {
            if copy.attempt != self.ctx.attempt.number {
                *copy = Copy { body: Vec::new(), attempt: self.ctx.attempt.number };
            }
            if copy.body.len() as u64 + body.len() as u64 > mirror.max_body_size {
                self.copy = None;
                mirror.count(Mirrored::TooLarge);
                return;
            }
            copy.body.extend_from_slice(body);
        }
        if ends && let Some(Copy { body, .. }) = self.copy.take() {
            self.send_copy(session, mirror, Some(body.into()));
        }
    }

    /// The request is over. Its body has not come to its end, if the copy still waits for that.
    pub(super) fn end_mirror(&mut self) {
        if self.copy.take().is_none() {
            return;
        }
        let route = self.route.and_then(|number| self.generation.routes.get(number));
        if let Some(mirror) = route.and_then(|route| route.mirror.as_ref()) {
            mirror.count(Mirrored::Incomplete);
        }
    }

    fn send_copy(&self, session: &mut Session, mirror: &Mirror, body: Option<Bytes>) {
        let Ok(place) = Arc::clone(&mirror.places).try_acquire_owned() else {
            return mirror.count(Mirrored::Dropped);
        };
        let pool = &mirror.pool;
        let key = key::of(pool.key(), session.req_header(), self.ctx.client);
        // Should the pool have others to serve, they come first.
        let pick = Pick { key: key.as_bytes(), priority: Priority::Low, ..Pick::default() };
        let Ok(lease) = pool.acquire(&pick) else { return mirror.count(Mirrored::NoBackend) };
        let (sender, end) = oneshot::channel();
        let start = Start {
            generation: Arc::clone(&self.generation),
            route: self.route,
            destination: None,
            header: header(session.req_header(), body.as_ref()),
            ctx: self.ctx.for_copy(Arc::clone(pool)),
            lease,
            role: Role::copy(sender, self.ctx.filters(Hook::UpstreamRequest)),
        };
        let mode = if body.is_some() { BodyMode::ExpectBody } else { BodyMode::NoBody };
        let Some(subrequest) = Subrequest::new(session, start, mode) else { return mirror.count(Mirrored::Failed) };
        let (pool, limit) = (Arc::clone(pool), pool.timeouts().request);
        tokio::spawn(async move {
            let outcome = run(subrequest, body, end, limit, place).await;
            pool.metrics.mirrored(outcome);
        });
    }
}

/// The same header, with the length of the body that is known now.
fn header(request: &RequestHeader, body: Option<&Bytes>) -> RequestHeader {
    let mut header = request.clone();
    header.remove_header(&EXPECT);
    if let Some(body) = body {
        header.remove_header(&TRANSFER_ENCODING);
        // A number makes a value.
        let _ = header.insert_header(CONTENT_LENGTH, body.len());
    }
    header
}

fn announced(request: &RequestHeader) -> Option<u64> {
    request.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// See a copy through: it is cut off when the time of a request in its pool has passed, and its answer is thrown away.
async fn run(
    subrequest: Subrequest,
    body: Option<Bytes>,
    end: oneshot::Receiver<LegEnd>,
    limit: Duration,
    _place: OwnedSemaphorePermit,
) -> Mirrored {
    let Subrequest { prepared, handle } = subrequest;
    let (sender, mut answer) = (handle.tx, handle.rx);
    let mut answered = false;
    let conversation = async {
        if let Some(body) = body {
            // It may have ended already.
            let _ = sender.send(HttpTask::Body(Some(body), true)).await;
        }
        while let Some(said) = answer.recv().await {
            answered |= matches!(said, HttpTask::Header(header, _) if !header.status.is_informational());
        }
    };
    let whole = timeout(limit, async { tokio::join!(prepared.run(), conversation) }).await.is_ok();
    // By then it has said how it ended, or is gone.
    let failed = match whole {
        true => end.await.map_or(true, |end| end.failure.is_some()),
        false => false,
    };
    if answered && !failed { Mirrored::Answered } else { Mirrored::Failed }
}
