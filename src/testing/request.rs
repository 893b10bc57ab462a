//! What the client asks.

use std::fmt::Display;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use super::wire::Fields;
use super::{LIMIT, Response};

/// A request of a test's client, over plain HTTP/1.1, on a connection of its own. [`Balancer::get`](super::Balancer::get) and
/// its like begin one.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by `send`"]
pub struct Request {
    to: SocketAddr,
    method: String,
    target: String,
    fields: Fields,
    body: Vec<u8>,
}

impl Request {
    /// A request to whoever listens on `to`.
    pub fn new(to: SocketAddr, method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Request { to, method, target, fields: Fields::default(), body: Vec::new() }
    }

    /// With this header field, too; several of one name are several fields. Unless it is given, `Host` is `test`, and
    /// `Content-Length` that of the body, if there is one.
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.fields.add(name, &value.to_string());
        self
    }

    /// With this body.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self
    }

    /// Send it, and wait up to 20 s for the answer. Panics if there is none.
    #[track_caller]
    pub fn send(self) -> Response {
        let what = format!("{} {}", self.method, self.target);
        self.try_send().unwrap_or_else(|e| panic!("no answer to {what}: {e}"))
    }

    /// Send it, and wait up to 20 s for the answer.
    ///
    /// # Errors
    /// Why there is none: `UnexpectedEof` if the connection was closed in its place. An answer that breaks off in its body is
    /// [one](Response::is_whole).
    pub fn try_send(mut self) -> io::Result<Response> {
        if self.fields.get("host").is_none() {
            self.fields.add("Host", "test");
        }
        let framed = ["content-length", "transfer-encoding"].iter().any(|name| self.fields.get(name).is_some());
        if !self.body.is_empty() && !framed {
            self.fields.add("Content-Length", &self.body.len().to_string());
        }
        let head = format!("{} {} HTTP/1.1\r\n{}\r\n", self.method, self.target, self.fields.lines());
        ask(self.to, &[head.as_bytes(), &self.body].concat(), &self.method)
    }
}

/// Send these bytes, which begin a request with this method, and read the answer.
pub(super) fn ask(to: SocketAddr, bytes: &[u8], method: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    // Whoever refuses a request need not read all of it, and may have answered all the same.
    let _ = stream.write_all(bytes);
    Response::read(&mut BufReader::new(&stream), method)
}
