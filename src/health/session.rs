//! One request and its answer over a fresh connection, in HTTP/1.1 or HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use pingora::http::RequestHeader;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::{Error, ErrorType, OrErr, Result};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::HttpProtocol;

/// How checks introduce themselves.
pub(crate) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("evenkeel/", env!("CARGO_PKG_VERSION"), " (health check)"));

/// How long an HTTP/2 connection may take to say that it ends.
const GOODBYE: Duration = Duration::from_millis(100);

/// The URI of a request to `target`; `host` in place of its address.
pub(super) fn uri(scheme: &str, host: Option<&str>, target: &SocketAddr, path: &str) -> Result<Uri> {
    let host = match (host, target) {
        (Some(host), _) => host.to_owned(),
        (None, SocketAddr::Unix(_)) => "localhost".to_owned(),
        (None, SocketAddr::Inet(address)) => address.to_string(),
    };
    let authority = Authority::try_from(host).or_err(ErrorType::InvalidHTTPHeader, "host")?;
    let path = PathAndQuery::try_from(path).or_err(ErrorType::InvalidHTTPHeader, "path")?;
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
    uri.build().or_err(ErrorType::InvalidHTTPHeader, "URI")
}

/// An answer whose body is still to be read.
pub(super) enum Session {
    H1(Box<HttpSession>),
    /// Beside the task that moves the connection's frames, which ends when this is dropped.
    H2(RecvStream, JoinSet<()>),
}

impl Session {
    /// Send `request`, and wait for the header of the answer.
    pub(super) async fn ask(
        stream: Stream,
        protocol: HttpProtocol,
        request: Request<Bytes>,
    ) -> Result<(Response<()>, Self)> {
        match protocol {
            HttpProtocol::H1 => ask_h1(stream, request).await,
            HttpProtocol::H2 => ask_h2(stream, request).await,
        }
    }

    /// More of the body; `None` at its end.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>> {
        match self {
            Session::H1(session) => session.read_body_bytes().await,
            Session::H2(body, _) => {
                let Some(chunk) = body.data().await.transpose().or_err(ErrorType::H2Error, "reading the body")? else {
                    return Ok(None);
                };
                let released = body.flow_control().release_capacity(chunk.len());
                released.or_err(ErrorType::H2Error, "reading the body")?;
                Ok(Some(chunk))
            }
        }
    }

    /// What follows the body, once that has been read to its end. Not in HTTP/1.1, where nobody needs it.
    pub(super) async fn trailers(&mut self) -> Result<HeaderMap> {
        match self {
            Session::H1(_) => Ok(HeaderMap::new()),
            Session::H2(body, _) => {
                Ok(body.trailers().await.or_err(ErrorType::H2Error, "reading the trailers")?.unwrap_or_default())
            }
        }
    }

    /// Leave as one should. Who just drops an HTTP/2 connection shows up in the backend's log as one that was reset.
    pub(super) async fn end(self) {
        if let Session::H2(body, mut connection) = self {
            drop(body);
            let _ = timeout(GOODBYE, connection.join_next()).await;
        }
    }
}

async fn ask_h1(stream: Stream, request: Request<Bytes>) -> Result<(Response<()>, Session)> {
    let (parts, send) = request.into_parts();
    let mut session = Box::new(HttpSession::new(stream));
    session.write_request_header(Box::new(header_h1(parts, send.len())?)).await?;
    if !send.is_empty() {
        session.write_body(&send).await?;
    }
    session.finish_body().await?;
    loop {
        session.read_response().await?;
        match session.resp_header() {
            Some(response) if response.status.is_informational() => {}
            Some(header) => {
                let mut response = Response::new(());
                *response.status_mut() = header.status;
                *response.headers_mut() = header.headers.clone();
                return Ok((response, Session::H1(session)));
            }
            None => return Error::e_explain(ErrorType::ReadError, "no response header"),
        }
    }
}

fn header_h1(parts: Parts, length: usize) -> Result<RequestHeader> {
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut header = RequestHeader::build(parts.method, path.as_bytes(), Some(parts.headers.len() + 3))?;
    let host = parts.uri.authority().map_or("", Authority::as_str);
    header.insert_header(HOST, host)?;
    for (name, value) in &parts.headers {
        header.insert_header(name, value)?;
    }
    if length > 0 {
        header.insert_header(CONTENT_LENGTH, length)?;
    }
    header.insert_header(CONNECTION, "close")?;
    Ok(header)
}

async fn ask_h2(stream: Stream, request: Request<Bytes>) -> Result<(Response<()>, Session)> {
    const ASKING: &str = "asking";
    let (parts, send) = request.into_parts();
    let (requests, connection) = h2::client::handshake(stream).await.or_err(ErrorType::H2Error, ASKING)?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // What goes wrong with it is told by whoever waits for an answer.
        let _ = connection.await;
    });
    let mut requests = requests.ready().await.or_err(ErrorType::H2Error, ASKING)?;
    let sent = requests.send_request(Request::from_parts(parts, ()), send.is_empty());
    let (response, mut body) = sent.or_err(ErrorType::H2Error, ASKING)?;
    if !send.is_empty() {
        body.send_data(send, true).or_err(ErrorType::H2Error, ASKING)?;
    }
    let (parts, body) = response.await.or_err(ErrorType::H2Error, ASKING)?.into_parts();
    Ok((Response::from_parts(parts, ()), Session::H2(body, driver)))
}

/// That the answer has another status than was wanted.
pub(super) fn unexpected(status: StatusCode) -> Result<()> {
    Error::e_explain(ErrorType::HTTPStatus(status.as_u16()), "not an expected status")
}
