//! Every parser of ours, to be fed with nonsense: none may panic, and what each says of itself must hold.
//!
//! `fuzz/` runs them with libFuzzer. Where that is missing, as in CI, the test below feeds them mutations of what is in `SEEDS`
//! and in the corpus, for as long as `EVENKEEL_FUZZ_SECONDS` says.

#![allow(missing_docs)]

use std::sync::OnceLock;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{self, Config, HostMatch, Match, PathMatch, Regex, ValueMatch};
use crate::route::{Asked, Router};

/// A parser, by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 15] = [
    ("authorization", crate::filter::fuzz),
    ("chunks", crate::front::fuzz::chunks),
    ("codings", crate::proxy::fuzz::codings),
    ("configuration", configuration),
    ("cookie", crate::proxy::fuzz::cookie),
    ("forwarded", crate::proxy::fuzz::forwarded),
    ("frames", crate::front::fuzz::frames),
    ("grpc_health", crate::health::fuzz),
    ("header", crate::front::fuzz::header),
    ("path", crate::proxy::fuzz::path),
    ("proxy_header", crate::front::fuzz::proxy_header),
    ("route", route),
    ("target", crate::proxy::fuzz::target),
    ("times", crate::proxy::fuzz::times),
    ("units", units),
];

/// Run one by its name, as a target of `fuzz/` does.
pub fn run(name: &str, data: &[u8]) {
    if let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) {
        target(data);
    }
}

/// A whole file.
fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(e) = Config::parse(text, None) {
        let printed = e.to_string();
        assert!(!e.mistakes.is_empty() && !printed.contains(['\u{1b}', '\0']), "{printed:?}");
    }
}

/// A duration, and through a file every other unit and address.
fn units(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = config::duration(text);
    let text = text.escape_default();
    for key in ["limits: { max_body_size", "limits: { idle_timeout", "listeners: { address", "trusted_proxies: { x"] {
        let _ = Config::parse(&format!("{key}: \"{text}\" }}\n"), None);
    }
    let pools = ["panic_threshold", "backends", "balance", "health_check", "retry", "zone", "slow_start"];
    for key in pools {
        let _ = Config::parse(&format!("pools: {{ web: {{ {key}: \"{text}\" }} }}\n"), None);
    }
}

/// A host, a path, a query, a cookie and a header, with zeros between them.
fn route(data: &[u8]) {
    static ROUTER: OnceLock<Router> = OnceLock::new();
    let mut parts = data.split(|byte| *byte == 0);
    let mut text = || std::str::from_utf8(parts.next().unwrap_or_default());
    let (Ok(host), Ok(path), Ok(query)) = (text(), text(), text()) else { return };
    let (cookie, header) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut headers = HeaderMap::new();
    for (name, value) in [(COOKIE, cookie), (HeaderName::from_static("x-canary"), header)] {
        let _ = HeaderValue::from_bytes(value).map(|value| headers.append(name, value));
    }
    let router = ROUTER.get_or_init(|| Router::new(&fuzzed_routes()));
    let asked = Asked { query: Some(query), ..Asked::get(crate::proxy::fuzz::host(host), path, &headers) };
    assert!(router.find(&asked).is_some(), "the last route is for everything");
}

fn fuzzed_routes() -> Vec<Match> {
    let exact = |text: &str| ValueMatch::Exact(text.to_owned());
    let digit = || Regex::new("^[0-9]$").map(ValueMatch::Regex).unwrap_or(ValueMatch::Present);
    let v1 = || Match {
        host: Some(HostMatch::Exact("api.example.com".into())),
        path: Some(PathMatch::Prefix("/v1".into())),
        ..Match::default()
    };
    vec![
        v1(),
        Match { headers: vec![("x-canary".into(), digit())], ..v1() },
        Match { query: vec![("a b".into(), exact("c+d"))], ..v1() },
        Match { cookies: vec![("lb".into(), exact("1")), ("none".into(), ValueMatch::Absent)], ..v1() },
        Match { host: Some(HostMatch::Suffix(".example.com".into())), ..Match::default() },
        Match { path: Some(PathMatch::Exact("/health".into())), ..Match::default() },
        Match { path: Regex::new("^/[a-z]+/[0-9]+$").ok().map(PathMatch::Regex), ..Match::default() },
        Match::default(),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// What comes near to something that each of them accepts.
    const SEEDS: [(&str, &[&str]); 15] = [
        (
            "authorization",
            &[
                "Basic YWxpY2U6YTpi",
                "Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6ImEifQ.eyJleHAiOjk5OTk5OTk5OTl9.AAAA",
                "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
                "alice:$2y$05$fNoBX9BgE0x41e/qCNDDfuXTwBjpQUwgs40DJJfxj1ICBlsrRN0/.",
                "bob:$argon2id$v=19$m=256,t=1,p=1$c29tZXNhbHQ$C1nSQzCTQWzgK9naSl2auLfd0EqDoFwYFGg9v5LwjIc",
                "http://[::1]:80/a?b",
            ],
        ),
        ("chunks", &["\x035\r\nhello\r\n0\r\n\r\n", "\x01a;b=\"c\"\r\n0123456789\r\n0\r\nX: y\r\n\r\n"]),
        ("codings", &["chunked", "gzip, chunked", "5", "5, 5", "close, x-a, content-length"]),
        ("configuration", &[include_str!("../conf/minimal.yaml"), include_str!("../conf/full.yaml")]),
        ("cookie", &["a=1; lb=2; c=\"3\"", "lb=;lb=x"]),
        (
            "forwarded",
            &["for=192.0.2.1;proto=http, for=\"[2001:db8::1]:80\";host=\"a:1\"", "1.2.3.4:80", "for=_x;by=unknown"],
        ),
        ("frames", &["\x05HTTP/1.1 101 S\r\n\r\n\u{1}\u{5}hello\u{1}\u{7e}\0\x01x"]),
        ("grpc_health", &["\0\0\0\0\x02\x08\x01", "\0\0\0\0\x0b\x08\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x01"]),
        (
            "header",
            &[
                "\x07GET /a?b HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
                "\x01\r\nPOST http://a:1/ HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ],
        ),
        ("path", &["/a/./b/../%2e%2E/%2f..%5c/\\..;/%c3%a9//"]),
        (
            "proxy_header",
            &["PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "\r\n\r\n\0\r\nQUIT\n!\x11\0\x0cabcdefghijklmnop"],
        ),
        (
            "route",
            &[
                "api.example.com:80\0/v1/a\0a+b=c%2bd&x\0lb=1; a=2\x007",
                "[::1]:1\0/health",
                "a.example.com\0/x/1\0%&=\0;",
            ],
        ),
        ("target", &["GET http://test/a/../b?c#d", "OPTIONS *", "GET /%2e/%zz"]),
        ("times", &["250m", "99999999H", "Sun, 06 Nov 1994 08:49:37 GMT", "120"]),
        ("units", &["1h 30m", "64KiB", "70%", "[::1]:80", "unix:/a", "10.0.0.0/8", "a.b:80"]),
    ];

    const PIECES: [&[u8]; 24] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"=",
        b"\"",
        b"\\",
        b"/",
        b"..",
        b"%2e",
        b"%2F",
        b"0",
        b"9",
        b"\xff",
        b"\xc3\xa9",
        b"chunked",
        b"HTTP/1.1",
        b"18446744073709551616",
        b"[::1]",
    ];

    fn mutate(bytes: &mut Vec<u8>, rng: &mut fastrand::Rng) {
        let (from, to) = (rng.usize(..=bytes.len()), rng.usize(..=bytes.len()));
        let (from, to) = (from.min(to), from.max(to));
        match rng.u8(..8) {
            0 => drop(bytes.drain(from..to)),
            1 => bytes.truncate(from),
            2 if to - from < 500 => {
                let copy = bytes[from..to].to_vec();
                bytes.splice(to..to, copy);
            }
            3 if from < bytes.len() => bytes[from] = rng.u8(..),
            4 if from < bytes.len() => bytes[from] ^= 1 << rng.u8(..8),
            _ => {
                let piece = PIECES[rng.usize(..PIECES.len())];
                let end = (from + rng.usize(..3)).min(bytes.len());
                bytes.splice(from..end, piece.iter().copied());
            }
        }
    }

    fn seconds() -> f64 {
        std::env::var("EVENKEEL_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0.2)
    }

    #[test]
    fn libfuzzer_has_the_same_targets() {
        let manifest = include_str!("../fuzz/Cargo.toml");
        let bins: Vec<_> =
            manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|bin| bin.split('"').next()).collect();
        assert_eq!(bins, TARGETS.map(|(name, _)| name));
    }

    #[test]
    fn no_parser_panics() {
        let seed = std::env::var("EVENKEEL_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(11);
        let mut rng = fastrand::Rng::with_seed(seed);
        for ((name, target), (of, seeds)) in TARGETS.iter().zip(SEEDS) {
            assert_eq!(*name, of);
            let (began, limit) = (Instant::now(), Duration::from_secs_f64(seconds()));
            let mut tried = 0_u64;
            while began.elapsed() < limit || tried == 0 {
                let mut bytes = seeds[rng.usize(..seeds.len())].as_bytes().to_vec();
                for _ in 0..rng.usize(..6) {
                    mutate(&mut bytes, &mut rng);
                }
                // What is wrong is said with the input that shows it.
                let caught = std::panic::catch_unwind(|| target(&bytes));
                assert!(caught.is_ok(), "{name} with {}", bytes.escape_ascii());
                tried += 1;
            }
            println!("{name}: {tried} inputs");
        }
    }
}
