//! The frames of a chunked body (RFC 9112, 7.1), checked byte by byte. They are passed on as they are.

use super::bytes::{is_text, is_token};
use crate::reason::Reason;

/// The longest extension of a chunk; nobody sends any, but to hide something in them.
const LONGEST_EXTENSION: u16 = 256;
/// The longest trailer section. What it says is dropped.
const LONGEST_TRAILER: u16 = 16 * 1024;
/// Sizes from 2^60 on are refused: nobody can send that much, and adding to it must not overflow.
const DIGITS: u8 = 15;

/// How far the body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the size of a chunk, with so many digits so far.
    Size {
        digits: u8,
        size: u64,
    },
    /// In an extension of so many bytes so far.
    Extension {
        size: u64,
        length: u16,
    },
    /// The line of the size ends.
    SizeEnd {
        size: u64,
    },
    /// So much of the chunk is to come.
    Data(u64),
    /// The chunk's own end.
    DataEnd,
    DataEnded,
    /// At the beginning of a line after the last chunk.
    Line,
    Name,
    Value,
    LineEnd,
    LastEnd,
    Over,
}

/// Follows a chunked body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunks {
    state: State,
    trailer: u16,
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks { state: State::FIRST, trailer: 0 }
    }
}

impl Chunks {
    /// Whether the body has ended.
    pub(super) fn over(&self) -> bool {
        self.state == State::Over
    }

    /// How many of these bytes belong to the body: all, unless it ends among them.
    ///
    /// # Errors
    /// That it is not framed as it should be.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<usize, Reason> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match self.state {
                State::Over => break,
                State::Data(left) => {
                    let now = left.min((bytes.len() - at) as u64);
                    self.state = if now == left { State::DataEnd } else { State::Data(left - now) };
                    at += now as usize;
                }
                _ => {
                    self.state = self.step(*byte).ok_or(Reason::BadRequest)?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Option<State> {
        Some(match (self.state, byte) {
            (State::Size { digits: 1.., size }, b'\r') => State::SizeEnd { size },
            (State::Size { digits: 1.., size }, b';') => State::Extension { size, length: 0 },
            (State::Size { digits, size }, byte) if digits < DIGITS => {
                let digit = char::from(byte).to_digit(16)?;
                State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (State::Extension { size, .. }, b'\r') => State::SizeEnd { size },
            (State::Extension { size, length }, byte) if is_text(byte) && length < LONGEST_EXTENSION => {
                State::Extension { size, length: length + 1 }
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::Line,
            (State::SizeEnd { size }, b'\n') => State::Data(size),
            (State::DataEnd, b'\r') => State::DataEnded,
            (State::DataEnded, b'\n') => State::FIRST,
            (State::Line, b'\r') => State::LastEnd,
            (State::LastEnd, b'\n') => State::Over,
            _ => return self.trailer(byte),
        })
    }

    fn trailer(&mut self, byte: u8) -> Option<State> {
        self.trailer += 1;
        if self.trailer > LONGEST_TRAILER {
            return None;
        }
        Some(match (self.state, byte) {
            (State::Line | State::Name, byte) if is_token(byte) => State::Name,
            (State::Name, b':') => State::Value,
            (State::Value, b'\r') => State::LineEnd,
            (State::Value, byte) if is_text(byte) => State::Value,
            (State::LineEnd, b'\n') => State::Line,
            _ => return None,
        })
    }
}

impl State {
    /// At the beginning of a chunk.
    const FIRST: State = State::Size { digits: 0, size: 0 };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fed in pieces of this size, how many bytes belong to it, and whether it is over.
    fn pass(body: &[u8], piece: usize) -> Result<(usize, bool), Reason> {
        let mut chunks = Chunks::default();
        let mut passed = 0;
        for piece in body.chunks(piece) {
            passed += chunks.pass(piece)?;
        }
        Ok((passed, chunks.over()))
    }

    #[test]
    fn it_ends_where_it_ends_however_it_comes() {
        for body in [
            &b"0\r\n\r\n"[..],
            b"5\r\nhello\r\n0\r\n\r\n",
            b"00005\r\nhello\r\n000\r\n\r\n",
            b"A\r\n0123456789\r\n1;a=b;c=\"d e\"\r\nx\r\n0;z\r\nX-A: b\r\nx-c:\r\n\r\n",
        ] {
            let more = [body, b"GET / HTTP/1.1\r\n"].concat();
            for piece in 1..more.len() {
                let passed = pass(&more, piece);
                assert_eq!(passed, Ok((body.len(), true)), "{} by {piece}", body.escape_ascii());
                let but_the_last = pass(&body[..body.len() - 1], piece);
                assert_eq!(but_the_last, Ok((body.len() - 1, false)));
            }
        }
    }

    #[test]
    fn a_frame_that_could_be_read_otherwise_is_refused() {
        let long = [b"1;", &[b'a'; 257][..], b"\r\n"].concat();
        let trailer = [b"0\r\nA:", &[b'a'; 17_000][..], b"\r\n\r\n"].concat();
        for body in [
            &b"\r\n"[..],
            b";\r\n",
            b"g\r\n",
            b"+1\r\n",
            b"-1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"1 \r\n",
            b"1\n",
            b"1\r1",
            b"1;\n",
            b"1;a\0\r\n",
            b"1000000000000000\r\n",
            b"0000000000000001\r\n",
            b"1\r\nab",
            b"1\r\na\n",
            b"1\r\na\rb",
            b"0\r\n\n",
            b"0\r\n A: b\r\n",
            b"0\r\nA b\r\n",
            b"0\r\n: b\r\n",
            b"0\r\nA : b\r\n",
            b"0\r\nA: b\n",
            b"0\r\nA: \0\r\n",
            &long,
            &trailer,
        ] {
            for piece in [1, 2, 3, body.len()] {
                assert_eq!(pass(body, piece), Err(Reason::BadRequest), "{} by {piece}", body.escape_ascii());
            }
        }
    }
}
