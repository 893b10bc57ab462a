//! Upgraded connections: tunnels that HTTP's timeouts do not know.

use std::io::Read;
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
