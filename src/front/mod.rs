//! The way of a connection into the proxy: what must be set before pingora reads a request's header, ahead of any hook, and
//! when a connection that nothing comes on is closed.

mod downstream;
mod frames;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::sync::watch;

use crate::proxy::{Connection, Generation, Phase, Proxy, Traffic};
use downstream::Downstream;

/// With what a client begins that speaks HTTP/2 by prior knowledge.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection may stay silent before it is closed when the process ends, which is not to wait for it. When only the
/// listener closes, a silent connection has its whole idle timeout: whoever closes it may meet a request that is on its way and
/// must not be sent twice, and one that comes gets its answer, and with it the word that it was the last.
const LINGER_AT_END: Duration = Duration::from_millis(50);

/// The proxy behind its idle timeout, the same for every listener. Pingora waits 60 seconds for the first byte of a
/// connection and, by default, for ever between two requests on it.
pub(crate) struct Front {
    proxy: Arc<HttpProxy<Proxy>>,
    generation: Arc<ArcSwap<Generation>>,
    traffic: Arc<Traffic>,
}

impl Front {
    pub(crate) fn new(proxy: HttpProxy<Proxy>, generation: Arc<ArcSwap<Generation>>, traffic: Arc<Traffic>) -> Self {
        Front { proxy: Arc::new(proxy), generation, traffic }
    }

    fn idle_timeout(&self) -> Duration {
        self.generation.load().limits.idle_timeout
    }

    /// In seconds, as pingora counts; never 0, which is for ever.
    fn idle_seconds(&self) -> u64 {
        self.idle_timeout().as_secs_f64().ceil().max(1.0) as u64
    }

    /// One request after the other, as pingora's own loop does it.
    async fn serve_http1(&self, stream: Stream, shutdown: &ShutdownWatch, connection: &Connection) {
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive((connection.phase() == Phase::Open).then(|| self.idle_seconds()));
        while let Some(reused) = self.proxy.process_new_http(session, shutdown).await {
            connection.rest();
            let (stream, settings) = reused.consume();
            session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            // Not where the connection is to be closed: it would be kept in a process that stops.
            if session.get_keepalive().is_some() {
                session.set_keepalive(Some(self.idle_seconds()));
            }
        }
    }

    /// Streams beside each other, by pingora's own loop.
    async fn serve_http2(&self, stream: Stream, shutdown: &ShutdownWatch, phase: &watch::Receiver<Phase>, h2c: bool) {
        let mut options = HttpServerOptions::default();
        options.h2c = h2c;
        options.h2_idle_timeout = Some(self.idle_timeout());
        let (proxy, traffic) = (Arc::clone(&self.proxy), Arc::clone(&self.traffic));
        let streams = Streams { proxy, options, phase: phase.clone(), traffic };
        Arc::new(streams).process_new(stream, shutdown).await;
    }
}

/// Resolves when a connection is to be closed on which nothing comes any more.
async fn nothing_comes(connection: &Connection) {
    connection.reaches(Phase::Ending).await;
    loop {
        let begun = connection.begun();
        tokio::time::sleep(LINGER_AT_END).await;
        if !connection.busy() && connection.begun() == begun {
            return;
        }
    }
}

/// Serve a connection until it ends, or is to be closed because nothing comes.
async fn unless_nothing_comes(served: impl Future<Output = ()>, connection: &Connection) {
    let (mut served, mut silent) = (pin!(served), pin!(nothing_comes(connection)));
    let mut waits = false;
    poll_fn(|context| {
        if served.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        // Once it waits it wakes us itself. To ask it again and again would cost each request more than all of our hooks.
        if waits && !connection.stirs() {
            return Poll::Pending;
        }
        waits = true;
        silent.as_mut().poll(context)
    })
    .await;
}

/// Whether a client begins with HTTP/2.
async fn begins_http2(stream: &mut Stream) -> Option<bool> {
    let mut begin = [0; PREFACE.len()];
    let peeked = stream.try_peek(&mut begin).await.ok()?;
    Some(peeked && begin == *PREFACE)
}

/// The door of one listener: the way from there to the proxy.
pub(crate) struct Door {
    front: Arc<Front>,
    phase: watch::Receiver<Phase>,
    /// HTTP/2 by prior knowledge is looked for.
    h2c: bool,
}

impl Door {
    pub(crate) fn new(front: Arc<Front>, phase: watch::Receiver<Phase>, h2c: bool) -> Self {
        Door { front, phase, h2c }
    }
}

#[async_trait]
impl ServerApp for Door {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _counted = self.front.traffic.connection();
        let h2c = self.h2c && begins_http2(&mut stream).await?;
        if h2c || matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            self.front.serve_http2(stream, shutdown, &self.phase, h2c).await;
            return None;
        }
        let connection = Connection::new(self.phase.clone(), Arc::clone(&self.front.traffic));
        let stream = Box::new(Downstream::new(stream, Arc::clone(&connection)));
        let served = Arc::clone(&connection).around(self.front.serve_http1(stream, shutdown, &connection));
        unless_nothing_comes(served, &connection).await;
        None
    }
}

/// The streams of one HTTP/2 connection.
struct Streams {
    proxy: Arc<HttpProxy<Proxy>>,
    options: HttpServerOptions,
    phase: watch::Receiver<Phase>,
    traffic: Arc<Traffic>,
}

#[async_trait]
impl HttpServerApp for Streams {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let connection = Connection::new(self.phase.clone(), Arc::clone(&self.traffic));
        connection.around(self.proxy.process_new_http(session, shutdown)).await
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }
}
