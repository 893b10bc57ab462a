//! Responses whose status says that they have no body, where a filter has changed that status.
//!
//! A backend has said whether a body follows before any filter changes the status, and the client goes by what the last one has
//! left. So a body that the client does not expect is held back, and one that it waits for is said to be empty.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora_core::{Error, ErrorType, Result};

/// Whether a response is one without a body.
#[derive(Default)]
pub(super) struct Bodiless {
    /// As it came from the backend.
    came: bool,
    /// As it goes to the client.
    goes: bool,
    /// It is no response but the beginning of a tunnel.
    tunnel: bool,
}

impl Bodiless {
    /// Note what has come.
    pub(super) fn comes(&mut self, response: &ResponseHeader) {
        self.came = is_bodiless(response.status);
        self.tunnel = response.status == StatusCode::SWITCHING_PROTOCOLS;
    }

    /// Note what goes, and have it say no other length than that of the body that follows.
    ///
    /// # Errors
    /// That it was a tunnel and is none any more, or the other way round: both sides would wait for each other.
    pub(super) fn goes(&mut self, response: &mut ResponseHeader) -> Result<()> {
        if self.tunnel != (response.status == StatusCode::SWITCHING_PROTOCOLS) {
            return Error::e_explain(ErrorType::InternalError, "a filter has changed a status to or from 101");
        }
        self.goes = is_bodiless(response.status);
        if self.came == self.goes {
            return Ok(());
        }
        response.remove_header(&TRANSFER_ENCODING);
        if self.came {
            response.remove_header(&CONTENT_ENCODING);
            response.insert_header(CONTENT_LENGTH, 0)?;
        } else {
            // A 304 may have one, of what a 200 would bring; over HTTP/2 clients wait for that if the header has not ended the stream.
            response.remove_header(&CONTENT_LENGTH);
        }
        Ok(())
    }

    /// Keep a body back that nobody expects.
    #[inline]
    pub(super) fn hold_back(&self, body: &mut Option<Bytes>) {
        if self.came || self.goes {
            *body = None;
        }
    }
}

/// RFC 9110, 6.4.1.
fn is_bodiless(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}
