//! As much of HTTP/2 as it takes to send what no client library would: fields are written as they are, without compression.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::LIMIT;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this status, 0 if it is none of those that we know how to read.
    Status(u16),
    Reset,
    /// With the connection.
    Gone,
}

/// A client's connection.
pub struct Frames {
    stream: TcpStream,
}

impl Frames {
    pub fn connect(address: SocketAddr) -> Frames {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut frames = Frames { stream };
        frames.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames.send(SETTINGS, 0, 0, &[]).unwrap();
        frames
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }

    /// Send a request on a stream of its own.
    pub fn request(&mut self, stream: u32, fields: &[(Vec<u8>, Vec<u8>)], data: Option<&[u8]>) -> io::Result<()> {
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal that is not to be remembered, with a name of its own (RFC 7541, 6.2.2).
            block.push(0);
            string(&mut block, name);
            string(&mut block, value);
        }
        let ends = if data.is_none() { END_STREAM } else { 0 };
        self.send(HEADERS, END_HEADERS | ends, stream, &block)?;
        match data {
            Some(data) => self.send(DATA, END_STREAM, stream, data),
            None => Ok(()),
        }
    }

    /// Read until a stream has ended.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        let mut status = None;
        loop {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).is_err() {
                return status.map_or(Outcome::Gone, Outcome::Status);
            }
            let [a, b, c, kind, flags, rest @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            if self.stream.read_exact(&mut payload).is_err() {
                return Outcome::Gone;
            }
            let mine = u32::from_be_bytes(rest) == stream;
            match kind {
                SETTINGS if flags & ACK == 0 => drop(self.send(SETTINGS, ACK, 0, &[])),
                PING if flags & ACK == 0 => drop(self.send(PING, ACK, 0, &payload)),
                GOAWAY if payload.get(4..8) != Some(&[0; 4]) => return Outcome::Gone,
                RST_STREAM if mine => return Outcome::Reset,
                HEADERS if mine && status.is_none() => status = Some(known_status(&payload)),
                _ => {}
            }
            if mine && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return status.map_or(Outcome::Gone, Outcome::Status);
            }
        }
    }
}

/// The status at the beginning of a block, if it is one of the table's (RFC 7541, appendix A).
fn known_status(block: &[u8]) -> u16 {
    // A change of the table's size may come first.
    let first = block.iter().find(|byte| **byte & 0xe0 != 0x20);
    let known = [200, 204, 206, 304, 400, 404, 500];
    first.and_then(|byte| byte.checked_sub(0x88)).and_then(|n| known.get(usize::from(n)).copied()).unwrap_or(0)
}

fn string(block: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128) as u8 | 128);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend_from_slice(bytes);
}
