//! What hooks read of a request or a response, for whoever feeds it nonsense.

use std::time::Duration;

use chrono::DateTime;
use http::header::{CONTENT_TYPE, COOKIE, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};
use pingora::http::{RequestHeader, ResponseHeader};

use super::{deadline, forwarded, request, response, rfc7239, target};
use crate::config::normal_path;
use crate::filter::{host_of, key};
use crate::pool::retry_after_at;

/// A path.
pub(crate) fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(form) = normal_path(text) else { return };
    let form = form.as_deref().unwrap_or(text);
    assert_eq!(normal_path(form), Ok(None), "the one form has another");
    assert!(form.starts_with('/') && !form.split('/').any(|segment| matches!(segment, "." | "..")));
}

/// A target, with its method before a space.
pub(crate) fn target(data: &[u8]) {
    let Some(space) = data.iter().position(|byte| *byte == b' ') else { return };
    let (method, rest) = data.split_at(space);
    let Some(rest) = rest.get(1..) else { return };
    let Ok(mut request) = RequestHeader::build(method, rest, None) else { return };
    if target::simplify(&mut request, true).is_err() {
        return;
    }
    let once = request.raw_path().to_vec();
    assert!(once.first() == Some(&b'/') || once == b"*" && request.method == Method::OPTIONS);
    assert_eq!(target::simplify(&mut request, true), Ok(()));
    assert_eq!(request.raw_path(), once, "the one form has another");
    let _ = request::validate(&request, Some(0));
    request::forget_other_upgrades(&mut request);
}

/// A `Cookie` header.
pub(crate) fn cookie(data: &[u8]) {
    let Some(request) = with(COOKIE.as_str(), data) else { return };
    for value in key::cookies(&request, "lb") {
        assert!(data.windows(value.len().max(1)).any(|window| window == value) || value.is_empty());
    }
}

/// `Forwarded`, and `X-Forwarded-For`.
pub(crate) fn forwarded(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    if let Some(clients) = rfc7239::clients(line) {
        let ours = rfc7239::element(clients.first().copied().flatten(), Some(line), "https");
        let read = rfc7239::clients(&format!("{line}, {ours}"));
        // What is no text of a header cannot be quoted either, and no host is that.
        if !line.contains(|c: char| c.is_control()) {
            assert_eq!(read.map(|read| read.len()), Some(clients.len() + 1), "what we add is read with it");
        }
    }
    let _ = forwarded::address(line.trim());
}

/// How long a call may take, and when to come back.
pub(crate) fn times(data: &[u8]) {
    if let Some(mut request) = with("grpc-timeout", data) {
        let _ = request.insert_header(CONTENT_TYPE, "application/grpc");
        let given = deadline::given(&request.headers).unwrap_or(Duration::MAX);
        let _ = deadline::tell(&mut request, &http::HeaderName::from_static("grpc-timeout"), given);
        assert!(deadline::given(&request.headers).is_some(), "what we tell can be read");
    }
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
    let _ = retry_after_at(&headers, DateTime::UNIX_EPOCH);
}

/// The header of a response.
pub(crate) fn codings(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    for name in [TRANSFER_ENCODING, http::header::CONTENT_LENGTH, http::header::CONNECTION] {
        let Ok(mut response) = ResponseHeader::build(200, None) else { return };
        let _ = response.append_header(name, value.clone());
        let sound = response::hold_to_the_rules(&mut response, false);
        response::strip_hop_by_hop(&mut response);
        let coding = response.headers.get(TRANSFER_ENCODING);
        assert!(sound.is_err() || coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")));
    }
}

/// The host of an authority.
pub(crate) fn host(authority: &str) -> &str {
    host_of(authority)
}

fn with(name: &'static str, data: &[u8]) -> Option<RequestHeader> {
    let value = HeaderValue::from_bytes(data).ok()?;
    let mut request = RequestHeader::build("GET", b"/", None).ok()?;
    request.append_header(name, value).ok()?;
    Some(request)
}
