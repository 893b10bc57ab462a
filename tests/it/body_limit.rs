//! `body_limit` over sockets: by what a request says of its length, as it grows, and not in tunnels.

use std::net::SocketAddr;

use crate::support::evenkeel::{check_filter, pool};
use crate::support::http2::Http2Client;
use crate::support::{Evenkeel, Origin};

/// A kilobyte on /small, two elsewhere, and three for all in `limits`.
fn start(backend: SocketAddr) -> Evenkeel {
    let routes =
        "routes:\n  - { pool: web }\n  - { match: { path: /small }, pool: web, filters: [{ body_limit: 1kB }] }\n";
    let yaml = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\nlimits: { max_body_size: 3kB }\n";
    Evenkeel::start(&format!("{yaml}filters: [{{ body_limit: 2kB }}]\n{routes}{}", pool(&[backend], "")))
}

fn plain(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
}

fn chunked(path: &str, length: usize) -> String {
    let chunk = format!("{:x}\r\n{}\r\n", length / 2, "x".repeat(length / 2));
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n")
}

#[test]
fn the_strictest_limit_counts() {
    let origin = Origin::saying("in");
    let evenkeel = start(origin.address);
    for (path, length, status) in [
        ("/small", 1000, 200),
        ("/small", 1002, 413),
        ("/", 1002, 200),
        ("/", 2000, 200),
        ("/", 2002, 413),
        ("/", 4000, 413),
    ] {
        for request in [plain(path, length), chunked(path, length)] {
            let response = evenkeel.client().send(request).read();
            let reason = if status == 413 { "body_too_large" } else { "" };
            assert_eq!((response.status, response.reason()), (status, reason), "{path} {length}");
        }
        let two = Http2Client::connect(evenkeel.http());
        let answer = two.ask(two.request("POST", path, &[]), &"x".repeat(length));
        assert_eq!(answer.head.status.as_u16(), status, "{path} {length} in HTTP/2");
        assert_eq!(two.get("/").body, "in", "the connection goes on");
    }
}

#[test]
fn one_that_says_that_it_is_too_long_need_not_begin() {
    let origin = Origin::saying("in");
    let evenkeel = start(origin.address);
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2500\r\nExpect: 100-continue\r\n\r\n");
    let response = client.read();
    assert_eq!((response.status, response.interim.len()), (413, 0));
    assert_eq!(origin.count(), 0);
    // Whoever sends it all the same sees the answer.
    let mut client = evenkeel.client();
    let response = client.send(plain("/", 2500)).read();
    assert_eq!((response.status, response.header("connection")), (413, Some("close")));
    let two = Http2Client::connect(evenkeel.http());
    let announced = two.request("POST", "/", &[("content-length", "2500")]);
    assert_eq!(two.ask(announced, &"x".repeat(2500)).header("x-evenkeel-reason"), "body_too_large");
}

#[test]
fn a_call_of_grpc_is_told_in_its_own_words() {
    let origin = Origin::saying("in");
    let evenkeel = start(origin.address);
    let two = Http2Client::connect(evenkeel.http());
    for length in [&[][..], &[("content-length", "2500")]] {
        let headers = [&[("content-type", "application/grpc"), ("te", "trailers")][..], length].concat();
        let answer = two.ask(two.request("POST", "/a.B/C", &headers), &"x".repeat(2500));
        assert_eq!((answer.head.status.as_u16(), answer.header("grpc-status")), (200, "8"));
        assert_eq!(answer.header("grpc-message"), "body_too_large");
    }
}

#[test]
fn a_tunnel_has_no_body_and_a_wish_for_one_has() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for wire in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut socket = tokio_tungstenite::tungstenite::accept(wire).unwrap();
                while let Ok(message) = socket.read() {
                    let _ = socket.send(message);
                }
            });
        }
    });
    for limit in ["filters: [{ body_limit: 1kB }]\n", "limits: { max_body_size: 1kB }\n"] {
        let evenkeel = Evenkeel::start(&(limit.to_owned() + &pool(&[address], "")));
        let wire = std::net::TcpStream::connect(evenkeel.http()).unwrap();
        let (mut socket, _) =
            tokio_tungstenite::tungstenite::client(format!("ws://{}/", evenkeel.http()), wire).unwrap();
        for _ in 0..5 {
            let message = tokio_tungstenite::tungstenite::Message::from("x".repeat(900));
            socket.send(message.clone()).unwrap();
            assert_eq!(socket.read().unwrap(), message);
        }
    }

    let origin = Origin::saying("no tunnel");
    let evenkeel = start(origin.address);
    let asks =
        chunked("/", 2500).replace("POST", "GET").replace("Host", "Connection: upgrade\r\nUpgrade: websocket\r\nHost");
    let response = evenkeel.client().send(asks).read();
    assert_eq!((response.status, response.reason()), (413, "body_too_large"));
}

#[test]
fn its_mistakes_have_their_place() {
    for (filter, message) in [
        ("body_limit", "3:5: filters[0].body_limit: must be a size with its unit, like 64KiB or 1GiB"),
        ("body_limit: 0", "filters[0].body_limit: must be more than 0"),
        ("body_limit: { size: 1 }", "filters[0].body_limit: must be a size with its unit, like 64KiB or 1GiB"),
    ] {
        let said = check_filter(filter);
        assert!(said.contains(message), "{filter}: {said}");
    }
}
