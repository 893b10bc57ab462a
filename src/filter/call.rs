//! Calls of gRPC: what they are known by, and what their client is told when it is we who fail them.
//!
//! Statuses are those of the [specification](https://grpc.github.io/grpc/core/md_doc_statuscodes.html).

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use pingora::http::RequestHeader;

use crate::reason::Reason;

const KIND: &[u8] = b"application/grpc";

const CANCELLED: u8 = 1;
const UNKNOWN: u8 = 2;
const DEADLINE_EXCEEDED: u8 = 4;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
pub(crate) const INTERNAL: u8 = 13;
pub(crate) const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;

/// Whether a request is a call of gRPC, or of grpc-web, which ends in the same way.
#[inline]
pub(crate) fn is_call(request: &RequestHeader) -> bool {
    request.method == Method::POST && kind(request).is_some_and(|kind| begins(kind, KIND))
}

/// The type of a request's body.
pub(crate) fn kind(request: &RequestHeader) -> Option<&HeaderValue> {
    request.headers.get(CONTENT_TYPE)
}

/// Whether a type begins like this, in any case.
pub(crate) fn begins(kind: &HeaderValue, with: &[u8]) -> bool {
    kind.as_bytes().get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

/// What the client of a call is told in place of a status of HTTP.
pub(crate) fn status_of(reason: Reason, http: u16) -> u8 {
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
