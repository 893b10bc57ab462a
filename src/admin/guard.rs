//! Who may change something through the admin address: programs, but no page of another site that an operator happens to visit.
//!
//! The admin address has no passwords, and on loopback every browser on the machine reaches it. What a page of another site can
//! send without being asked first (a form, an image, a simple `fetch`) has not the type `application/json`; what it sends
//! otherwise its browser marks with `Sec-Fetch-Site` and `Origin`. A site whose name leads to 127.0.0.1 (DNS rebinding) is our
//! own to the browser, but carries that name in `Host`: so `Host` must be an address, or `localhost`.

use std::net::IpAddr;

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode};

/// Why a request may not change anything, if it may not.
pub(super) fn refusal(headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let Some(host) = text(HOST.as_str()).filter(|host| is_address(host)) else {
        return Some((
            StatusCode::FORBIDDEN,
            "the Host of a request that changes something must be an address or localhost",
        ));
    };
    let own_site = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let own_origin = |origin: &str| {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    if !own_site || !text(ORIGIN.as_str()).is_none_or(own_origin) {
        return Some((StatusCode::FORBIDDEN, "a page of another site may not change anything"));
    }
    let essence =
        |kind: &str| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    if !text(CONTENT_TYPE.as_str()).is_some_and(essence) {
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "needs Content-Type: application/json"));
    }
    None
}

/// Whether this names a host without asking DNS.
fn is_address(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    !host.contains('@') && (name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const JSON: (&str, &str) = ("content-type", "application/json");

    fn status(headers: &[(&str, &str)]) -> Option<u16> {
        let parse = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        refusal(&headers.iter().map(parse).collect()).map(|(status, _)| status.as_u16())
    }

    fn with_host(host: &str) -> Option<u16> {
        status(&[("host", host), JSON])
    }

    #[test]
    fn a_host_is_an_address() {
        for host in ["127.0.0.1:9901", "127.0.0.1", "[::1]:9901", "[::1]", "localhost:9901", "LOCALHOST", "10.0.0.7:80"]
        {
            assert_eq!(with_host(host), None, "{host}");
        }
        for host in [
            "evil.example:9901",
            "lb.internal",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "a@127.0.0.1",
            "é",
        ] {
            assert_eq!(with_host(host), Some(403), "{host}");
        }
        assert_eq!(status(&[JSON]), Some(403), "no host at all");
    }

    #[test]
    fn only_json() {
        for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert_eq!(status(&[("host", "127.0.0.1"), ("content-type", kind)]), None, "{kind}");
        }
        // What a form or a simple fetch can send, without the browser asking first.
        for kind in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=application/json", ""]
        {
            assert_eq!(status(&[("host", "127.0.0.1"), ("content-type", kind)]), Some(415), "{kind}");
        }
        assert_eq!(status(&[("host", "127.0.0.1")]), Some(415));
    }

    #[test]
    fn no_page_of_another_site() {
        let from = |name, value| status(&[("host", "127.0.0.1:9901"), JSON, (name, value)]);
        for (name, value, expected) in [
            ("origin", "http://127.0.0.1:9901", None),
            ("origin", "https://127.0.0.1:9901", None),
            ("origin", "http://evil.example", Some(403)),
            ("origin", "http://127.0.0.1:8000", Some(403)),
            ("origin", "http://localhost:9901", Some(403)),
            ("origin", "null", Some(403)),
            ("origin", "", Some(403)),
            ("sec-fetch-site", "same-origin", None),
            ("sec-fetch-site", "none", None),
            ("sec-fetch-site", "same-site", Some(403)),
            ("sec-fetch-site", "cross-site", Some(403)),
            ("sec-fetch-site", "new word", Some(403)),
        ] {
            assert_eq!(from(name, value), expected, "{name}: {value}");
        }
    }
}
