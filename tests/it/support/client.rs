//! A client that sends just the bytes it is told to.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{LIMIT, Response};

/// A connection over TCP or a Unix socket.
pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// One connection to a listener.
pub struct Client {
    pub wire: BufReader<Box<dyn Wire>>,
    /// To close one direction; absent for a Unix socket.
    tcp: Option<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        let tcp = stream.try_clone()?;
        Ok(Client { wire: BufReader::with_capacity(64 * 1024, Box::new(stream)), tcp: Some(tcp) })
    }

    /// A client on a connection that somebody else has made.
    pub fn over(wire: impl Read + Write + Send + 'static) -> Client {
        Client { wire: BufReader::new(Box::new(wire)), tcp: None }
    }

    pub fn connect_unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Client { wire: BufReader::new(Box::new(stream)), tcp: None }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).unwrap();
        self
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.get_mut().write_all(bytes.as_ref())
    }

    /// Read a response to anything but HEAD.
    #[track_caller]
    pub fn read(&mut self) -> Response {
        self.read_to("GET")
    }

    #[track_caller]
    pub fn read_to(&mut self, method: &str) -> Response {
        self.try_read(method).unwrap()
    }

    pub fn try_read(&mut self, method: &str) -> io::Result<Response> {
        Response::read(&mut self.wire, method)
    }

    /// GET a path on this connection, and keep it.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.try_get(path).unwrap()
    }

    /// The same with headers, each with its end of line.
    #[track_caller]
    pub fn get_with(&mut self, path: &str, headers: &str) -> Response {
        self.ask(path, headers).read()
    }

    /// Send a GET with these headers, and leave the answer for later.
    pub fn ask(&mut self, path: &str, headers: &str) -> &mut Self {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n"))
    }

    pub fn try_get(&mut self, path: &str) -> io::Result<Response> {
        self.try_send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))?;
        self.try_read("GET")
    }

    /// Read a number of bytes.
    #[track_caller]
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.wire.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Whether the other side has closed or reset the connection, and sent nothing before.
    pub fn closed(&mut self) -> bool {
        match self.wire.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(e) => e.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Close the direction towards the listener.
    pub fn finish(&mut self) {
        self.tcp.as_ref().unwrap().shutdown(Shutdown::Write).unwrap();
    }

    /// The same if the other side has not closed.
    pub fn finish_if_open(&mut self) {
        let _ = self.tcp.as_ref().map(|stream| stream.shutdown(Shutdown::Write));
    }
}

/// GET a path on a connection of its own.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Response {
    Client::connect(address).get(path)
}
