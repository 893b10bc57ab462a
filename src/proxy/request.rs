//! What a request must be before it is routed, and what it is routed by.

use std::net::Ipv6Addr;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use pingora::http::RequestHeader;
use pingora_core::Result;

use super::generation::Generation;
use super::target;
use crate::filter::authority;
use crate::reason::Reason;

/// To a backend that turns names into variables, as CGI does, `X_Real_IP` is one of these: a client would get past whoever
/// looks at the real one.
const DISGUISED: [&str; 9] = [
    "content-length",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "proxy",
];

/// Bring a request into the form in which it is routed and forwarded. `ends`: it came by HTTP/2, and its stream ends with its header.
///
/// # Errors
/// The reason of its refusal.
pub(super) fn prepare(
    request: &mut RequestHeader,
    ends: bool,
    generation: &Generation,
) -> std::result::Result<(), Reason> {
    // RFC 9113, 8.1.1. The h2 crate finds out, too, but perhaps when a backend has the request already, as one without a body.
    if ends && content_length(request).is_some_and(|length| length > 0) {
        return Err(Reason::BadRequest);
    }
    validate(request, generation.limits.max_body_size)?;
    target::simplify(request, generation.normalize_path)?;
    forget_other_upgrades(request);
    Ok(())
}

/// Refuse what must not be forwarded.
///
/// # Errors
/// The reason of the refusal.
pub(super) fn validate(request: &RequestHeader, max_body_size: Option<u64>) -> std::result::Result<(), Reason> {
    if request.version == Version::HTTP_2 && !is_fit_for_http1(request) {
        return Err(Reason::BadRequest);
    }
    let authority = match request.headers.get(HOST) {
        Some(host) => host.to_str().ok(),
        // RFC 9112, 3.2. Pingora lets these through; a backend would have to guess whom they are for.
        None if request.version == Version::HTTP_11 => return Err(Reason::BadRequest),
        None => request.uri.authority().map(Authority::as_str),
    };
    if !authority.is_none_or(is_authority) || is_disguised(&request.headers) {
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

/// Whether it names a host and perhaps a port, and nothing else (RFC 9110, 7.2). No comma: a list is made of it too easily.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(literal) => {
            let Some((address, rest)) = literal.split_once(']') else { return false };
            let port = rest.strip_prefix(':');
            if address.parse::<Ipv6Addr>().is_err() || port.is_none() && !rest.is_empty() {
                return false;
            }
            ("", port.unwrap_or_default())
        }
        None => match text.split_once(':') {
            Some(("", _)) | None if text.is_empty() || text.starts_with(':') => return false,
            Some(parts) => parts,
            None => (text, ""),
        },
    };
    let in_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.') || b"_~!$&'()*+;=%".contains(&byte);
    host.bytes().all(in_name) && port.len() <= 5 && port.bytes().all(|digit| digit.is_ascii_digit())
}

/// Whether what came by HTTP/2 has a form in HTTP/1: a host, no name with a quote, which pingora's HTTP/2 lets through, and at most
/// one length. HTTP/1 is held to as much before pingora gets it.
fn is_fit_for_http1(request: &RequestHeader) -> bool {
    let mut lengths = request.headers.get_all(CONTENT_LENGTH).iter();
    let sound = lengths.next().is_none_or(|length| length.as_bytes().iter().all(u8::is_ascii_digit));
    let quoted = |name: &HeaderName| name.as_str().contains('"');
    sound && lengths.next().is_none() && authority(request).is_some() && !request.headers.keys().any(quoted)
}

fn is_disguised(headers: &HeaderMap) -> bool {
    let disguised = |name: &str| DISGUISED.contains(&name.replace('_', "-").as_str());
    headers.keys().any(|name| name.as_str().contains('_') && disguised(name.as_str()))
}

/// Leave no other wish for an upgrade than the one that is granted: of a GET, to WebSocket, named in `Connection` as it must be
/// (RFC 9110, 7.8). Pingora takes any `Upgrade` for one, and what comes next for the bytes of a tunnel.
pub(super) fn forget_other_upgrades(request: &mut RequestHeader) {
    let Some(protocol) = request.headers.get(UPGRADE) else { return };
    let named = |value: &HeaderValue| {
        let mut options = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
    };
    let websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket") && request.method == Method::GET;
    if !websocket || !request.headers.get_all(CONNECTION).iter().any(named) {
        request.remove_header(&UPGRADE);
    }
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
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for text in
            ["a", "a.example", "a:80", "a:", "10.0.0.1:8080", "[::1]", "[::1]:80", "my_host", "xn--a-b.example."]
        {
            assert!(is_authority(text), "{text}");
        }
        for text in [
            "", ":", ":80", "a:b", "a:80:80", "a/b", "a b", "a,b", "a@b", "[::1", "[::1]a", "[a]", "a?b", "a#b",
            "a:123456",
        ] {
            assert!(!is_authority(text), "{text}");
        }
    }

    #[test]
    fn only_a_websocket_that_is_named_is_an_upgrade() {
        for (method, upgrade, connection, left) in [
            ("GET", "websocket", "Upgrade", true),
            ("GET", "WebSocket", "keep-alive, upgrade", true),
            ("GET", "websocket", "keep-alive", false),
            ("GET", "websocket", "", false),
            ("POST", "websocket", "Upgrade", false),
            ("GET", "h2c", "Upgrade, HTTP2-Settings", false),
            ("GET", "h2c, websocket", "Upgrade", false),
        ] {
            let mut request = RequestHeader::build(method, b"/", None).unwrap();
            request.insert_header(UPGRADE, upgrade).unwrap();
            request.insert_header(CONNECTION, connection).unwrap();
            forget_other_upgrades(&mut request);
            assert_eq!(request.headers.contains_key(UPGRADE), left, "{method} {upgrade} {connection}");
        }
    }

    #[test]
    fn a_name_in_disguise_is_found() {
        for (name, found) in
            [("x_forwarded_for", true), ("x-forwarded_for", true), ("content_length", true), ("x_y", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(name, "1".parse().unwrap());
            assert_eq!(is_disguised(&headers), found, "{name}");
        }
    }
}
