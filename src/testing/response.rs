//! What the client got.

use std::borrow::Cow;
use std::io::{self, BufRead};

use super::wire::Head;

/// What the client of a test got for a [`Request`](super::Request).
#[derive(Clone, Debug)]
pub struct Response {
    head: Head,
    status: u16,
    body: Vec<u8>,
    whole: bool,
}

impl Response {
    /// Read the answer to a request with this method, past what is told in between (100 to 199).
    pub(super) fn read(from: &mut impl BufRead, method: &str) -> io::Result<Self> {
        loop {
            let head = Head::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = head.word(1).parse().map_err(|_| io::ErrorKind::InvalidData)?;
            let mut response = Response { head, status, body: Vec::new(), whole: true };
            match status {
                100..=199 if status != 101 => continue,
                101 | 204 | 304 => {}
                _ if method == "HEAD" => {}
                _ => response.whole = response.head.read_body(from, &mut response.body, true).is_ok(),
            }
            return Ok(response);
        }
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header field of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.fields.get(name)
    }

    /// Every header field of this name, in the order in which they came.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.head.fields.all(name).collect()
    }

    /// Its body, as far as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its body as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Whether it came to its end, rather than breaking off in its body.
    pub fn is_whole(&self) -> bool {
        self.whole
    }
}
