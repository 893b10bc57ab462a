//! No request hangs for ever: every timeout, and what it is called.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::errors::{agree, before, logged};
use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, Then};

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

/// Known limit: pingora reads a header without a bound on the whole, and no hook runs meanwhile. Each pause counts alone.
#[test]
fn a_header_that_drips_outlives_the_request_timeout() {
    let origin = Origin::new(|exchange| {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Slow: very\r\n\r\n" {
            exchange.send([*byte])?;
            exchange.pause(Duration::from_millis(50));
        }
        Ok(Then::Keep)
    });
    let evenkeel = before(origin.address, "timeouts: { request: 600ms }");
    assert_eq!(evenkeel.get("/").status, 200);
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
