//! No request hangs for ever: every timeout, and what it is called.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::errors::{agree, before, logged};
use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, Then, wait_until};

#[test]
fn backend_timeout() {
    let origin = Origin::new(|exchange| exchange.hang());
    let evenkeel = before(origin.address, "timeouts: { read: 300ms }");
    let began = Instant::now();
    agree(&evenkeel, &evenkeel.get("/"), 504, "backend_timeout");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn backend_timeout_within_the_body_is_a_cut() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
        exchange.hang()
    });
    let evenkeel = before(origin.address, "timeouts: { read: 300ms }");
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.try_read("GET").is_err());
    logged(&evenkeel, 200, "backend_timeout");
}

/// Pingora reads a header without a bound on the whole, and no hook runs meanwhile: the client's side ends it.
#[test]
fn a_header_that_drips_ends_with_the_request_timeout() {
    let origin = Origin::new(|exchange| {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Slow: very\r\n\r\n".iter().cycle() {
            exchange.send([*byte])?;
            exchange.pause(Duration::from_millis(50));
        }
        Ok(Then::Keep)
    });
    let evenkeel = before(origin.address, "timeouts: { request: 600ms }");
    let began = Instant::now();
    agree(&evenkeel, &evenkeel.get("/"), 504, "request_timeout");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    assert_eq!(evenkeel.backends()[0]["failed"], 1);
}

/// What a body takes is not taken from the backend's time.
#[test]
fn the_request_timeout_begins_anew_when_a_slow_body_has_come() {
    let origin = Origin::new(|exchange| {
        exchange.pause(Duration::from_millis(300));
        exchange.answer("200 OK", "hello")
    });
    let evenkeel = before(origin.address, "timeouts: { request: 600ms, read: 5s }");
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n");
    for byte in b"0123456789" {
        std::thread::sleep(Duration::from_millis(80));
        client.send([*byte]);
    }
    assert_eq!(client.read().text(), "hello");
}

#[test]
fn request_timeout() {
    let origin = Origin::new(|exchange| exchange.hang());
    let evenkeel = before(origin.address, "timeouts: { request: 300ms }");
    let began = Instant::now();
    let response = evenkeel.get("/");
    let took = began.elapsed();
    agree(&evenkeel, &response, 504, "request_timeout");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn connect_timeout() {
    // Nobody accepts here: when the backlog is full, further connections hang.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    let full = loop {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => held.push(stream),
            Err(_) => break true,
        }
        if held.len() > 5000 {
            break false;
        }
    };
    if !full {
        eprintln!("skipped: this system's backlog cannot be filled");
        return;
    }
    let evenkeel = before(address, "timeouts: { connect: 300ms }");
    agree(&evenkeel, &evenkeel.get("/"), 504, "connect_timeout");
    drop(held);
}

#[test]
fn client_timeout_when_a_body_stalls() {
    let origin = Origin::saying("hello");
    let limits = "limits: { body_timeout: 300ms }\n";
    let evenkeel = Evenkeel::start(&(limits.to_owned() + &pool(&[origin.address], "")));
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    agree(&evenkeel, &client.read(), 408, "client_timeout");
    assert!(client.closed());
}
