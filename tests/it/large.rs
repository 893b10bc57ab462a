//! Bodies of any size pass through in little memory.

use std::io::{self, Read, Write};

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, Response, Then, big, memory_kib};

const MIB: u64 = 1024 * 1024;
/// How much memory the program may take for a body.
const GROWTH_KIB: u64 = 64 * 1024;

fn size() -> u64 {
    if big() { 2048 * MIB } else { 256 * MIB }
}

/// Endless bytes that repeat only after a prime number of them, so that a lost or doubled buffer shows.
struct Pattern {
    bytes: Vec<u8>,
    at: usize,
}

const PERIOD: usize = 65_521;

impl Pattern {
    fn new() -> Pattern {
        let mut random = fastrand::Rng::with_seed(1);
        Pattern { bytes: (0..PERIOD).map(|_| random.u8(..)).collect(), at: 0 }
    }
}

impl Read for Pattern {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(PERIOD - self.at);
        buf[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at = (self.at + n) % PERIOD;
        Ok(n)
    }
}

/// Accepts the pattern, and nothing else.
impl Write for Pattern {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(PERIOD - self.at);
        if buf[..n] != self.bytes[self.at..self.at + n] {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not what was sent"));
        }
        self.at = (self.at + n) % PERIOD;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_large_download_takes_little_memory() {
    let size = size();
    let origin = Origin::new(move |exchange| {
        let size = if exchange.path() == "/small" { 10 } else { size };
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"))?;
        io::copy(&mut Pattern::new().take(size), exchange.wire.get_mut())?;
        Ok(Then::Keep)
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    assert_eq!(client.get("/small").body.len(), 10);
    let before = memory_kib(evenkeel.pid(), "VmHWM");
    client.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = Response::read_head(&mut client.wire).unwrap();
    let read = response.head.copy_body(&mut client.wire, &mut Pattern::new(), false);
    assert_eq!(read.unwrap(), size);
    let after = memory_kib(evenkeel.pid(), "VmHWM");
    assert!(after - before < GROWTH_KIB, "{before} KiB grew to {after} KiB");
    assert_eq!(evenkeel.requests(2)[1]["bytes_sent"], size);
}

#[test]
fn a_large_upload_takes_little_memory() {
    let size = size();
    let origin = Origin::new(move |exchange| {
        let length = exchange.body_to(&mut Pattern::new())?;
        exchange.ok(&length.to_string())
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    assert_eq!(client.get("/small").text(), "0");
    let before = memory_kib(evenkeel.pid(), "VmHWM");
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"));
    io::copy(&mut Pattern::new().take(size), client.wire.get_mut()).unwrap();
    assert_eq!(client.read().text(), size.to_string());
    let after = memory_kib(evenkeel.pid(), "VmHWM");
    assert!(after - before < GROWTH_KIB, "{before} KiB grew to {after} KiB");
    assert_eq!(evenkeel.requests(2)[1]["bytes_received"], size);
}

#[test]
fn a_client_that_reads_slowly_holds_the_backend_back() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = std::sync::Arc::clone(&sent);
    let origin = Origin::new(move |exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 256 * MIB))?;
        let block = vec![0; 64 * 1024];
        for _ in 0..256 * 16 {
            exchange.send(&block)?;
            counter.fetch_add(block.len() as u64, std::sync::atomic::Ordering::SeqCst);
        }
        Ok(Then::Keep)
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(Response::read_head(&mut client.wire).unwrap().status, 200);
    // The kernel's buffers fill, and then nothing moves any more.
    let mut last = (0, 0);
    crate::support::wait_until("the backend stands still", || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let now = sent.load(std::sync::atomic::Ordering::SeqCst);
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        last.1 >= 4
    });
    assert!(last.0 < 64 * MIB, "{} MiB were taken from the backend", last.0 / MIB);
}
