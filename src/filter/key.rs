//! What of a request a hashing algorithm hashes and a limit counts by, and the cookie that binds it to a backend. Nothing is copied.

use std::net::IpAddr;

use http::header::HOST;
use pingora::http::RequestHeader;

use super::host::authority;
use crate::config::KeySource;
use crate::route::{self, parameter};

/// The part of a request that decides where it goes, or what it counts as.
#[derive(Debug, Hash, PartialEq)]
pub(crate) enum Key<'a> {
    /// It has none of the parts.
    None,
    Part(&'a [u8]),
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Key<'_> {
    /// What is hashed; empty if there is nothing.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Key::None => b"",
            Key::Part(part) => part,
            Key::V4(octets) => octets,
            Key::V6(octets) => octets,
        }
    }

    /// The same for whom a limit is for: of an IPv6 address the network, a /64, within which one can take as many as one likes.
    pub(crate) fn of_subscriber(self) -> Self {
        match self {
            Key::V6([a, b, c, d, e, f, g, h, ..]) => Key::V6([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0]),
            other => other,
        }
    }
}

/// The first of these parts that the request has and that is not empty.
pub(crate) fn of<'a>(sources: &'a [KeySource], request: &'a RequestHeader, client: Option<IpAddr>) -> Key<'a> {
    let found = sources.iter().map(|source| match source {
        // HTTP/2 has it in `:authority`.
        KeySource::Header(name) if name == HOST.as_str() => part(authority(request).map(str::as_bytes)),
        KeySource::Header(name) => part(request.headers.get(name).map(|value| value.as_bytes())),
        KeySource::Cookie(name) => part(cookies(request, name).next()),
        KeySource::Query(name) => part(request.uri.query().and_then(|query| parameter(query, name))),
        KeySource::Path => part(Some(request.uri.path().as_bytes())),
        KeySource::ClientIp => match client {
            Some(IpAddr::V4(address)) => Key::V4(address.octets()),
            Some(IpAddr::V6(address)) => Key::V6(address.octets()),
            None => Key::None,
        },
    });
    found.into_iter().find(|key| *key != Key::None).unwrap_or(Key::None)
}

fn part(value: Option<&[u8]>) -> Key<'_> {
    value.filter(|value| !value.is_empty()).map_or(Key::None, Key::Part)
}

/// The values of all cookies of this name.
pub(crate) fn cookies<'a>(request: &'a RequestHeader, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    route::cookies(&request.headers, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &[u8], headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", target, None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    #[test]
    fn the_first_part_that_is_there_decides() {
        let request = request(
            b"/cart?user=7&empty=&user=8",
            &[("x-user", "ann"), ("x-empty", ""), ("cookie", "a=1; sid=s1;sidx=no"), ("cookie", "late=2")],
        );
        let client: IpAddr = "10.1.2.3".parse().unwrap();
        let of = |sources: &[KeySource]| of(sources, &request, Some(client)).as_bytes().to_vec();
        assert_eq!(of(&[KeySource::Header("x-user".into())]), b"ann");
        assert_eq!(of(&[KeySource::Cookie("sid".into())]), b"s1");
        assert_eq!(of(&[KeySource::Cookie("late".into())]), b"2");
        assert_eq!(of(&[KeySource::Query("user".into())]), b"7");
        assert_eq!(of(&[KeySource::Path]), b"/cart");
        assert_eq!(of(&[KeySource::ClientIp]), [10, 1, 2, 3]);
        assert_eq!(of(&[KeySource::Header("x-none".into()), KeySource::Path]), b"/cart");
        assert_eq!(of(&[KeySource::Header("x-empty".into()), KeySource::Query("empty".into())]), b"");
        assert_eq!(of(&[KeySource::Cookie("si".into())]), b"", "a name is whole");
    }

    /// Stickiness was lost to a cookie of the same name that another application had set for a path of its own.
    #[test]
    fn all_cookies_of_a_name_are_found() {
        let request = request(b"/", &[("cookie", "lb=theirs; a=1; lb=ours"), ("cookie", "lb=late")]);
        assert_eq!(cookies(&request, "lb").collect::<Vec<_>>(), [&b"theirs"[..], b"ours", b"late"]);
    }

    #[test]
    fn the_host_is_the_same_in_either_version_of_http() {
        let old = request(b"/", &[("host", "example.com:8443")]);
        let mut new = request(b"/", &[]);
        new.set_uri("https://example.com:8443/".parse().unwrap());
        for request in [&old, &new] {
            assert_eq!(of(&[KeySource::Header("host".into())], request, None).as_bytes(), b"example.com:8443");
        }
    }

    #[test]
    fn addresses_of_one_network_are_one_subscriber() {
        let request = request(b"/", &[]);
        let of = |client: &str| of(&[KeySource::ClientIp], &request, client.parse().ok()).of_subscriber();
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(of(&[KeySource::ClientIp], &request(b"/", &[]), None), Key::None);
        assert_eq!(of(&[], &request(b"/", &[]), None), Key::None);
    }
}
