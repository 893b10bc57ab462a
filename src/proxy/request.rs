//! What a request must be before it is routed, and what it is routed by.

use http::header::{CONTENT_LENGTH, HOST};
use http::uri::Authority;
use http::{Method, Version};
use pingora::http::RequestHeader;

use crate::reason::Reason;

/// Refuse what must not be forwarded.
///
/// # Errors
/// The reason of the refusal.
pub(super) fn validate(request: &RequestHeader, max_body_size: Option<u64>) -> Result<(), Reason> {
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
            if host.contains(':') && !host.ends_with(']') {
                authority
            } else {
                host
            }
        }
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
