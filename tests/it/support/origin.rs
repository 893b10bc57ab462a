//! A backend that does what a test tells it to, well or badly.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::socket::Socket;
use super::{Head, LIMIT, wait_until};

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Keep,
    Close,
}

type Script = Arc<dyn Fn(&mut Exchange<'_>) -> io::Result<Then> + Send + Sync>;

/// A request as it was received.
#[derive(Clone, Debug)]
pub struct Seen {
    pub head: Head,
    /// The number of its connection, from 0.
    pub connection: usize,
    pub at: Instant,
    /// The body's length, once it was read.
    pub body: Option<u64>,
}

impl Seen {
    fn is_probe(&self) -> bool {
        self.head.header("user-agent").is_some_and(|agent| agent.contains("health check"))
    }
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    open: Mutex<HashMap<usize, Socket>>,
    stopping: AtomicBool,
}

/// A backend on a loopback address of its own, so that nobody else takes its port while it is stopped.
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    script: Script,
    acceptor: Option<JoinHandle<()>>,
}

/// One request, and the way to answer it.
pub struct Exchange<'a> {
    pub head: Head,
    pub connection: usize,
    pub wire: &'a mut BufReader<Socket>,
    number: usize,
    shared: &'a Shared,
}

impl Origin {
    /// A backend that answers by a script.
    pub fn new(script: impl Fn(&mut Exchange<'_>) -> io::Result<Then> + Send + Sync + 'static) -> Origin {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let [high, low] = NEXT.fetch_add(1, SeqCst).to_be_bytes();
        // Above 127.0.0.0/16, which everybody else uses; the process tells parallel runs of the suite apart.
        let net = 1 + u8::try_from(std::process::id() % 250).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::new(127, net, high, low), 0)).unwrap();
        let mut origin = Origin {
            address: listener.local_addr().unwrap(),
            shared: Arc::default(),
            script: Arc::new(script),
            acceptor: None,
        };
        origin.accept(listener);
        origin
    }

    /// A backend that answers every request with 200 and this body.
    pub fn saying(body: &str) -> Origin {
        let body = body.to_owned();
        Origin::new(move |exchange| {
            exchange.body()?;
            exchange.ok(&body)
        })
    }

    /// The same on a Unix socket; it lives until the test ends.
    pub fn on_unix(path: &Path, body: &'static str) {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            let shared = Arc::<Shared>::default();
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                let script: Script = Arc::new(move |exchange| exchange.ok(body));
                thread::spawn(move || serve(Socket::Unix(stream.unwrap()), &shared, &script));
            }
        });
    }

    fn accept(&mut self, listener: TcpListener) {
        let (shared, script) = (Arc::clone(&self.shared), Arc::clone(&self.script));
        self.acceptor = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopping.load(SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                let (shared, script) = (Arc::clone(&shared), Arc::clone(&script));
                thread::spawn(move || serve(Socket::Tcp(stream), &shared, &script));
            }
        }));
    }

    /// Close the port, and cut every connection.
    pub fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopping.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
        acceptor.join().unwrap();
        self.cut();
    }

    /// Open the same port again.
    pub fn restart(&mut self) {
        self.shared.stopping.store(false, SeqCst);
        let mut listener = None;
        wait_until("the port of the origin is free again", || {
            listener = TcpListener::bind(self.address).ok();
            listener.is_some()
        });
        self.accept(listener.unwrap());
    }

    /// Cut every connection, and go on.
    pub fn cut(&self) {
        for (_, socket) in self.shared.open.lock().unwrap().drain() {
            socket.shutdown();
        }
    }

    /// The requests so far, health checks aside.
    pub fn seen(&self) -> Vec<Seen> {
        self.those(|seen| !seen.is_probe())
    }

    /// The health checks so far.
    pub fn probes(&self) -> Vec<Seen> {
        self.those(Seen::is_probe)
    }

    fn those(&self, which: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|seen| which(seen)).cloned().collect()
    }

    /// The last request.
    #[track_caller]
    pub fn last(&self) -> Seen {
        self.seen().pop().unwrap()
    }

    /// How many requests came so far, health checks aside.
    pub fn count(&self) -> usize {
        self.seen().len()
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.shared.open.lock().unwrap().len()
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(socket: Socket, shared: &Shared, script: &Script) {
    let connection = shared.connections.fetch_add(1, SeqCst);
    shared.open.lock().unwrap().insert(connection, socket.clone());
    let mut wire = BufReader::with_capacity(256 * 1024, socket);
    while let Ok(Some(head)) = Head::read(&mut wire) {
        let number = {
            let mut seen = shared.seen.lock().unwrap();
            seen.push(Seen { head: head.clone(), connection, at: Instant::now(), body: None });
            seen.len() - 1
        };
        let mut exchange = Exchange { head, connection, wire: &mut wire, number, shared };
        if !matches!(script(&mut exchange), Ok(Then::Keep)) {
            break;
        }
    }
    shared.open.lock().unwrap().remove(&connection);
    wire.get_ref().shutdown();
}

impl Exchange<'_> {
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    pub fn path(&self) -> &str {
        self.head.word(1)
    }

    /// Read the body.
    pub fn body(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        self.body_to(&mut body)?;
        Ok(body)
    }

    /// Read the body to somewhere else.
    pub fn body_to(&mut self, to: &mut impl Write) -> io::Result<u64> {
        let length = self.head.copy_body(self.wire, to, false)?;
        self.shared.seen.lock().unwrap()[self.number].body = Some(length);
        Ok(length)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.get_mut().write_all(bytes.as_ref())
    }

    /// Answer with 200, and a body unless the method is HEAD.
    pub fn ok(&mut self, body: &str) -> io::Result<Then> {
        self.answer("200 OK", body)
    }

    pub fn answer(&mut self, status: &str, body: &str) -> io::Result<Then> {
        let shown = if self.method() == "HEAD" { "" } else { body };
        self.send(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{shown}", body.len()))?;
        Ok(Then::Keep)
    }

    /// Say nothing until the other side has gone or the origin is stopped.
    pub fn hang(&mut self) -> io::Result<Then> {
        io::copy(self.wire, &mut io::sink())?;
        Ok(Then::Close)
    }

    /// Be slow; a script has nothing to wait for.
    pub fn pause(&mut self, time: Duration) {
        thread::sleep(time.min(LIMIT));
    }
}
