//! Nothing that a client or a dying backend does brings the process down.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Origin, big, memory_kib, wait_until};

/// A request with something wrong in it, and a word for what.
fn malformed(random: &mut Rng) -> (&'static str, Vec<u8>) {
    let bytes = |random: &mut Rng, n: usize| -> Vec<u8> { (0..random.usize(1..n)).map(|_| random.u8(..)).collect() };
    let text = |text: &str| text.as_bytes().to_vec();
    match random.u8(0..14) {
        0 => ("random bytes", bytes(random, 2000)),
        1 => {
            let whole = b"POST /path?query HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\nX: y\r\n\r\n12345";
            ("truncated", whole[..random.usize(1..whole.len())].to_vec())
        }
        2 => {
            let mut request = text("GET / HTTP/1.1\r\nHost: test\r\n");
            for n in 0..random.usize(300..600) {
                request.extend(format!("X-{n}: {n}\r\n").bytes());
            }
            ("hundreds of headers", [request, text("\r\n")].concat())
        }
        3 => {
            let mut request = text("GET / HTTP/1.1\r\nHost: test\r\nX: y\r\n\r\n");
            let at = random.usize(..request.len() - 4);
            request[at] = 0;
            ("a NUL", request)
        }
        4 => {
            let size = ["zz", "-1", "0x5", "ffffffffffffffffff", "5;\x00", "", " 5"][random.usize(..7)];
            let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
            ("a bad chunk size", text(&format!("{head}{size}\r\nhello\r\n0\r\n\r\n")))
        }
        5 => {
            let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
            ("a bad chunk end", text(&format!("{head}5\r\nhelloXX0\r\n\r\n")))
        }
        6 => {
            let length = ["-1", "+5", "5, 6", "five", "99999999999999999999999", "5 5"][random.usize(..6)];
            ("a bad length", text(&format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\nhello")))
        }
        7 => ("no host", text("GET / HTTP/1.1\r\n\r\n")),
        8 => ("two hosts", text("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")),
        9 => {
            let version = ["HTTP/9.9", "HTTP/1", "HTTQ/1.1", "http/1.1", "HTTP/1.1.1"][random.usize(..5)];
            ("a bad version", text(&format!("GET / {version}\r\nHost: test\r\n\r\n")))
        }
        10 => {
            let name = ["X Y", "X\x01", "", "X(", "X\x7f"][random.usize(..5)];
            ("a bad header name", text(&format!("GET / HTTP/1.1\r\nHost: test\r\n{name}: y\r\n\r\n")))
        }
        11 => ("a folded header", text("GET / HTTP/1.1\r\nHost: test\r\nX: a\r\n b\r\n\r\n")),
        12 => ("a bad coding", text("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, gzip\r\n\r\nx")),
        _ => {
            let mut request = text("GET / HTTP/1.1\r\nHost: test\r\nX: y\r\n\r\n");
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..request.len() - 4);
                request[at] = random.u8(128..);
            }
            // Most of these are allowed: bytes beyond ASCII in a header's value are.
            ("bytes beyond ASCII", request)
        }
    }
}

/// Those after which the other side may rightly wait for more.
const UNFINISHED: [&str; 5] = ["random bytes", "truncated", "a NUL", "a bad chunk size", "bytes beyond ASCII"];

/// What came back: the status of the first answer, or nothing if the connection was closed.
fn answer(evenkeel: &Evenkeel, what: &str, request: &[u8]) -> Option<u16> {
    let mut client = evenkeel.client();
    // The other side may have closed before all was sent.
    let _ = client.try_send(request);
    if UNFINISHED.contains(&what) {
        client.finish_if_open();
    }
    match client.try_read("GET") {
        Ok(response) => Some(response.status),
        Err(e) if e.kind() == ErrorKind::WouldBlock => {
            panic!("neither an answer nor a close for {what}: {:?}", String::from_utf8_lossy(request))
        }
        Err(_) => None,
    }
}

#[test]
fn ten_thousand_malformed_requests() {
    const THREADS: u64 = 8;
    let seed =
        std::env::var("EVENKEEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("EVENKEEL_SEED={seed}");
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&format!("access_log: off\n{}", pool(&[origin.address], "")));
    let rounds = |seed: u64, each: usize| {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let evenkeel = &evenkeel;
                scope.spawn(move || {
                    let mut random = Rng::with_seed(seed.wrapping_add(thread));
                    for _ in 0..each {
                        let (what, request) = malformed(&mut random);
                        let status = answer(evenkeel, what, &request);
                        let fine = match status {
                            Some(status) => {
                                (400..500).contains(&status)
                                    || status == 505
                                    || (what == "bytes beyond ASCII" && status == 200)
                            }
                            None => true,
                        };
                        assert!(fine, "{status:?} for {what}: {:?}", String::from_utf8_lossy(&request));
                    }
                });
            }
        });
    };
    rounds(seed, 250);
    let before = memory_kib(evenkeel.pid(), "VmRSS");
    rounds(seed.wrapping_add(THREADS), 1000);
    let after = memory_kib(evenkeel.pid(), "VmRSS");
    assert!(after < before + 32 * 1024, "{before} KiB grew to {after} KiB");
    assert!(!evenkeel.log().contains("panick"), "{}", evenkeel.log());
    assert_eq!(evenkeel.get("/").text(), "hello");
    wait_until("nothing is in flight", || evenkeel.backends()[0]["in_flight"] == 0);
}

#[test]
fn what_a_scanner_sends_is_no_error_of_ours() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    for request in ["GET / HT", "\x16\x03\x01\x02", "GET / HTTP/1.1\r\nX\x01: y\r\n\r\n", ""] {
        let mut client = evenkeel.client();
        client.send(request).finish();
        while !client.closed() {
            let _ = client.try_read("GET");
        }
    }
    assert_eq!(evenkeel.get("/").text(), "hello");
    assert_eq!(evenkeel.lines("ERROR"), [""; 0]);
}

#[test]
fn a_huge_header_is_refused_or_cut() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let before = memory_kib(evenkeel.pid(), "VmRSS");
    for _ in 0..20 {
        let mut client = evenkeel.client();
        let mut gone = client.try_send("GET / HTTP/1.1\r\nHost: test\r\nX: ").is_err();
        for _ in 0..64 {
            gone = gone || client.try_send([b'x'; 64 * 1024]).is_err();
        }
        let _ = client.try_send("\r\n\r\n");
        let status = client.try_read("GET").map(|response| response.status);
        assert!(gone || status.as_ref().map_or(true, |status| (400..500).contains(status)), "{status:?}");
    }
    let after = memory_kib(evenkeel.pid(), "VmRSS");
    assert!(after < before + 64 * 1024, "{before} KiB grew to {after} KiB");
    assert_eq!(evenkeel.get("/").text(), "hello");
}

#[test]
fn no_request_fails_while_a_backend_dies_and_returns_twice() {
    const THREADS: usize = 8;
    let total = if big() { 100_000 } else { 2_000 };
    let mut dying = Origin::saying("hello");
    let others = [(); 2].map(|()| Origin::saying("hello"));
    let addresses = [dying.address, others[0].address, others[1].address];
    let check = "health_check: { tcp: {}, interval: 100ms, timeout: 50ms, rise: 1, fall: 2 }";
    let evenkeel = Evenkeel::start(&format!("access_log: off\n{}", pool(&addresses, check)));
    let (sent, failed, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut client: Client = evenkeel.client();
                while !over.load(SeqCst) {
                    let answer = client.try_get("/");
                    if !answer.as_ref().is_ok_and(|response| response.status == 200) {
                        failed.fetch_add(1, SeqCst);
                        eprintln!("failed: {answer:?}");
                        client = evenkeel.client();
                    }
                    sent.fetch_add(1, SeqCst);
                }
            });
        }
        let step = total / 5;
        let reach = |n: usize| {
            // Without the limit of `wait_until`: the long version takes minutes.
            while sent.load(SeqCst) < n {
                thread::sleep(Duration::from_millis(2));
            }
        };
        for round in 0..2 {
            reach(step * (2 * round + 1));
            dying.stop();
            reach(step * (2 * round + 2));
            wait_until("it is taken out", || evenkeel.admitted() == 2);
            dying.restart();
            wait_until("it is back", || evenkeel.admitted() == 3);
        }
        reach(total);
        over.store(true, SeqCst);
    });
    assert_eq!(failed.load(SeqCst), 0, "of {}", sent.load(SeqCst));
    assert!(evenkeel.metric("evenkeel_retries_total{pool=\"web\"}") > 0.0);
    evenkeel.logged("became unhealthy", 2);
}
