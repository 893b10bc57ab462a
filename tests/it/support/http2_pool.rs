//! A pool that is asked in HTTP/2.

use std::net::SocketAddr;

use super::Evenkeel;
use super::evenkeel::pool;
use super::http2::{Call, Http2Client, Http2Origin};

/// Two listeners, the second for HTTP/2, in front of one pool that is asked in HTTP/2.
pub fn start(backends: &[SocketAddr], more: &str) -> Evenkeel {
    let listeners = "listeners: [{ address: 127.0.0.1:0 }, { address: '127.0.0.1:0', h2c: true }]\n";
    Evenkeel::start(&format!("{listeners}{}", pool(backends, &format!("protocol: h2\n{more}"))))
}

pub fn http2(evenkeel: &Evenkeel) -> Http2Client {
    Http2Client::connect(evenkeel.listeners[1])
}

/// Says the method, the path and the length of the body.
pub fn echo() -> Http2Origin {
    Http2Origin::new(|mut call: Call| async move {
        let (body, _) = call.read().await;
        let text = format!("{} {} {}", call.head.method, call.head.uri.path(), body.len());
        call.say(if call.head.method == "HEAD" { "" } else { &text }, &[]);
    })
}
