//! How long connections live, on either side.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Origin, Then, wait_until};

fn with(limits: &str, origin: &Origin) -> Evenkeel {
    Evenkeel::start(&format!("limits: {{ {limits} }}\n{}", pool(&[origin.address], "")))
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = Origin::saying("hello");
    let evenkeel = with("idle_timeout: 1s", &origin);
    let mut client = evenkeel.client();
    assert_eq!(client.get("/").text(), "hello");
    let began = Instant::now();
    assert!(client.closed());
    assert!((800..4000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

/// Whether a header that stops in its middle ends the connection, with or without an answer.
fn given_up(client: &mut Client) -> bool {
    client.send("GET / HTTP/1.1\r\nHost: te");
    match client.try_read("GET") {
        Ok(response) => response.status == 408,
        Err(e) => e.kind() != ErrorKind::WouldBlock,
    }
}

#[test]
fn a_header_that_pauses_on_a_kept_connection_is_given_up() {
    let origin = Origin::saying("hello");
    let evenkeel = with("idle_timeout: 1s", &origin);
    let mut client = evenkeel.client();
    assert_eq!(client.get("/").text(), "hello");
    assert!(given_up(&mut client));
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_header_that_pauses_on_a_new_connection_is_given_up() {
    let origin = Origin::saying("hello");
    let evenkeel = with("idle_timeout: 1s", &origin);
    assert!(given_up(&mut evenkeel.client()));
}

#[test]
fn a_new_connection_that_says_nothing_is_closed() {
    let origin = Origin::saying("hello");
    let evenkeel = with("idle_timeout: 1s", &origin);
    assert!(evenkeel.client().closed());
}

#[test]
fn a_client_may_ask_for_a_close() {
    let origin = Origin::saying("hello");
    let evenkeel = with("", &origin);
    let mut client = evenkeel.client();
    let response = client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").read();
    assert_eq!(response.text(), "hello");
    assert!(client.closed());
    // That was for the client's hop alone.
    assert_eq!(evenkeel.get("/").text(), "hello");
    wait_until("both requests were seen", || origin.count() == 2);
    assert_ne!(origin.last().head.header("connection").map(str::to_lowercase).as_deref(), Some("close"));
}

#[test]
fn a_backend_that_closes_does_not_close_the_clients_connection() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?;
        Ok(Then::Close)
    });
    let evenkeel = with("", &origin);
    let mut client = evenkeel.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!((origin.count(), origin.connections()), (10, 10));
}

#[test]
fn an_unused_backend_connection_is_closed_in_time() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], "timeouts: { idle: 300ms }"));
    let mut client = evenkeel.client();
    assert_eq!(client.get("/").text(), "hello");
    wait_until("the connection is closed", || origin.open() == 0);
    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(origin.connections(), 2);
    assert_eq!(evenkeel.metric("evenkeel_retries_total{pool=\"web\"}"), 0.0);
}

#[test]
fn a_client_that_stops_reading_is_given_up() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let mut chunk = b"10000\r\n".to_vec();
        chunk.extend([b'x'; 0x10000]);
        chunk.extend(b"\r\n");
        loop {
            exchange.send(&chunk)?;
        }
    });
    let evenkeel = with("write_timeout: 500ms", &origin);
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let began = Instant::now();
    let line = &evenkeel.requests(1)[0];
    assert_eq!(line["reason"], "client_gone", "{line}");
    assert!(began.elapsed() < Duration::from_secs(8));
    wait_until("the backend is let go", || evenkeel.backends()[0]["in_flight"] == 0);
    drop(client);
}
