//! The first line of a request: `METHOD target HTTP/1.1`, with one space between them (RFC 9112, 3).

use std::ops::Range;

use super::bytes::are_token;
use crate::reason::Reason;

/// What is known of a request from its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// HTTP/1.0, which knows neither `Host` nor chunks.
    pub(super) old: bool,
    /// Where the authority stands in the line, if the target is `http://authority/path`.
    pub(super) authority: Option<Range<usize>>,
}

/// Read a line, without its end.
///
/// # Errors
/// Why the request is refused.
pub(super) fn read(line: &[u8], longest_target: usize) -> Result<Line, Reason> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(Reason::BadRequest);
    };
    if !are_token(method) {
        return Err(Reason::BadRequest);
    }
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        // Any other of the form that a version has; else the line is none.
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(Reason::VersionNotSupported);
        }
        _ => return Err(Reason::BadRequest),
    };
    if target.len() > longest_target {
        return Err(Reason::UriTooLong);
    }
    if method == b"CONNECT" {
        return Err(Reason::MethodNotAllowed);
    }
    let authority = authority(method, target)?.map(|within| {
        let before = method.len() + 1;
        before + within.start..before + within.end
    });
    Ok(Line { old, authority })
}

/// Where the authority stands in a target, if it holds one.
fn authority(method: &[u8], target: &[u8]) -> Result<Option<Range<usize>>, Reason> {
    if !target.iter().fold(true, |fine, byte| fine & is_target(*byte)) {
        return Err(Reason::BadRequest);
    }
    // Pingora would answer by itself.
    if !target.is_ascii() && std::str::from_utf8(target).is_err() {
        return Err(Reason::BadRequest);
    }
    if target.first() == Some(&b'/') || target == b"*" && method == b"OPTIONS" {
        return Ok(None);
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
    let Some(scheme) = scheme else { return Err(Reason::BadRequest) };
    let rest = target.get(scheme.len()..).unwrap_or_default();
    let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    if length == 0 {
        return Err(Reason::BadRequest);
    }
    Ok(Some(scheme.len()..scheme.len() + length))
}

/// Whether a byte may stand in a target. More than RFC 3986 allows, as clients send more, and nothing that could be read in two
/// ways: no control bytes and blanks, no fragment. What is not ASCII must be UTF-8.
const fn is_target(byte: u8) -> bool {
    !matches!(byte, 0..=b' ' | 0x7f | b'#' | b'<' | b'>' | b'`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_method_a_target_and_a_version() {
        let fine = |line: &[u8]| read(line, 64).unwrap();
        assert_eq!(fine(b"GET / HTTP/1.1"), Line { old: false, authority: None });
        assert_eq!(fine(b"OPTIONS * HTTP/1.0"), Line { old: true, authority: None });
        assert_eq!(fine(b"M-SEARCH /a?{\"b\":\"c|d\"} HTTP/1.1").authority, None);
        assert_eq!(fine("GET /\u{e9} HTTP/1.1".as_bytes()).authority, None);
        let absolute = b"GET HTTP://example.com:80?a=/ HTTP/1.1";
        assert_eq!(&absolute[fine(absolute).authority.unwrap()], b"example.com:80");
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_refused() {
        for line in [
            &b""[..],
            b"GET",
            b"GET /",
            b"GET  / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b"GET /  HTTP/1.1",
            b" GET / HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET /a b HTTP/1.1",
            b"GET /a\tb HTTP/1.1",
            b"GET /a\0b HTTP/1.1",
            b"GET /a\rb HTTP/1.1",
            b"GET /a#b HTTP/1.1",
            b"GET a HTTP/1.1",
            b"GET * HTTP/1.1",
            b"GET http:// HTTP/1.1",
            b"GET http:///a HTTP/1.1",
            b"GET ftp://a/ HTTP/1.1",
            b"G@T / HTTP/1.1",
            b"GET / http/1.1",
            b"GET / HTTP/1.1x",
            b"GET / HTTP/1,1",
            b"GET / HTTP/11",
        ] {
            assert_eq!(read(line, 64), Err(Reason::BadRequest), "{}", line.escape_ascii());
        }
        assert_eq!(read(b"GET / HTTP/2.0", 64), Err(Reason::VersionNotSupported));
        assert_eq!(read(b"GET / HTTP/1.2", 64), Err(Reason::VersionNotSupported));
        assert_eq!(read(b"CONNECT a:1 HTTP/1.1", 64), Err(Reason::MethodNotAllowed));
        assert_eq!(read(&[b"GET /", &[b'a'; 64][..], b" HTTP/1.1"].concat(), 64), Err(Reason::UriTooLong));
        assert!(read(&[b"GET /", &[b'a'; 63][..], b" HTTP/1.1"].concat(), 64).is_ok());
    }
}
