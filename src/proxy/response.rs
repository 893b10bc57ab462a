//! What a response must be before it is taken for one, and what it must lose before it goes to the client.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora_core::{Error, ErrorType, Result};

use crate::terms::tell_strict_transport;

/// More interim answers than that to one request are no help to anybody.
const MAX_INTERIM: u8 = 16;

/// Count an interim answer.
///
/// # Errors
/// That there were too many.
pub(super) fn one_more_interim(count: &mut u8) -> Result<()> {
    *count += 1;
    if *count > MAX_INTERIM { refuse("too many interim answers") } else { Ok(()) }
}

/// Refuse a response whose end another reader could see elsewhere, and leave one form of those that all read alike. Pingora has
/// refused lengths that contradict each other by now, and dropped a length beside chunks.
///
/// # Errors
/// That it is no HTTP.
pub(super) fn hold_to_the_rules(response: &mut ResponseHeader, wants_tunnel: bool) -> Result<()> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        let other = |protocol: &HeaderValue| !protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        // Pingora would pass it on, and everything after it.
        if !wants_tunnel || response.headers.get(UPGRADE).is_some_and(other) {
            return refuse("a tunnel that nobody asked for");
        }
    }
    if response.headers.contains_key(TRANSFER_ENCODING) {
        let mut codings = response.headers.get_all(TRANSFER_ENCODING).iter();
        let chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        // RFC 9112, 6.1: nobody asked for any other, and HTTP/1.0 knows none.
        if !chunked || codings.next().is_some() || response.version != Version::HTTP_11 {
            return refuse("a transfer coding that nobody asked for");
        }
    }
    let mut lengths = response.headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let length = length.as_bytes();
        if length.iter().all(u8::is_ascii_digit) {
            let same = lengths.next().is_some();
            if same {
                let length = length.to_vec();
                response.insert_header(CONTENT_LENGTH, length)?;
            }
        } else {
            // `5, 5` is the same to some and an error to others; `+5` is only read by some.
            return refuse("a length that is no number");
        }
    }
    // RFC 9112, 6.3: it has no body, and must not announce one.
    if matches!(response.status, StatusCode::NO_CONTENT | StatusCode::SWITCHING_PROTOCOLS) {
        response.remove_header(&CONTENT_LENGTH);
        response.remove_header(&TRANSFER_ENCODING);
    }
    // RFC 9110, 2.5: our own, whatever the backend's.
    if response.version < Version::HTTP_11 {
        response.set_version(Version::HTTP_11);
    }
    Ok(())
}

fn refuse<T>(why: &'static str) -> Result<T> {
    Err(Error::explain(ErrorType::InvalidHTTPHeader, why).into_up())
}

/// Make a backend's response one of our own.
///
/// # Errors
/// None: what is written is well-formed.
pub(super) fn prepare(response: &mut ResponseHeader) -> Result<()> {
    strip_hop_by_hop(response);
    tell_strict_transport(response)
}

/// Remove what is for one hop only (RFC 9110, 7.6.1). Pingora does so for requests, and writes `Connection` itself.
pub(super) fn strip_hop_by_hop(response: &mut ResponseHeader) {
    const ALWAYS: [HeaderName; 3] = [
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        http::header::PROXY_AUTHENTICATE,
    ];
    let nominated: Vec<HeaderName> = response
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // These two are pingora's to write, from its own knowledge of the connection and the body.
        .filter(|name| name != UPGRADE && name != TRANSFER_ENCODING && name != CONNECTION)
        // These are about the content, and for whoever gets that (RFC 9110, 7.6.1).
        .filter(|name: &HeaderName| !name.as_str().starts_with("content-") && name != "close")
        .collect();
    for name in ALWAYS.iter().chain(&nominated) {
        if response.headers.contains_key(name) {
            response.remove_header(name);
        }
    }
    if response.status.as_u16() != 101 && response.headers.contains_key(UPGRADE) {
        response.remove_header(&UPGRADE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(version: Version, status: u16, headers: &[(&'static str, &str)]) -> ResponseHeader {
        let mut response = ResponseHeader::build(status, None).unwrap();
        response.set_version(version);
        for (name, value) in headers {
            response.append_header(*name, *value).unwrap();
        }
        response
    }

    #[test]
    fn what_has_no_one_end_is_refused() {
        use Version as V;
        for (version, headers, fine) in [
            (V::HTTP_11, &[("transfer-encoding", "chunked")][..], true),
            (V::HTTP_11, &[("transfer-encoding", "Chunked")], true),
            (V::HTTP_11, &[("transfer-encoding", "gzip, chunked")], false),
            (V::HTTP_11, &[("transfer-encoding", "chunked, chunked")], false),
            (V::HTTP_11, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
            (V::HTTP_11, &[("transfer-encoding", "identity")], false),
            (V::HTTP_11, &[("transfer-encoding", "")], false),
            (V::HTTP_10, &[("transfer-encoding", "chunked")], false),
            (V::HTTP_10, &[("content-length", "5")], true),
            (V::HTTP_11, &[("content-length", "+5")], false),
            (V::HTTP_11, &[("content-length", "5, 5")], false),
            (V::HTTP_11, &[("content-length", "5"), ("content-length", "5")], true),
            (V::HTTP_11, &[], true),
        ] {
            let mut response = response(version, 200, headers);
            assert_eq!(hold_to_the_rules(&mut response, false).is_ok(), fine, "{version:?} {headers:?}");
            assert!(!fine || response.headers.get_all(CONTENT_LENGTH).iter().count() < 2, "{headers:?}");
        }
    }

    #[test]
    fn a_tunnel_is_asked_for() {
        for (asked, headers, fine) in [
            (true, &[("upgrade", "websocket")][..], true),
            (true, &[("upgrade", "WebSocket")], true),
            (true, &[], true),
            (true, &[("upgrade", "h2c")], false),
            (false, &[("upgrade", "websocket")], false),
        ] {
            let mut response = response(Version::HTTP_11, 101, headers);
            assert_eq!(hold_to_the_rules(&mut response, asked).is_ok(), fine, "{asked} {headers:?}");
        }
    }

    #[test]
    fn no_content_has_no_length() {
        let mut none = response(Version::HTTP_11, 204, &[("content-length", "5")]);
        hold_to_the_rules(&mut none, false).unwrap();
        assert!(none.headers.is_empty());
        let mut same = response(Version::HTTP_11, 304, &[("content-length", "5")]);
        hold_to_the_rules(&mut same, false).unwrap();
        assert_eq!(same.headers.len(), 1);
    }

    #[test]
    fn what_is_about_the_content_stays_whatever_connection_says() {
        let headers = [("connection", "content-length, x-hop, close"), ("content-length", "5"), ("x-hop", "1")];
        let mut response = response(Version::HTTP_11, 200, &headers);
        strip_hop_by_hop(&mut response);
        assert!(response.headers.contains_key(CONTENT_LENGTH) && !response.headers.contains_key("x-hop"));
    }

    #[test]
    fn sixteen_interim_answers_are_enough() {
        let mut count = 0;
        let passed = (0..100).take_while(|_| one_more_interim(&mut count).is_ok()).count();
        assert_eq!(passed, usize::from(MAX_INTERIM));
    }
}
