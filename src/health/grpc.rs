//! `grpc`: a backend is well if its gRPC health service says that it is serving.
//!
//! The [health checking protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md) is one method,
//! `grpc.health.v1.Health/Check`, over [HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::{BError, Error, ErrorType, OrErr, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;
use prost::Message;

use super::dial::{Dial, Trust};
use super::session::{AGENT, Session, unexpected, uri};
use crate::backend::label;
use crate::config::{GrpcProbe, HttpProtocol};

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// In front of each message: whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;
/// The message itself takes two bytes; whoever sends so many more speaks of something else.
const MAX_ANSWER: usize = 4096;

/// What a server may say of a service, by its number: `HealthCheckResponse.ServingStatus`.
const SERVING_STATUS: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: i32 = 1;

/// What a failed call ends with, by its number.
const GRPC_STATUS: [&str; 17] = [
    "grpc status 0 OK",
    "grpc status 1 CANCELLED",
    "grpc status 2 UNKNOWN",
    "grpc status 3 INVALID_ARGUMENT",
    "grpc status 4 DEADLINE_EXCEEDED",
    "grpc status 5 NOT_FOUND",
    "grpc status 6 ALREADY_EXISTS",
    "grpc status 7 PERMISSION_DENIED",
    "grpc status 8 RESOURCE_EXHAUSTED",
    "grpc status 9 FAILED_PRECONDITION",
    "grpc status 10 ABORTED",
    "grpc status 11 OUT_OF_RANGE",
    "grpc status 12 UNIMPLEMENTED",
    "grpc status 13 INTERNAL",
    "grpc status 14 UNAVAILABLE",
    "grpc status 15 DATA_LOSS",
    "grpc status 16 UNAUTHENTICATED",
];

/// Asks the gRPC health service over a fresh connection, as a new client would.
pub struct GrpcCheck {
    host: Option<String>,
    /// The message, as it goes out.
    message: Bytes,
    dial: Dial,
}

impl GrpcCheck {
    /// A check that asks as `probe` says.
    ///
    /// # Errors
    /// Authorities that cannot be loaded; never without TLS.
    pub fn new(probe: &GrpcProbe, trust: &Trust) -> Result<Self, String> {
        Ok(GrpcCheck {
            dial: Dial::new(probe.port, probe.tls.as_ref(), HttpProtocol::H2, probe.proxy_protocol, trust)?,
            host: probe.host.clone(),
            message: framed(&probe.service),
        })
    }

    fn request(&self, target: &SocketAddr) -> Result<Request<Bytes>> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri(self.dial.scheme(), self.host.as_deref(), target, METHOD)?)
            .header(TE, "trailers")
            .header(CONTENT_TYPE, "application/grpc")
            .header(USER_AGENT, AGENT);
        request.body(self.message.clone()).or_err(ErrorType::InvalidHTTPHeader, "request")
    }
}

/// `HealthCheckRequest`: its one field is a string, as that of `StringValue` is, which prost has.
fn framed(service: &String) -> Bytes {
    let length = service.encoded_len();
    let mut message = BytesMut::with_capacity(PREFIX + length);
    message.put_u8(0);
    message.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.put_slice(&service.encode_to_vec());
    message.freeze()
}

async fn verdict(response: &Response<()>, session: &mut Session) -> Result<()> {
    if response.status() != StatusCode::OK {
        return unexpected(response.status());
    }
    // A call that failed at once: what else would follow a body stands in the header.
    if response.headers().contains_key("grpc-status") {
        call(response.headers())?;
    }
    let kind = response.headers().get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    if !kind.starts_with(b"application/grpc") {
        let kind: String = kind.escape_ascii().to_string().chars().take(40).collect();
        return Error::e_explain(NOT_GRPC, format!("content type '{kind}'"));
    }
    let mut answer = Vec::new();
    while let Some(chunk) = session.read().await? {
        answer.extend_from_slice(&chunk);
        if answer.len() > MAX_ANSWER {
            return Error::e_explain(NOT_GRPC, format!("an answer of more than {MAX_ANSWER} bytes"));
        }
    }
    call(&session.trailers().await?)?;
    serving(&answer)
}

const NOT_GRPC: ErrorType = ErrorType::Custom("NotGrpcHealth");

/// How the call has ended, by what follows its messages.
fn call(trailers: &HeaderMap) -> Result<()> {
    let Some(status) = trailers.get("grpc-status") else {
        return Error::e_explain(NOT_GRPC, "no grpc-status");
    };
    let number = status.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    match number.and_then(|number| GRPC_STATUS.get(number)) {
        Some(_) if number == Some(0) => Ok(()),
        Some(status) => Error::err(ErrorType::Custom(status)),
        None => {
            let status: String = status.as_bytes().escape_ascii().to_string().chars().take(40).collect();
            Error::e_explain(ErrorType::Custom("unknown grpc status"), status)
        }
    }
}

/// `HealthCheckResponse`: its one field is a number, as that of `Int32Value` is.
pub(super) fn serving(answer: &[u8]) -> Result<()> {
    let wrong = |what: &str| -> BError { Error::explain(NOT_GRPC, what.to_owned()) };
    let (prefix, message) = answer.split_at_checked(PREFIX).ok_or_else(|| wrong("no message"))?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if prefix[0] != 0 || usize::try_from(length) != Ok(message.len()) {
        return Err(wrong("not one plain message"));
    }
    let status = i32::decode(message).map_err(|_| wrong("not a HealthCheckResponse"))?;
    if status == SERVING {
        return Ok(());
    }
    match usize::try_from(status).ok().and_then(|status| SERVING_STATUS.get(status)) {
        Some(status) => Error::err(ErrorType::Custom(status)),
        None => Error::e_explain(ErrorType::Custom("unknown serving status"), status.to_string()),
    }
}

#[async_trait]
impl HealthCheck for GrpcCheck {
    async fn check(&self, target: &Backend) -> Result<()> {
        let request = self.request(&target.addr)?;
        let stream = self.dial.connect(&target.addr).await?;
        let (response, mut session) = Session::ask(stream, HttpProtocol::H2, request).await?;
        let checked = verdict(&response, &mut session).await;
        session.end().await;
        checked
    }

    fn backend_summary(&self, target: &Backend) -> String {
        label(&target.addr)
    }

    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(result: Result<()>) -> String {
        match result {
            Ok(()) => "passes".to_owned(),
            Err(e) => [Some(e.etype.as_str()), e.context.as_ref().map(|c| c.as_str())]
                .map(Option::unwrap_or_default)
                .join("|"),
        }
    }

    #[test]
    fn the_request_is_what_the_protocol_says() {
        assert_eq!(framed(&String::new())[..], [0, 0, 0, 0, 0]);
        assert_eq!(framed(&"a.B".to_owned())[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
    }

    #[test]
    fn only_serving_passes() {
        let cases: [(&[u8], &str); 11] = [
            (&[0, 0, 0, 0, 2, 8, 1], "passes"),
            (&[0, 0, 0, 0, 2, 8, 2], "NOT_SERVING|"),
            (&[0, 0, 0, 0, 2, 8, 3], "SERVICE_UNKNOWN|"),
            (&[0, 0, 0, 0, 2, 8, 0], "UNKNOWN|"),
            (&[0, 0, 0, 0, 0], "UNKNOWN|"),
            (&[0, 0, 0, 0, 2, 8, 9], "unknown serving status|9"),
            // A field that a later version of the protocol may add.
            (&[0, 0, 0, 0, 4, 8, 1, 16, 7], "passes"),
            (&[], "NotGrpcHealth|no message"),
            (&[1, 0, 0, 0, 2, 8, 1], "NotGrpcHealth|not one plain message"),
            (&[0, 0, 0, 0, 3, 8, 1], "NotGrpcHealth|not one plain message"),
            (&[0, 0, 0, 0, 2, 8, 0xff], "NotGrpcHealth|not a HealthCheckResponse"),
        ];
        for (answer, expected) in cases {
            assert_eq!(reason(serving(answer)), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_call_that_failed_says_how() {
        let cases = [
            (Some("0"), "passes"),
            (Some("12"), "grpc status 12 UNIMPLEMENTED|"),
            (Some("16"), "grpc status 16 UNAUTHENTICATED|"),
            (Some("17"), "unknown grpc status|17"),
            (Some("-1"), "unknown grpc status|-1"),
            (None, "NotGrpcHealth|no grpc-status"),
        ];
        for (status, expected) in cases {
            let mut trailers = HeaderMap::new();
            if let Some(status) = status {
                trailers.insert("grpc-status", status.parse().unwrap());
            }
            assert_eq!(reason(call(&trailers)), expected, "{status:?}");
        }
        for (number, name) in GRPC_STATUS.iter().enumerate() {
            assert!(name.starts_with(&format!("grpc status {number} ")), "{name}");
        }
    }
}
