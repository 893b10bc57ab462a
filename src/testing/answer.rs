//! What a backend does with a request.

use std::time::Duration;

use http::StatusCode;

use super::wire::Fields;

/// What a scripted [`Backend`](super::Backend) does with a request: answers it, well or badly, or not at all.
///
/// ```
/// use std::time::Duration;
/// use evenkeel::testing::Answer;
///
/// Answer::new(200).header("Content-Type", "text/plain").body("hello");
/// Answer::new(503).after(Duration::from_millis(50));
/// Answer::new(200).body("hello").cut_after(2); // breaks off in the middle of its body
/// Answer::close(); // closes the connection instead
/// ```
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) after: Duration,
    pub(super) act: Act,
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Respond { status: u16, fields: Fields, body: Vec<u8>, cut: Option<usize> },
    Raw(Vec<u8>),
    Close,
    Reset,
    Hang,
}

impl Answer {
    /// An answer with this status, without a body.
    pub fn new(status: u16) -> Self {
        Answer::of(Act::Respond { status, fields: Fields::default(), body: Vec::new(), cut: None })
    }

    /// These bytes, whatever they are, and then the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Answer::of(Act::Raw(bytes.into()))
    }

    /// Close the connection without a word.
    pub fn close() -> Self {
        Answer::of(Act::Close)
    }

    /// Reset the connection, as a process does that is killed.
    pub fn reset() -> Self {
        Answer::of(Act::Reset)
    }

    /// Say nothing until the other side has gone.
    pub fn hang() -> Self {
        Answer::of(Act::Hang)
    }

    fn of(act: Act) -> Self {
        Answer { after: Duration::ZERO, act }
    }

    /// With this header field, too; several of one name are several fields. `Content-Length` is written unless this or
    /// `Transfer-Encoding` is given.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Act::Respond { fields, .. } = &mut self.act {
            fields.add(name, value);
        }
        self
    }

    /// With this body. What answers a HEAD, and a 204 or 304, is sent without it.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        if let Act::Respond { body, .. } = &mut self.act {
            *body = bytes.into();
        }
        self
    }

    /// Close the connection after so many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        if let Act::Respond { cut, .. } = &mut self.act {
            *cut = Some(bytes);
        }
        self
    }

    /// Do it so long after the request has come.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }
}

impl Act {
    /// What is written for it to a request with this method, and whether the connection goes on.
    pub(super) fn written(self, method: &str) -> (Vec<u8>, bool) {
        let (status, mut fields, body, cut) = match self {
            Act::Respond { status, fields, body, cut } => (status, fields, body, cut),
            Act::Raw(bytes) => return (bytes, false),
            Act::Close | Act::Reset | Act::Hang => return (Vec::new(), false),
        };
        let bare = matches!(status, 100..=199 | 204 | 304);
        if !bare && fields.get("content-length").is_none() && fields.get("transfer-encoding").is_none() {
            fields.add("Content-Length", &body.len().to_string());
        }
        let reason =
            StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown");
        let mut bytes = format!("HTTP/1.1 {status} {reason}\r\n{}\r\n", fields.lines()).into_bytes();
        if !bare && method != "HEAD" {
            bytes.extend_from_slice(&body[..cut.unwrap_or(body.len()).min(body.len())]);
        }
        (bytes, cut.is_none())
    }
}
