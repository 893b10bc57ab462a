//! The way in.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::BytesMut;
use log::debug;
use pingora_core::apps::{HttpServerApp, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::census::Counted;
use super::downstream::{Downstream, End};
use super::http2::Http2;
use super::rules::Rules;
use super::streams::Streams;
use super::tls::Acceptor;
use super::{Front, patience, proxied, refusal};
use crate::proxy::{Connection, Phase};
use crate::reason::Reason;
use crate::terms::Terms;

/// How long a connection may stay silent before it is closed when the process ends, which is not to wait for it. When only the
/// listener closes, a silent connection has its whole idle timeout: whoever closes it may meet a request that is on its way and
/// must not be sent twice, and one that comes gets its answer, and with it the word that it was the last.
const LINGER_AT_END: Duration = Duration::from_millis(50);

/// How long what a client still sends is read after a refusal, so that it sees the answer and not a reset.
const LINGER_REFUSED: Duration = Duration::from_secs(2);

/// From when on a connection is taken for one that lasts.
const LASTS: Duration = Duration::from_millis(100);

/// The door of one listener: the way from there to the proxy.
pub(crate) struct Door {
    front: Arc<Front>,
    phase: watch::Receiver<Phase>,
    rules: Arc<ArcSwap<Rules>>,
}

impl Door {
    /// One whose rules may be others for the next who comes.
    pub(crate) fn new(front: Arc<Front>, phase: watch::Receiver<Phase>, rules: Arc<ArcSwap<Rules>>) -> Self {
        Door { front, phase, rules }
    }
}

#[async_trait]
impl ServerApp for Door {
    /// What lasts goes on in a task of its own: pingora's has room for a handshake of TLS, 8 KiB, which is held until that task
    /// ends. Not at once: a second task wakes a second thread, and a connection to a backend that was put back a moment ago is
    /// lost to pingora when one thread asks for it while another lets go of it.
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let (door, shutdown, counted) = (Arc::clone(self), shutdown.clone(), self.front.traffic.connection());
        let mut served = Box::pin(async move {
            door.serve(stream, &shutdown).await;
            drop(counted);
        });
        if timeout(LASTS, &mut served).await.is_err() {
            tokio::spawn(served);
        }
        None
    }
}

/// What most connections never come to is boxed, here: it would be part of what each of them holds while it waits.
impl Door {
    async fn serve(&self, stream: Stream, shutdown: &ShutdownWatch) {
        let rules = self.rules.load_full();
        let most = self.front.generation.load().limits.max_connections;
        let most = most.map_or(self.front.most, |most| most.min(self.front.most));
        let mut counted = match self.front.census.count(most) {
            Ok(counted) => counted,
            Err(reason) => return Box::pin(self.refuse(stream, &rules, reason)).await,
        };
        let stream = match Box::pin(self.introduced(stream, &rules)).await {
            Ok(stream) => stream,
            Err(e) => {
                debug!("a connection without a PROXY header: {e}");
                return self.front.note(None, b"", Reason::BadRequest, Duration::ZERO);
            }
        };
        if let Err(reason) = self.admit(&stream, &mut counted) {
            return Box::pin(self.refuse(stream, &rules, reason)).await;
        }
        let secured = match &rules.tls {
            None => Some((stream, rules.terms(None))),
            Some(tls) => Box::pin(self.secured(stream, tls, &rules)).await,
        };
        let Some((stream, terms)) = secured else { return };
        let h2c = rules.h2c;
        drop(rules);
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            return Box::pin(self.serve_http2(stream, BytesMut::new(), terms, shutdown)).await;
        }
        let connection = Connection::new(self.phase.clone(), Arc::clone(&self.front.traffic));
        let downstream = Box::new(Downstream::new(stream, Arc::clone(&connection), BytesMut::new()));
        let http2 = {
            let served = self.serve_http1(downstream, h2c, shutdown, &connection);
            let served = Box::pin(Arc::clone(&connection).around(served));
            match terms.clone() {
                // Nothing to carry, and nothing to pay for with each request.
                None => unless_nothing_comes(served, &connection).await,
                terms => unless_nothing_comes(Box::pin(Terms::around(terms, served)), &connection).await,
            }
        };
        if let Some(Some(http2)) = http2 {
            drop(connection);
            let (stream, ahead) = http2.into_parts();
            Box::pin(self.serve_http2(stream, ahead, terms, shutdown)).await;
        }
    }

    /// The connection of the client itself, where a proxy says whose it is.
    async fn introduced(&self, stream: Stream, rules: &Rules) -> io::Result<Stream> {
        let introduces = |peer: IpAddr| rules.proxies.iter().any(|net| net.contains(&peer));
        if rules.proxies.is_empty() || !peer(&stream).is_some_and(introduces) {
            return Ok(stream);
        }
        let patience = self.front.generation.load().limits.header_timeout;
        timeout(patience, proxied::read(stream)).await?
    }

    /// Whether the client may have another connection.
    fn admit(&self, stream: &Stream, counted: &mut Counted) -> Result<(), Reason> {
        let generation = self.front.generation.load();
        let (Some(most), Some(client)) = (generation.limits.max_connections_per_ip, peer(stream)) else {
            return Ok(());
        };
        if generation.trusted_proxies.iter().any(|net| net.contains(&client)) {
            return Ok(());
        }
        counted.of(client, most)
    }

    /// Turn a connection away. Whoever is about to speak TLS could not read an answer, and gets none.
    async fn refuse(&self, stream: Stream, rules: &Rules, reason: Reason) {
        self.front.note(peer(&stream), b"", reason, Duration::ZERO);
        if rules.tls.is_none() {
            farewell(stream, reason).await;
        }
    }

    /// The connection after the handshake, if there is to be one, and what is true of all that comes on it.
    async fn secured(&self, stream: Stream, tls: &Acceptor, rules: &Rules) -> Option<(Stream, Option<Arc<Terms>>)> {
        let limit = self.front.generation.load().limits.handshake_timeout;
        let mut phase = self.phase.clone();
        let (stream, shown) = tokio::select! {
            made = tls.accept(stream, limit) => made?,
            // Who has no connection yet has sent no request.
            Ok(_) = phase.wait_for(|phase| *phase >= Phase::Ending) => return None,
        };
        Some((stream, rules.terms(shown)))
    }

    /// One request after the other. What is left when the client turns out to speak HTTP/2.
    async fn serve_http1(
        &self,
        mut downstream: Box<Downstream>,
        mut h2c: bool,
        shutdown: &ShutdownWatch,
        connection: &Connection,
    ) -> Option<Downstream> {
        let mut most = self.front.generation.load().limits.max_requests_per_connection;
        loop {
            let began = Instant::now();
            let limits = patience(&self.front.generation.load().limits);
            let header = match downstream.next(&limits, h2c).await {
                Ok(header) => header,
                Err(End::Http2) => return Some(*downstream),
                Err(End::Silent) => return None,
                Err(End::Refused(reason)) => {
                    let client = peer(downstream.stream());
                    self.front.note(client, downstream.came(), reason, began.elapsed());
                    Box::pin(farewell(downstream.into_parts().0, reason)).await;
                    return None;
                }
            };
            h2c = false;
            most = most.map(|most| most - 1);
            let keep = connection.phase() == Phase::Open;
            let reused = self.serve_request(downstream, header, (keep, most), shutdown).await?;
            connection.rest();
            downstream = Downstream::again(reused.consume().0)?;
        }
    }

    /// Not an `async fn`, so that nothing of a request is held between two of them. `keep` says whether there may be a next
    /// one, and how many.
    fn serve_request<'a>(
        &'a self,
        downstream: Box<Downstream>,
        header: BytesMut,
        (keep, most): (bool, Option<u64>),
        shutdown: &'a ShutdownWatch,
    ) -> impl Future<Output = Option<ReusedHttpStream>> + Send + use<'a> {
        let mut session = ServerSession::new_http1(downstream);
        session.set_pipelined_prefix(header);
        // No time: that is ours to measure.
        session.set_keepalive(keep.then_some(0));
        session.set_keepalive_reuses_remaining(most.map(|most| u32::try_from(most).unwrap_or(u32::MAX)));
        self.front.proxy.process_new_http(session, shutdown)
    }

    /// Streams beside each other, by pingora's own loop.
    async fn serve_http2(&self, stream: Stream, ahead: BytesMut, terms: Option<Arc<Terms>>, shutdown: &ShutdownWatch) {
        let generation = self.front.generation.load_full();
        let stream = Box::new(Http2::new(stream, ahead, generation.limits.header_timeout));
        let streams = Streams::new(Arc::clone(&self.front), &generation.limits, self.phase.clone(), terms);
        Arc::new(streams).process_new(stream, shutdown).await;
    }
}

/// The address at the other end.
fn peer(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    digest.peer_addr()?.as_inet().map(|address| address.ip().to_canonical())
}

/// Say why a connection ends, and read for a moment what is on its way.
async fn farewell(mut stream: Stream, reason: Reason) {
    let said = async {
        stream.write_all(&refusal::response(reason)).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not listen does not hear it.
    let _ = timeout(LINGER_REFUSED, said).await;
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
async fn unless_nothing_comes<T>(mut served: Pin<Box<impl Future<Output = T>>>, connection: &Connection) -> Option<T> {
    let mut silent = pin!(nothing_comes(connection));
    let mut waits: Option<Waker> = None;
    poll_fn(|context| {
        if let Poll::Ready(served) = served.as_mut().poll(context) {
            return Poll::Ready(Some(served));
        }
        // Once it waits it wakes us itself. To ask it again and again would cost each request more than all of our hooks. But the
        // task may have become another, which it is to wake.
        if waits.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) && !connection.stirs() {
            return Poll::Pending;
        }
        waits = Some(context.waker().clone());
        silent.as_mut().poll(context).map(|()| None)
    })
    .await
}
