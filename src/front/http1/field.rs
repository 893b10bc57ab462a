//! A field of a request's header, and those fields that frame it (RFC 9112, 5 and 6).

use std::ops::Range;

use super::bytes::{are_text, are_token, trim};
use super::{Body, chunks::Chunks, line::Line};
use crate::reason::Reason;

/// What the fields have said so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    count: usize,
    length: Option<u64>,
    chunked: bool,
    host: Option<Range<usize>>,
}

impl Fields {
    /// Take a line, without its end, which begins at `start`.
    ///
    /// # Errors
    /// Why the request is refused.
    pub(super) fn take(&mut self, line: &[u8], start: usize, most: usize) -> Result<(), Reason> {
        self.count += 1;
        if self.count > most {
            return Err(Reason::HeaderTooLarge);
        }
        let colon = memchr::memchr(b':', line).ok_or(Reason::BadRequest)?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        // A line that goes on with the one before begins with a blank, which is in no name; nor may one stand before the colon.
        if !are_token(name) || !are_text(value) {
            return Err(Reason::BadRequest);
        }
        // By length first: nearly every field is done with that.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value, start + colon + 1),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(trim(value)),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.coding(trim(value)),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8], start: usize) -> Result<(), Reason> {
        let host = trim(value);
        if self.host.is_some() || !host.iter().all(|byte| is_authority(*byte)) {
            return Err(Reason::BadRequest);
        }
        let blanks = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.host = Some(start + blanks..start + blanks + host.len());
        Ok(())
    }

    /// One number in digits, once. Two that are the same are a list, which somebody else may read otherwise.
    fn length(&mut self, value: &[u8]) -> Result<(), Reason> {
        // Eighteen digits fit into 64 bits with a sign, which is what others count with.
        let digits = !value.is_empty() && value.len() < 19 && value.iter().all(u8::is_ascii_digit);
        if self.length.is_some() || self.chunked || !digits {
            return Err(Reason::BadRequest);
        }
        self.length = Some(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')));
        Ok(())
    }

    /// `chunked`, once and alone. Another coding would be for us to undo, and we do not know it.
    fn coding(&mut self, value: &[u8]) -> Result<(), Reason> {
        if self.length.is_some() || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Reason::BadRequest);
        }
        self.chunked = true;
        Ok(())
    }

    /// All of the header has come: how the body is framed. `header` is what the places are places in; it begins with the line.
    ///
    /// # Errors
    /// Why the request is refused.
    pub(super) fn finish(&self, line: &Line, header: &[u8], line_start: usize) -> Result<Body, Reason> {
        match (&self.host, line.old) {
            (None, false) => return Err(Reason::BadRequest),
            (None, true) if line.authority.is_some() => return Err(Reason::BadRequest),
            _ => {}
        }
        // HTTP/1.0 knows no chunks: who sends them through such a proxy has them read as something else.
        if self.chunked && line.old {
            return Err(Reason::BadRequest);
        }
        if let (Some(host), Some(within)) = (&self.host, &line.authority) {
            let authority = header.get(line_start + within.start..line_start + within.end);
            // A proxy in front may have routed by the one or by the other.
            if header.get(host.clone()) != authority {
                return Err(Reason::BadRequest);
            }
        }
        Ok(match (self.chunked, self.length) {
            (true, _) => Body::Chunked(Chunks::default()),
            (false, length) => Body::Length(length.unwrap_or_default()),
        })
    }
}

/// Whether a byte may stand in a host and its port: no user, which somebody may take for the host, and nothing that splits it.
const fn is_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'['
                | b']'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b';'
                | b'='
        )
}
