//! grpc-web in, gRPC out: requests as a browser's client sends them, and a real server.

use crate::support::evenkeel::pool;
use crate::support::grpc::{Peer, python};
use crate::support::http2::{Call, Http2Client, Http2Origin};
use crate::support::{Evenkeel, Response};

/// A message as gRPC frames it.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// The frames of a body: what they are marked with, and what they hold.
fn frames(mut body: &[u8]) -> Vec<(u8, String)> {
    let mut found = Vec::new();
    while let Some((head, rest)) = body.split_at_checked(5) {
        let length = u32::from_be_bytes(head[1..5].try_into().unwrap()) as usize;
        found.push((head[0], String::from_utf8_lossy(&rest[..length]).into_owned()));
        body = &rest[length..];
    }
    assert_eq!(body, b"");
    found
}

fn ask(evenkeel: &Evenkeel, method: &str, message: &[u8]) -> Response {
    let body = framed(message);
    let mut client = evenkeel.client();
    client.send(format!(
        "POST /test.Echo/{method} HTTP/1.1\r\nHost: test\r\nContent-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    client.send(body);
    client.read()
}

fn marked(frame: &str) -> (u8, String) {
    (0, frame.to_owned())
}

#[test]
fn a_browser_reaches_a_grpc_server() {
    let Some(python) = python() else { return };
    let peer = Peer::start(&python, "grpc_echo.py", "127.0.0.1:0", &[]);
    let evenkeel = Evenkeel::start(&pool(&[peer.address], "protocol: h2\ngrpc_web: true"));
    let unary = ask(&evenkeel, "Unary", b"hello");
    assert_eq!((unary.status, unary.header("content-type")), (200, Some("application/grpc-web")));
    let said = frames(&unary.body);
    assert_eq!((said.len(), &said[0]), (2, &marked("hello")), "{said:?}");
    assert!(said[1].0 == 0x80 && said[1].1.contains("grpc-status:0\r\n"), "{said:?}");
    let streamed = frames(&ask(&evenkeel, "Server", b"3").body);
    assert_eq!(streamed[..3], ["0", "1", "2"].map(marked));
    let late = frames(&ask(&evenkeel, "Late", b"8").body);
    assert!(late[0] == marked("one") && late[1].1.contains("grpc-status:8\r\n"), "{late:?}");
    // A call that ends at once says so in the header.
    let failed = ask(&evenkeel, "Fail", b"5");
    assert_eq!((failed.status, failed.header("grpc-status"), failed.body.len()), (200, Some("5"), 0));
    // In any order: a line is written a moment after its answer.
    let lines = evenkeel.requests(4);
    let mut logged: Vec<_> =
        lines.iter().map(|line| (line["path"].as_str().unwrap(), line["grpc_status"].as_u64().unwrap())).collect();
    logged.sort_unstable();
    let wanted = [("/test.Echo/Fail", 5), ("/test.Echo/Late", 8), ("/test.Echo/Server", 0), ("/test.Echo/Unary", 0)];
    assert_eq!(logged, wanted);
}

#[test]
fn our_failures_reach_it_too() {
    let gone = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let evenkeel = Evenkeel::start(&pool(&[gone], "protocol: h2\ngrpc_web: true"));
    let failed = ask(&evenkeel, "Unary", b"hello");
    assert_eq!((failed.status, failed.header("grpc-status"), failed.body.len()), (200, Some("14"), 0));
    assert_eq!(failed.header("content-type"), Some("application/grpc-web+proto"));
}

#[test]
fn only_where_it_is_asked_for_and_for_nothing_else() {
    let origin = || {
        Http2Origin::new(|mut call: Call| async move {
            let kind = call.head.headers.get("content-type").map_or("none", |kind| kind.to_str().unwrap()).to_owned();
            call.say(&kind, &[("x-end", "1")]);
        })
    };
    let (on, off) = (origin(), origin());
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: '127.0.0.1:0', h2c: true }}]\npools:\n  on: {{ backends: ['{}'], protocol: h2, grpc_web: true, health_check: off }}\n  off: {{ backends: ['{}'], protocol: h2, health_check: off }}\nroutes:\n  - {{ match: {{ path: /off }}, pool: off }}\n  - {{ pool: on }}\n",
        on.address, off.address
    ));
    let client = Http2Client::connect(evenkeel.http());
    for (path, kind, seen) in [
        ("/on", "application/grpc-web", "application/grpc"),
        ("/off", "application/grpc-web", "application/grpc-web"),
        ("/on", "application/grpc", "application/grpc"),
        ("/on", "text/plain", "text/plain"),
    ] {
        let answer = client.ask(client.request("POST", path, &[("content-type", kind)]), "");
        assert_eq!((answer.body.as_str(), answer.trailer("x-end")), (seen, "1"), "{path} {kind}");
    }
}
