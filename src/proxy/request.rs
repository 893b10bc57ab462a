//! What a request must be before it is routed, and what it is routed by.

use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::uri::Authority;
use http::{Method, Version};
use pingora::http::RequestHeader;
use pingora_core::{ErrorType, OrErr, Result};

use crate::reason::Reason;

/// Refuse what must not be forwarded.
///
/// # Errors
/// The reason of the refusal.
pub(super) fn validate(request: &RequestHeader, max_body_size: Option<u64>) -> std::result::Result<(), Reason> {
    // RFC 9112, 3.2. Pingora lets these through; a backend would have to guess whom they are for.
    if request.version == Version::HTTP_11 && !request.headers.contains_key(HOST) {
        return Err(Reason::BadRequest);
    }
    // TRACE echoes cookies and what we add to a header; CONNECT is not for a reverse proxy.
    if request.method == Method::TRACE || request.method == Method::CONNECT {
        return Err(Reason::MethodNotAllowed);
    }
    if let Some(limit) = max_body_size
        && content_length(request).is_some_and(|length| length > limit)
    {
        return Err(Reason::BodyTooLarge);
    }
    Ok(())
}

fn content_length(request: &RequestHeader) -> Option<u64> {
    request.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The host that a request is for, as the client wrote it, with its port: `Host`, or in HTTP/2 `:authority`.
pub(super) fn authority(request: &RequestHeader) -> Option<&str> {
    match request.headers.get(HOST) {
        Some(host) => host.to_str().ok(),
        None => request.uri.authority().map(Authority::as_str),
    }
}

/// An authority without its port: `example.com:80` and `[::1]:80` lose theirs.
pub(super) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.is_empty() => {
            // The colons of an IPv6 address without a port are its own.
            if host.contains(':') && !host.ends_with(']') { authority } else { host }
        }
        _ => authority,
    }
}

/// `GET http://host/path` as `GET /path`, which is what an origin expects. The host stays in `Host`, which must agree.
pub(super) fn to_origin_form(request: &mut RequestHeader) -> Result<()> {
    if matches!(request.raw_path().first(), None | Some(b'/' | b'*')) {
        return Ok(());
    }
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    request.set_uri(path.parse().or_err(ErrorType::HTTPStatus(400), "bad request target")?);
    Ok(())
}

/// HTTP/2 clients may send a cookie header in pieces; HTTP/1.1 knows one only (RFC 9113, 8.2.3).
pub(super) fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    if request.headers.get_all(COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let pieces: Vec<&[u8]> = request.headers.get_all(COOKIE).iter().map(|piece| piece.as_bytes()).collect();
    let joined = pieces.join(&b"; "[..]);
    request.insert_header(COOKIE, joined)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_pieces_become_one_header() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for piece in ["a=1", "b=2", "c=3"] {
            request.append_header(COOKIE, piece).unwrap();
        }
        join_cookies(&mut request).unwrap();
        let cookies: Vec<_> = request.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn an_absolute_target_becomes_a_path() {
        let mut request = RequestHeader::build("GET", b"http://example.com/a?b=c", None).unwrap();
        to_origin_form(&mut request).unwrap();
        assert_eq!(request.raw_path(), b"/a?b=c");
        let mut request = RequestHeader::build("GET", b"http://example.com", None).unwrap();
        to_origin_form(&mut request).unwrap();
        assert_eq!(request.raw_path(), b"/");
    }

    #[test]
    fn only_a_port_is_cut_off() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com:", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            (":80", ":80"),
            ("", ""),
        ] {
            assert_eq!(without_port(authority), host);
        }
    }
}
