//! The header of a request, line by line as it comes; each line is looked at once.

use std::ops::Range;

use super::body::Body;
use super::bytes::is_token;
use super::field::Fields;
use super::line::{self, Line};
use crate::reason::Reason;

/// How much a header may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Its bytes.
    pub(crate) size: usize,
    /// Its fields.
    pub(crate) fields: usize,
    /// The bytes of its target.
    pub(crate) target: usize,
}

/// A header that has come and is sound.
#[derive(Debug)]
pub(crate) struct Complete {
    /// Where it stands in what has come; before it there are only empty lines.
    pub(crate) place: Range<usize>,
    /// What follows it.
    pub(crate) body: Body,
}

/// A header that is coming.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// Where the line begins that has not come whole.
    at: usize,
    /// How much of that has been looked at.
    looked: usize,
    /// Where the first line begins, and what it says.
    begun: Option<(usize, Line)>,
    fields: Fields,
}

impl Head {
    /// Look at what has come so far, from its beginning; `None` if more is needed.
    ///
    /// # Errors
    /// Why the request is refused.
    pub(crate) fn scan(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<Complete>, Reason> {
        while let Some(end) = memchr::memchr(b'\n', bytes.get(self.looked..).unwrap_or_default()) {
            let (start, next) = (self.at, self.looked + end + 1);
            (self.at, self.looked) = (next, next);
            if next > bounds.size {
                return Err(Reason::HeaderTooLarge);
            }
            // A line that ends in LF alone is one line to some and part of another to others.
            let line = bytes.get(start..next).and_then(|line| line.strip_suffix(b"\r\n")).ok_or(Reason::BadRequest)?;
            match &self.begun {
                // RFC 9112, 2.2: some clients send an empty line after a body.
                None if line.is_empty() => {}
                None => self.begun = Some((start, line::read(line, bounds.target)?)),
                Some((begin, first)) if line.is_empty() => {
                    let body = self.fields.finish(first, bytes, *begin)?;
                    return Ok(Some(Complete { place: *begin..next, body }));
                }
                Some(_) => self.fields.take(line, start, bounds.fields)?,
            }
        }
        self.looked = bytes.len();
        self.unfinished(bytes, bounds)?;
        Ok(None)
    }

    /// What can be said of a line before its end: one that never ends is not to be waited for.
    fn unfinished(&self, bytes: &[u8], bounds: &Bounds) -> Result<(), Reason> {
        let rest = bytes.get(self.at..).unwrap_or_default();
        if self.begun.is_none() {
            // What is not HTTP at all, such as the first bytes of TLS.
            if rest.first().is_some_and(|byte| !is_token(*byte) && *byte != b'\r') {
                return Err(Reason::BadRequest);
            }
            // A method and a version are no longer than that.
            if rest.len() > bounds.target + 64 {
                return Err(Reason::UriTooLong);
            }
        }
        if bytes.len() > bounds.size { Err(Reason::HeaderTooLarge) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { size: 512, fields: 5, target: 100 };

    /// The header that is found when the bytes come in pieces of this size, and how its body is framed.
    fn scan(bytes: &[u8], piece: usize) -> Result<Option<(String, Body)>, Reason> {
        let mut head = Head::default();
        let mut end = 0;
        while end < bytes.len() {
            end = (end + piece).min(bytes.len());
            if let Some(found) = head.scan(&bytes[..end], &BOUNDS)? {
                return Ok(Some((String::from_utf8_lossy(&bytes[found.place]).into_owned(), found.body)));
            }
        }
        Ok(None)
    }

    #[test]
    fn it_is_found_however_it_comes() {
        let header = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length:  7 \r\n\r\n";
        for before in ["", "\r\n", "\r\n\r\n"] {
            let bytes = format!("{before}{header}1234567GET / HTTP/1.1\r\n");
            for piece in 1..bytes.len() {
                let (found, body) = scan(bytes.as_bytes(), piece).unwrap().unwrap();
                assert_eq!(found, header);
                assert!(matches!(body, Body::Length(7)));
            }
        }
        let (_, body) = scan(b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n", 9).unwrap().unwrap();
        assert!(matches!(body, Body::Chunked(_)));
        assert!(scan(b"GET / HTTP/1.0\r\n\r\n", 1).unwrap().is_some(), "HTTP/1.0 needs no Host");
        assert!(scan(b"GET http://a:1/ HTTP/1.1\r\nHost:\ta:1 \r\n\r\n", 1).unwrap().is_some());
        assert!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n", 1).unwrap().is_none(), "the empty line is to come");
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_refused() {
        let with_host = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        for fields in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 1",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: 1 1",
            "Content-Length:",
            "Content-Length: 0x1",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding:",
            "Transfer-Encoding: \u{b}chunked",
            "Transfer-Encoding : chunked",
            "A: b\r\n c",
            "A: b\r\n\tc",
            " A: b",
            "A\0: b",
            "A: b\0",
            "A: b\rc",
            "A: b\nc: d",
            "A: b\u{7f}",
            "A",
            ": b",
            "Host: b",
            "Host: a",
        ] {
            let bytes = with_host(fields);
            for piece in [1, 7, bytes.len()] {
                let refused = scan(bytes.as_bytes(), piece).map(|_| ());
                assert_eq!(refused, Err(Reason::BadRequest), "{} by {piece}", fields.escape_debug());
            }
        }
        for bytes in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n",
            "GET http://a/ HTTP/1.0\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            "GET /\r\n",
        ] {
            for piece in [1, 7, bytes.len()] {
                let refused = scan(bytes.as_bytes(), piece).map(|_| ());
                assert_eq!(refused, Err(Reason::BadRequest), "{} by {piece}", bytes.escape_debug());
            }
        }
    }

    #[test]
    fn what_is_too_much_is_refused_before_its_end() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100));
        let endless = format!("GET /{}", "a".repeat(170));
        let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(5));
        let large = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "a".repeat(500));
        let large_but_whole = format!("{large}\r\n\r\n");
        for (bytes, reason) in [
            (long, Reason::UriTooLong),
            (endless, Reason::UriTooLong),
            (fields, Reason::HeaderTooLarge),
            (large, Reason::HeaderTooLarge),
            (large_but_whole, Reason::HeaderTooLarge),
        ] {
            for piece in [1, 64, bytes.len()] {
                assert_eq!(scan(bytes.as_bytes(), piece).map(|_| ()), Err(reason), "{bytes} by {piece}");
            }
        }
    }
}
