//! The demo's backends: real HTTP/1.1 servers on sockets of their own, which can be stopped and started.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response};
use log::warn;
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::services::listening::Service;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Where a sample answers probes, without its delay.
pub(super) const HEALTH: &str = "/healthz";

/// How long to wait after a failure to bind or to accept.
const PAUSE: Duration = Duration::from_millis(500);

/// A sample backend.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// How long an answer takes.
    pub(super) delay: Duration,
    stopped: watch::Sender<bool>,
}

impl Sample {
    pub(super) fn new(name: &'static str, address: SocketAddr, delay: Duration) -> Arc<Self> {
        let stopped = watch::Sender::new(false);
        Arc::new(Sample { name, address, delay, stopped })
    }

    /// Close its listening socket and cut its connections, or listen again. Says whether that changes anything.
    pub(super) fn stop(&self, stop: bool) -> bool {
        self.stopped.send_replace(stop) != stop
    }

    /// Serve, stop and start as told, for ever.
    async fn run(self: Arc<Self>, mut listener: TcpListener) {
        let mut stopped = self.stopped.subscribe();
        loop {
            tokio::select! {
                () = self.accept(listener) => {}
                () = turned(&mut stopped, true) => {}
            }
            turned(&mut stopped, false).await;
            listener = self.bind().await;
        }
    }

    /// Serve until this future is dropped, and every connection with it.
    async fn accept(self: &Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        // Header and body are written one by one.
                        let _ = stream.set_nodelay(true);
                        let stream = Box::new(Stream::from(stream));
                        let shutdown = self.stopped.subscribe();
                        connections.spawn(Service::<Sample>::handle_event(stream, Arc::clone(self), shutdown));
                    }
                    Err(e) => {
                        warn!("sample {}: cannot accept: {e}", self.name);
                        sleep(PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn bind(&self) -> TcpListener {
        loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => return listener,
                Err(e) => warn!("sample {}: cannot listen on {}: {e}", self.name, self.address),
            }
            sleep(PAUSE).await;
        }
    }
}

/// Wait until a watched value is `to`.
async fn turned(watched: &mut watch::Receiver<bool>, to: bool) {
    // An error means that the sender is gone: nobody will ever turn it.
    if watched.wait_for(|value| *value == to).await.is_err() {
        std::future::pending().await
    }
}

/// Serve each sample on its socket, in a thread of their own: they are no part of what the proxy's threads do.
pub(super) fn serve(samples: Vec<(Arc<Sample>, std::net::TcpListener)>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut running = JoinSet::new();
    for (sample, socket) in samples {
        socket.set_nonblocking(true)?;
        let _runtime = runtime.enter();
        let listener = TcpListener::from_std(socket)?;
        running.spawn_on(sample.run(listener), runtime.handle());
    }
    let serve = move || runtime.block_on(async { while running.join_next().await.is_some() {} });
    std::thread::Builder::new().name("samples".to_owned()).spawn(serve)?;
    Ok(())
}

#[async_trait]
impl ServeHttp for Sample {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let (method, probe) = (request.method.clone(), request.uri.path() == HEALTH);
        let body = if probe {
            "well\n".to_owned()
        } else {
            sleep(self.delay).await;
            format!("hello from {} on {}\n", self.name, self.address)
        };
        let length = body.len();
        let body = if method == Method::HEAD { String::new() } else { body };
        let mut response = Response::new(body.into_bytes());
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: sample\r\n\r\n";

    /// What one answer says; empty if the connection was cut.
    fn ask(connection: &mut TcpStream) -> String {
        let mut answer = vec![0; 4096];
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        if connection.write_all(REQUEST).is_err() {
            return String::new();
        }
        let mut end = 0;
        loop {
            match connection.read(&mut answer[end..]) {
                Ok(0) | Err(_) => return String::new(),
                Ok(read) => end += read,
            }
            if answer[..end].ends_with(b"\n") && !answer[..end].ends_with(b"\r\n") {
                return String::from_utf8_lossy(&answer[..end]).into_owned();
            }
        }
    }

    /// Connect, as soon as that is possible, or as soon as it is not.
    fn connect(address: SocketAddr, expected: bool) -> Option<TcpStream> {
        for _ in 0..500 {
            let connected = TcpStream::connect(address);
            if connected.is_ok() == expected {
                return connected.ok();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{address} should have become {expected}");
    }

    #[test]
    fn a_stopped_sample_refuses_and_cuts_and_a_started_one_is_back() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sample = Sample::new("x", socket.local_addr().unwrap(), Duration::ZERO);
        serve(vec![(Arc::clone(&sample), socket)]).unwrap();

        let mut kept = connect(sample.address, true).unwrap();
        for _ in 0..2 {
            let answer = ask(&mut kept);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("hello from x"), "{answer}");
        }
        assert!(sample.stop(true));
        assert!(!sample.stop(true), "stopped already");
        assert!(connect(sample.address, false).is_none());
        assert_eq!(ask(&mut kept), "");
        let _ = kept.shutdown(Shutdown::Both);

        assert!(sample.stop(false));
        let mut again = connect(sample.address, true).unwrap();
        assert!(ask(&mut again).contains("hello from x"));
    }
}
