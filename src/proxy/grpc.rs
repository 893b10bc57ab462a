//! gRPC: what a call is known by, how it has ended, and what its client is told when it is we who fail it.
//!
//! Statuses are those of the [specification](https://grpc.github.io/grpc/core/md_doc_statuscodes.html).

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::Result;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::bridge::grpc_web::GrpcWebCtx;
use pingora_proxy::Session;

use crate::backend::Failure;
use crate::reason::Reason;

const KIND: &[u8] = b"application/grpc";
const WEB_KIND: &[u8] = b"application/grpc-web";

pub(super) const CANCELLED: u8 = 1;
const UNKNOWN: u8 = 2;
const DEADLINE_EXCEEDED: u8 = 4;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;

/// Whether a request is a call of gRPC, or of grpc-web, which ends in the same way.
#[inline]
pub(super) fn is_call(request: &RequestHeader) -> bool {
    request.method == Method::POST && kind(request).is_some_and(|kind| begins(kind, KIND))
}

fn kind(request: &RequestHeader) -> Option<&HeaderValue> {
    request.headers.get(CONTENT_TYPE)
}

fn begins(kind: &HeaderValue, with: &[u8]) -> bool {
    kind.as_bytes().get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

/// The status that a call has ended with, if these headers or trailers say so.
pub(super) fn status(headers: &HeaderMap) -> Option<u8> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The failure that a call's status is, if it is its backend's.
pub(super) fn failure(status: u8) -> Option<Failure> {
    match status {
        UNAVAILABLE => Some(Failure::Gateway),
        INTERNAL => Some(Failure::Status),
        _ => None,
    }
}

/// What the client of a call is told in place of a status of HTTP.
pub(super) fn status_of(reason: Reason, http: u16) -> u8 {
    match reason {
        Reason::NoRoute | Reason::MethodNotAllowed | Reason::NoUpgrade => UNIMPLEMENTED,
        Reason::ClientGone => CANCELLED,
        Reason::ClientTimeout | Reason::ConnectTimeout | Reason::BackendTimeout | Reason::RequestTimeout => {
            DEADLINE_EXCEEDED
        }
        Reason::BodyTooLarge
        | Reason::PoolFull
        | Reason::QueueFull
        | Reason::QueueTimeout
        | Reason::ConnectionLimit
        | Reason::Overloaded => RESOURCE_EXHAUSTED,
        Reason::NoBackend
        | Reason::ConnectFailed
        | Reason::BackendClosed
        | Reason::BackendProtocol
        | Reason::BackendStatus
        | Reason::BackendRemoved => UNAVAILABLE,
        _ => status_of_http(http),
    }
}

/// The same for a status that a filter chose, as [gRPC](https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html)
/// has it, but for 429.
fn status_of_http(status: u16) -> u8 {
    match status {
        400 | 500 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        413 | 429 => RESOURCE_EXHAUSTED,
        502 | 503 => UNAVAILABLE,
        504 => DEADLINE_EXCEEDED,
        _ => UNKNOWN,
    }
}

/// Answer a call with nothing but how it has ended, and these headers.
pub(super) async fn respond(session: &mut Session, status: u8, headers: &[(&'static str, &str)]) -> Result<()> {
    let mut response = ResponseHeader::build(StatusCode::OK, Some(headers.len() + 4))?;
    let kind = kind(session.req_header()).cloned().unwrap_or_else(|| HeaderValue::from_static("application/grpc"));
    response.insert_header(CONTENT_TYPE, kind)?;
    response.insert_header("grpc-status", status.to_string())?;
    for (name, value) in headers {
        response.insert_header(*name, *value)?;
    }
    if session.req_header().version != Version::HTTP_2 {
        response.insert_header(CONTENT_LENGTH, "0")?;
    }
    // As a task: a header that is written by itself does not end its stream, and what follows would be no trailers.
    session.write_response_tasks(vec![HttpTask::Header(Box::new(response), true)]).await?;
    Ok(())
}

/// Make a grpc-web request, which `upstream_request` is about to pass on, one of gRPC. What comes back is to go through what
/// comes of this.
pub(super) fn from_web(upstream_request: &mut RequestHeader) -> GrpcWebCtx {
    if !kind(upstream_request).is_some_and(|kind| begins(kind, WEB_KIND)) {
        return GrpcWebCtx::Disabled;
    }
    let mut web = GrpcWebCtx::Init;
    web.request_header_filter(upstream_request);
    web
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for (method, kind, is) in [
            ("POST", "application/grpc", true),
            ("POST", "application/grpc+proto", true),
            ("POST", "Application/gRPC-web", true),
            ("POST", "application/json", false),
            ("POST", "application/grp", false),
            ("GET", "application/grpc", false),
        ] {
            let mut request = RequestHeader::build(method, b"/a.B/C", None).unwrap();
            request.insert_header(CONTENT_TYPE, kind).unwrap();
            assert_eq!(is_call(&request), is, "{method} {kind}");
        }
    }

    #[test]
    fn each_reason_has_its_status() {
        for (reason, status) in [
            (Reason::NoBackend, UNAVAILABLE),
            (Reason::ConnectFailed, UNAVAILABLE),
            (Reason::RequestTimeout, DEADLINE_EXCEEDED),
            (Reason::BodyTooLarge, RESOURCE_EXHAUSTED),
            (Reason::Overloaded, RESOURCE_EXHAUSTED),
            (Reason::NoRoute, UNIMPLEMENTED),
            (Reason::Internal, INTERNAL),
            (Reason::BadRequest, INTERNAL),
        ] {
            assert_eq!(status_of(reason, reason.status()), status, "{reason}");
        }
        let of_a_filter = [(401, UNAUTHENTICATED), (403, PERMISSION_DENIED), (429, RESOURCE_EXHAUSTED), (418, UNKNOWN)];
        for (http, status) in of_a_filter {
            assert_eq!(status_of(Reason::Refused, http), status, "{http}");
        }
    }
}
