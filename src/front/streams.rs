//! The streams of an HTTP/2 connection.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use tokio::sync::watch;

use super::Front;
use super::alarm::Alarm;
use crate::config::Limits;
use crate::proxy::{Connection, Phase};
use crate::reason::Reason;
use crate::terms::Terms;

/// How long pingora may take to find out itself that an answer is overdue, and to say so.
const PINGORAS_TURN: Duration = Duration::from_secs(1);

/// How many streams of a connection may be malformed before it ends. Each may cost as much as a hundred that are not, and a client
/// that is only mistaken once in a while has another connection soon.
const MOST_MALFORMED: usize = 20;

/// The streams of one connection.
pub(super) struct Streams {
    front: Arc<Front>,
    options: HttpServerOptions,
    h2: H2Options,
    phase: watch::Receiver<Phase>,
    terms: Option<Arc<Terms>>,
}

impl Streams {
    /// Those of a connection that has these limits and terms.
    pub(super) fn new(
        front: Arc<Front>,
        limits: &Limits,
        phase: watch::Receiver<Phase>,
        terms: Option<Arc<Terms>>,
    ) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(limits.idle_timeout);
        let mut h2 = default_h2_options();
        h2.max_header_list_size(u32::try_from(limits.max_header_size).unwrap_or(u32::MAX));
        h2.max_local_error_reset_streams(Some(MOST_MALFORMED));
        h2.max_concurrent_streams(u32::try_from(limits.max_streams).unwrap_or(u32::MAX));
        Streams { front, options, h2, phase, terms }
    }
}

#[async_trait]
impl HttpServerApp for Streams {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let connection = Connection::new(self.phase.clone(), Arc::clone(&self.front.traffic));
        let client = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
        let pause = self.front.generation.load().limits.body_timeout;
        let served = Arc::clone(&connection).around(self.front.proxy.process_new_http(session, shutdown));
        let served = Terms::around(self.terms.clone(), served);
        if let Err(reason) = unless_overdue(served, &connection, pause).await {
            // The stream is reset: pingora, which waits, cannot be told to answer.
            self.front.note(client, b"", reason, connection.age());
        }
        None
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.h2.clone())
    }
}

/// Serve a stream until it ends, or what it waits for does not come.
async fn unless_overdue<T>(
    served: impl Future<Output = T>,
    connection: &Connection,
    pause: Duration,
) -> Result<T, Reason> {
    let (mut served, mut alarm) = (pin!(served), Alarm::default());
    poll_fn(|context| {
        if let Poll::Ready(served) = served.as_mut().poll(context) {
            return Poll::Ready(Ok(served));
        }
        match connection.stalls(pause) {
            Some((at, reason)) if alarm.rings((at + PINGORAS_TURN).into(), context) => Poll::Ready(Err(reason)),
            _ => Poll::Pending,
        }
    })
    .await
}
