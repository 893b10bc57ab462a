//! What the mirror answers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::{self, OnUpgrade};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::counts::Counts;
use crate::pattern;

type Body = UnsyncBoxBody<Bytes, Infallible>;
/// How often a download sends something.
const STEP: Duration = Duration::from_millis(250);

/// One address.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) service: Duration,
    pub(crate) random: Mutex<fastrand::Rng>,
    pub(crate) counts: Counts,
}

impl Place {
    /// An error ends the connection.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
        match request.uri().path() {
            "/healthz" => {
                self.counts.probe();
                return Ok(self.response(full("well\n")));
            }
            "/-/counts" => return Ok(self.response(full(self.counts.take().to_string()))),
            _ => self.counts.request(),
        }
        if request.headers().contains_key(SEC_WEBSOCKET_KEY) {
            return Ok(self.open(request));
        }
        if request.uri().path() == "/download" {
            return Ok(self.download(request.uri().query().unwrap_or_default()));
        }
        let path = request.uri().path_and_query().map_or("", |path| path.as_str()).to_owned();
        let is_post = request.method() == Method::POST;
        let body = request.into_body().collect().await?.to_bytes();
        sleep(self.service_time()).await;
        Ok(self.response(full(if is_post { body } else { path.into() })))
    }

    fn service_time(&self) -> Duration {
        let share = self.random.lock().unwrap_or_else(PoisonError::into_inner).f64();
        self.service.mul_f64(0.5 + share)
    }

    fn response(&self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        if let Ok(name) = self.name.parse() {
            response.headers_mut().insert("x-origin", name);
        }
        response
    }

    fn open(&self, mut request: Request<Incoming>) -> Response<Body> {
        let key = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
        tokio::spawn(echo(upgrade::on(&mut request)));
        let mut response = self.response(full(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = [(CONNECTION, "upgrade".to_owned()), (UPGRADE, "websocket".to_owned())];
        for (name, value) in headers.into_iter().chain(key.map(|key| (SEC_WEBSOCKET_ACCEPT, key))) {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    fn download(&self, query: &str) -> Response<Body> {
        let numbers: HashMap<&str, u64> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
            .collect();
        let of = |name| numbers.get(name).copied().unwrap_or_default();
        let (length, step) = (of("bytes"), (of("rate") as f64 * STEP.as_secs_f64()) as usize);
        let parts = stream::unfold(0, move |sent| async move {
            let left = length - sent;
            if left == 0 {
                return None;
            }
            sleep(STEP).await;
            let part = pattern::bytes(sent, step.max(1).min(usize::try_from(left).unwrap_or(step)));
            let sent = sent + part.len() as u64;
            Some((Ok(Frame::data(Bytes::from(part))), sent))
        });
        let mut response = self.response(StreamBody::new(parts).boxed_unsync());
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        response
    }
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

/// Sends every message back until the client is gone.
async fn echo(upgrade: OnUpgrade) {
    let Ok(stream) = upgrade.await else { return };
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}
