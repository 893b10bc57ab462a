//! Upgraded connections: tunnels that HTTP's timeouts do not know.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, Then, wait_until};

/// A backend that speaks the WebSocket handshake and then echoes bytes.
pub fn echo() -> Origin {
    Origin::new(|exchange| {
        if exchange.head.header("upgrade") != Some("websocket") {
            return exchange.answer("426 Upgrade Required", "");
        }
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTK9kYGzzhZRbK+xOo=\r\n\r\n",
        )?;
        let mut buffer = [0; 4096];
        loop {
            match exchange.wire.read(&mut buffer)? {
                0 => return Ok(Then::Close),
                n => exchange.send(&buffer[..n])?,
            }
        }
    })
}

pub const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn a_websocket_echoes_and_outlives_every_other_timeout() {
    let origin = echo();
    let timeouts = "timeouts: { connect: 300ms, read: 300ms, write: 300ms, request: 300ms, tunnel: 60s }";
    let limits = "limits: { idle_timeout: 1s, body_timeout: 300ms, write_timeout: 300ms }\n";
    let evenkeel = Evenkeel::start(&(limits.to_owned() + &pool(&[origin.address], timeouts)));
    let mut client = evenkeel.client();
    let response = client.send(UPGRADE).read();
    assert_eq!(response.status, 101, "{}", response.text());
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTK9kYGzzhZRbK+xOo="));
    for round in 0..3 {
        let frame = vec![0x80 + round; 3000];
        client.send(&frame);
        assert_eq!(client.bytes(3000), frame);
        // Silence is the test: it is longer than every timeout above but the tunnel's.
        std::thread::sleep(Duration::from_millis(if round == 0 { 1300 } else { 100 }));
    }
    client.finish();
    assert!(client.closed());
    wait_until("the tunnel is not in flight any more", || evenkeel.backends()[0]["in_flight"] == 0);
    let line = evenkeel.requests(1).remove(0);
    assert_eq!((&line["status"], line["reason"].is_null()), (&101.into(), true), "{line}");
}

#[test]
fn a_silent_tunnel_ends_with_its_own_timeout() {
    let origin = echo();
    let evenkeel = Evenkeel::start(&pool(&[origin.address], "timeouts: { tunnel: 300ms }"));
    let mut client = evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    let mut rest = Vec::new();
    client.wire.read_to_end(&mut rest).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[test]
fn a_tunnel_that_the_backend_cuts_is_not_made_again() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        exchange.wire.read_exact(&mut [0; 5])?;
        Ok(Then::Close)
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    client.send("hello");
    let mut rest = Vec::new();
    // A reset would be as good an end.
    let _ = client.wire.read_to_end(&mut rest);
    assert_eq!(String::from_utf8_lossy(&rest), "");
    assert_eq!(evenkeel.requests(1)[0]["status"], 101);
    assert_eq!(origin.count(), 1);
}

/// A backend that answers before it is asked, so that its answer is always there when the proxy first looks.
fn hasty() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for wire in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || agree_and_echo(wire));
        }
    });
    address
}

fn agree_and_echo(mut wire: TcpStream) -> std::io::Result<()> {
    wire.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
    let (mut buffer, mut asked) = ([0; 4096], Vec::new());
    let end = loop {
        let n = wire.read(&mut buffer)?;
        asked.extend_from_slice(&buffer[..n]);
        if let Some(end) = asked.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    // The client may have been quick, too.
    wire.write_all(&asked[end..])?;
    loop {
        match wire.read(&mut buffer)? {
            0 => return Ok(()),
            n => wire.write_all(&buffer[..n])?,
        }
    }
}

/// Pingora took the end of the request, told late, for the end of the tunnel.
#[test]
fn a_backend_that_is_quick_to_agree_gets_its_tunnel() {
    let evenkeel = Evenkeel::start(&pool(&[hasty()], ""));
    for round in 0..40 {
        let mut client = evenkeel.client();
        assert_eq!(client.send(UPGRADE).read().status, 101);
        client.send([round; 100]);
        assert_eq!(client.bytes(100), [round; 100], "round {round}");
    }
}

#[test]
fn a_refused_upgrade_is_a_request_like_others() {
    let origin = Origin::new(|exchange| match exchange.path() {
        "/ws" => exchange.answer("426 Upgrade Required", "no"),
        _ => exchange.ok("hello"),
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    for _ in 0..3 {
        let response = client.send(UPGRADE).read();
        assert_eq!((response.status, response.text().as_str()), (426, "no"));
        assert_eq!(response.header("connection"), Some("keep-alive"));
        let head = origin.last().head;
        assert_eq!((head.header("content-length"), head.header("transfer-encoding")), (Some("0"), None));
        assert_eq!(client.get("/").text(), "hello");
    }
    assert!(origin.connections() <= 2, "{} connections", origin.connections());
    let lines = evenkeel.requests(6);
    assert!(lines.iter().all(|line| line["bytes_received"] == 0 && line["reason"].is_null()), "{lines:?}");
}

#[test]
fn a_client_that_leaves_before_the_answer_is_gone() {
    let origin = Origin::new(|exchange| exchange.hang());
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    client.send(UPGRADE);
    wait_until("the backend is asked", || origin.count() == 1);
    drop(client);
    let line = evenkeel.requests(1).remove(0);
    assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_gone".into()));
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    let backend = &evenkeel.backends()[0];
    assert_eq!((&backend["failed"], &backend["cancelled"]), (&0.into(), &1.into()));
}

#[test]
fn a_client_that_does_not_wait_for_the_answer_is_heard_when_there_is_a_tunnel() {
    let origin = echo();
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    client.send([UPGRADE.as_bytes(), b"frame"].concat());
    assert_eq!(client.read().status, 101);
    assert_eq!(client.bytes(5), b"frame");
}

/// Pingora has one timeout for the answer and for the tunnel after it.
#[test]
fn an_answer_that_does_not_come_is_not_waited_for_as_long_as_a_tunnel() {
    let origin = Origin::new(|exchange| exchange.hang());
    let evenkeel = Evenkeel::start(&pool(&[origin.address], "timeouts: { request: 300ms, tunnel: 1h }"));
    let response = evenkeel.client().send(UPGRADE).read();
    assert_eq!((response.status, response.reason()), (504, "request_timeout"));
}

#[test]
fn another_backend_may_agree() {
    let mut closed = Origin::saying("closed");
    closed.stop();
    let busy = Origin::new(|exchange| exchange.answer("503 Service Unavailable", "no"));
    let good = echo();
    let evenkeel = Evenkeel::start(&pool(&[closed.address, busy.address, good.address], "retry: { budget: off }"));
    for round in 0..6 {
        let mut client = evenkeel.client();
        assert_eq!(client.send(UPGRADE).read().status, 101);
        client.send([round; 10]);
        assert_eq!(client.bytes(10), [round; 10]);
    }
}
