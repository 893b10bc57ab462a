//! A backend that does what a test tells it to, and remembers what it was asked.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Answer;
use super::answer::Act;
use super::wire::{Fields, Head};
use crate::health::AGENT;

/// A backend on a loopback port that the system chose. Its drop closes the port and every connection.
///
/// It prints as its address, so that it can stand in a configuration: `format!("backends: [{backend}]")`.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// A request as a [`Backend`] got it.
#[derive(Clone, Debug)]
pub struct Received {
    head: Head,
    body: Vec<u8>,
}

struct Shared {
    script: Box<dyn Fn(&Received) -> Answer + Send + Sync>,
    requests: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    open: Mutex<Open>,
    stopped: Condvar,
}

/// The connections that are open, by their numbers; none come in when it has stopped.
#[derive(Default)]
struct Open {
    streams: Vec<(usize, TcpStream)>,
    next: usize,
    stopped: bool,
}

impl Backend {
    /// One that does with each request what `script` says. It is asked for whatever comes, a balancer's health checks over HTTP
    /// included.
    #[track_caller]
    pub fn answering(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            stopped: Condvar::new(),
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut backend = Backend { address: any, shared: Arc::new(shared), acceptor: None };
        backend.listen();
        backend
    }

    /// One that answers everything with 200 and this body.
    #[track_caller]
    pub fn saying(body: &str) -> Self {
        let answer = Answer::new(200).body(body);
        Backend::answering(move |_| answer.clone())
    }

    /// One that does this with its first requests, one after the other, and the last of it with all that follow. The built-in
    /// health checks, which do not count among these, are answered with 200.
    #[track_caller]
    pub fn script(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
        Backend::answering(move |request| {
            let mut answers = lock(&answers);
            match answers.len() {
                _ if request.is_probe() => Answer::new(200),
                0 => Answer::new(200),
                1 => answers[0].clone(),
                _ => answers.pop_front().unwrap_or_else(|| Answer::new(200)),
            }
        })
    }

    #[track_caller]
    fn listen(&mut self) {
        let bound = TcpListener::bind(self.address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.unwrap_or_else(|e| panic!("a backend cannot listen on {}: {e}", self.address));
        self.address = address;
        lock(&self.shared.open).stopped = false;
        let shared = Arc::clone(&self.shared);
        self.acceptor = Some(thread::spawn(move || accept(&listener, &shared)));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far, in the order in which they came; those of the built-in health checks are left out.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.requests).clone()
    }

    /// How many connections so far have brought a request, one of a health check included.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Close the port and every connection, as when its process ends.
    pub fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        let streams = {
            let mut open = lock(&self.shared.open);
            open.stopped = true;
            std::mem::take(&mut open.streams)
        };
        self.shared.stopped.notify_all();
        for (_, stream) in streams {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        // It looks when somebody comes.
        let _ = TcpStream::connect(self.address);
        let _ = acceptor.join();
    }

    /// Open the port again after [`Backend::stop`]. Panics if somebody else has taken it.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.listen();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Received {
    /// Its method.
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    /// Its target: the path, and the query if there is one.
    pub fn target(&self) -> &str {
        self.head.word(1)
    }

    /// The first header field of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.fields().get(name)
    }

    /// Every header field of this name, in the order in which they came.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.fields().all(name).collect()
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its body as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Whether it is one of the built-in health checks'.
    pub fn is_probe(&self) -> bool {
        self.header("user-agent").is_some_and(|agent| agent == AGENT)
    }

    fn fields(&self) -> &Fields {
        &self.head.fields
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let number = {
            let mut open = lock(&shared.open);
            if open.stopped {
                return;
            }
            let Ok(Ok(handle)) = stream.as_ref().map(TcpStream::try_clone) else { continue };
            open.next += 1;
            let number = open.next;
            open.streams.push((number, handle));
            number
        };
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // The other side may close whenever it likes.
            let _ = serve(&stream, &shared);
            let _ = stream.shutdown(std::net::Shutdown::Both);
            lock(&shared.open).streams.retain(|(it, _)| *it != number);
        });
    }
}

/// Serve one connection to its end.
fn serve(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream);
    let mut first = true;
    while let Some(head) = Head::read(&mut from)? {
        if std::mem::take(&mut first) {
            shared.connections.fetch_add(1, SeqCst);
        }
        if head.fields.get("expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue")) {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = Vec::new();
        head.read_body(&mut from, &mut body, false)?;
        let request = Received { head, body };
        if !request.is_probe() {
            lock(&shared.requests).push(request.clone());
        }
        let Answer { after, act } = (shared.script)(&request);
        shared.pause(after);
        match act {
            Act::Hang => return io::copy(&mut from, &mut io::sink()).map(drop),
            Act::Reset => {
                let now = Some(Duration::ZERO);
                return Ok(rustix::net::sockopt::set_socket_linger(stream, now)?);
            }
            act => {
                let (bytes, goes_on) = act.written(request.method());
                stream.write_all(&bytes)?;
                if !goes_on {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

impl Shared {
    /// Wait for so long, or until the backend is stopped.
    fn pause(&self, time: Duration) {
        if !time.is_zero() {
            let open = lock(&self.open);
            let _ = self.stopped.wait_timeout_while(open, time, |open| !open.stopped);
        }
    }
}
