//! An HTTP/1.1 client for what filters ask elsewhere: one URL's server, over connections that are kept.
//!
//! Not pingora's `Connector`: that one loads the system's authorities for plain HTTP, too, panics where it cannot, and takes two
//! that differ in their authorities alone for the same.

mod dial;
mod url;

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::protocols::l4::stream::Stream as Socket;
use pingora_core::protocols::tls::client::handshake;
use pingora_core::tls::TlsConnector;
use pingora_core::{Error, ErrorType, OrErr, Result};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;

pub(super) use url::Url;

/// How long a connection is kept without a request: shorter than servers do, which close after 5 s at the earliest, as a rule.
const KEPT_FOR: Duration = Duration::from_secs(4);

/// How many are kept.
const KEPT: usize = 64;

/// Interim responses before the final one.
const MOST_INTERIM: usize = 8;

/// The status of an answer, as soon as it is known.
type Began = Option<StatusCode>;

/// Asks the server of one URL.
pub(super) struct Client {
    url: Url,
    shown: String,
    host: HeaderValue,
    tls: Option<TlsConnector>,
    kept: Mutex<Vec<(Stream, Instant)>>,
}

/// An answer.
pub(super) struct Reply {
    pub(super) header: ResponseHeader,
    pub(super) body: Bytes,
}

/// None.
pub(super) struct NoReply {
    /// In words.
    pub(super) why: String,
    /// The status of one that began, and did not end well.
    pub(super) began: Began,
}

impl Client {
    /// A client for this URL; `ca` says whom to trust in place of the system's authorities.
    ///
    /// # Errors
    /// Authorities that cannot be used.
    pub(super) fn new(url: Url, ca: Option<&Path>) -> Result<Self, String> {
        let tls = if url.https { Some(dial::connector(ca)?) } else { None };
        let host = HeaderValue::from_str(&url.authority).map_err(|_| "has a host that is none".to_owned())?;
        Ok(Client { shown: url.shown(), url, host, tls, kept: Mutex::default() })
    }

    /// Where it asks, for messages; without a query, which may have a secret.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// A request for its URL, with nothing in it but where it goes.
    ///
    /// # Errors
    /// None: the URL was checked.
    pub(super) fn request(&self) -> Result<RequestHeader> {
        let mut request = RequestHeader::build("GET", self.url.path.as_bytes(), None)?;
        request.insert_header(HOST, self.host.clone())?;
        Ok(request)
    }

    /// Ask, and read the answer to its end, all within `limit`.
    ///
    /// # Errors
    /// That there was no answer, in time and of this size.
    pub(super) async fn ask(&self, request: RequestHeader, max_body: usize, limit: Duration) -> Result<Reply, NoReply> {
        let mut began = None;
        let why = match timeout(limit, self.exchange(request, max_body, &mut began)).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(error)) => explain(&error),
            Err(_) => format!("no answer within {}", humantime::format_duration(limit)),
        };
        Err(NoReply { why, began })
    }

    async fn exchange(&self, request: RequestHeader, max_body: usize, began: &mut Began) -> Result<Reply> {
        if let Some(stream) = self.take().await {
            let reply = self.exchange_over(stream, request.clone(), max_body, began).await;
            if reply.is_ok() || began.is_some() {
                return reply;
            }
            // Its server has closed it in the meantime, which says nothing of the server; the others are no better.
            self.kept.lock().clear();
        }
        let stream = self.connect().await?;
        self.exchange_over(stream, request, max_body, began).await
    }

    async fn exchange_over(
        &self,
        stream: Stream,
        request: RequestHeader,
        max_body: usize,
        began: &mut Began,
    ) -> Result<Reply> {
        let mut session = HttpSession::new(stream);
        session.write_request_header(Box::new(request)).await?;
        session.finish_body().await?;
        let header = final_header(&mut session).await?;
        *began = Some(header.status);
        let mut body = Vec::new();
        while let Some(chunk) = session.read_body_bytes().await? {
            if body.len() + chunk.len() > max_body {
                return Error::e_explain(ErrorType::ReadError, format!("an answer of more than {max_body} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        session.respect_keepalive();
        if let Some(stream) = session.reuse().await {
            self.keep(stream);
        }
        Ok(Reply { header, body: body.into() })
    }

    async fn connect(&self) -> Result<Stream> {
        let connected = TcpStream::connect((self.url.host.as_str(), self.url.port)).await;
        let socket = connected.or_err(ErrorType::ConnectError, "cannot connect")?;
        let _ = socket.set_nodelay(true);
        let socket = Socket::from(socket);
        Ok(match &self.tls {
            Some(tls) => Box::new(handshake(tls, &self.url.host, socket).await?),
            None => Box::new(socket),
        })
    }

    /// A connection that was kept, and on which nothing has come since: what comes unasked is the answer to no request of ours.
    async fn take(&self) -> Option<Stream> {
        loop {
            let (mut stream, since) = self.kept.lock().pop()?;
            if since.elapsed() < KEPT_FOR && is_quiet(&mut stream).await {
                return Some(stream);
            }
        }
    }

    fn keep(&self, stream: Stream) {
        let mut kept = self.kept.lock();
        kept.retain(|(_, since)| since.elapsed() < KEPT_FOR);
        if kept.len() < KEPT {
            kept.push((stream, Instant::now()));
        }
    }
}

async fn final_header(session: &mut HttpSession) -> Result<ResponseHeader> {
    for _ in 0..MOST_INTERIM {
        session.read_response().await?;
        match session.resp_header() {
            Some(header) if header.status.as_u16() == 101 => break,
            Some(header) if header.status.is_informational() => {}
            Some(header) => return Ok(header.clone()),
            None => break,
        }
    }
    Error::e_explain(ErrorType::ReadError, "an answer without an end to its beginnings")
}

async fn is_quiet(stream: &mut Stream) -> bool {
    // For the runtime to look what has come: until it does, nothing seems to.
    yield_now().await;
    poll_fn(|context| {
        let mut byte = [0];
        let read = Pin::new(&mut *stream).poll_read(context, &mut ReadBuf::new(&mut byte));
        Poll::Ready(read.is_pending())
    })
    .await
}

/// Our own words and the system's, without pingora's.
fn explain(error: &Error) -> String {
    let context = error.context.as_ref().map_or("", |context| context.as_str());
    let cause = error.cause.as_ref().map(ToString::to_string).unwrap_or_default();
    match (context, &*cause) {
        ("", "") => error.etype.as_str().to_owned(),
        (one, "") | ("", one) => one.to_owned(),
        (context, cause) => format!("{context}: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// The runtime learns of what has come when it looks, which it does not while a task goes on.
    #[tokio::test]
    async fn what_lies_on_a_connection_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut stream: Stream = Box::new(Socket::from(socket));
        assert!(is_quiet(&mut stream).await);
        listener.accept().unwrap().0.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        assert!(!is_quiet(&mut stream).await);
    }
}
