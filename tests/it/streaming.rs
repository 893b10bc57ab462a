//! Responses that come bit by bit go out bit by bit: no event waits for the next.

use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Head, LIMIT, Origin, Response, Then};

const EVENTS: usize = 20;

/// What sends the header at once and each event when it is told to: in chunks, or up to the end of the connection.
fn events() -> (Origin, Sender<()>) {
    let (go, told) = channel();
    let told = Mutex::new(told);
    let origin = Origin::new(move |exchange| {
        let chunked = exchange.path() == "/chunked";
        let framing = if chunked { "Transfer-Encoding: chunked" } else { "Connection: close" };
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n\r\n"))?;
        for number in 0..EVENTS {
            told.lock().unwrap().recv_timeout(LIMIT).map_err(std::io::Error::other)?;
            let event = event(number);
            exchange.send(if chunked { format!("{:x}\r\n{event}\r\n", event.len()) } else { event })?;
        }
        exchange.send(if chunked { "0\r\n\r\n" } else { "" })?;
        Ok(Then::Close)
    });
    (origin, go)
}

fn event(number: usize) -> String {
    format!("id: {number}\ndata: {}\n\n", "x".repeat(number * 7))
}

/// Read so many bytes of a body.
fn body(client: &mut Client, head: &Head, length: usize) -> String {
    let mut body = String::new();
    while body.len() < length {
        if head.header("transfer-encoding").is_none() {
            body += &String::from_utf8(client.bytes(length - body.len())).unwrap();
            continue;
        }
        let mut line = String::new();
        std::io::BufRead::read_line(&mut client.wire, &mut line).unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        body += &String::from_utf8(client.bytes(size)).unwrap();
        client.bytes(2);
    }
    body
}

#[test]
fn each_event_comes_before_the_next_is_sent() {
    for path in ["/chunked", "/close"] {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let (origin, go) = events();
            let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
            let mut client = evenkeel.client();
            client.send(format!("GET {path} {version}\r\nHost: test\r\n\r\n"));
            let response = Response::read_head(&mut client.wire).unwrap();
            assert_eq!(response.header("transfer-encoding").is_some(), version == "HTTP/1.1", "{path} {version}");
            for number in 0..EVENTS {
                go.send(()).unwrap();
                assert_eq!(body(&mut client, &response.head, event(number).len()), event(number), "{path} {version}");
            }
            let mut rest = Vec::new();
            if version == "HTTP/1.0" {
                client.wire.read_to_end(&mut rest).unwrap();
                assert!(rest.is_empty());
            } else {
                assert_eq!(client.bytes(5), b"0\r\n\r\n");
            }
        }
    }
}

#[test]
fn each_event_comes_before_the_next_over_http2() {
    for path in ["/chunked", "/close"] {
        let (origin, go) = events();
        let h2c = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\n";
        let evenkeel = Evenkeel::start(&(h2c.to_owned() + &pool(&[origin.address], "")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let come = async {
            let stream = tokio::net::TcpStream::connect(evenkeel.http()).await.unwrap();
            let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = http::Request::get(format!("http://{}{path}", evenkeel.http())).body(()).unwrap();
            let response = client.send_request(request, true).unwrap().0.await.unwrap();
            let mut body = response.into_body();
            for number in 0..EVENTS {
                go.send(()).unwrap();
                let mut came = Vec::new();
                while came.len() < event(number).len() {
                    let data = body.data().await.unwrap().unwrap();
                    body.flow_control().release_capacity(data.len()).unwrap();
                    came.extend_from_slice(&data);
                }
                assert_eq!(String::from_utf8_lossy(&came), event(number), "{path}");
            }
            let end = body.data().await.map(Result::unwrap).unwrap_or_default();
            assert!(end.is_empty(), "{path}: {end:?}");
            connection.abort();
        };
        runtime.block_on(async { tokio::time::timeout(LIMIT, come).await }).unwrap();
    }
}

/// A pause in it is the stream's own: the request's time and the client's do not count, as long as the backend's does not.
#[test]
fn a_stream_may_last_longer_than_a_request_may_take() {
    let (origin, go) = events();
    let limits = "limits: { idle_timeout: 300ms, header_timeout: 300ms, body_timeout: 300ms }\n";
    let pools = pool(&[origin.address], "timeouts: { request: 2s, read: 2s }");
    let evenkeel = Evenkeel::start(&(limits.to_owned() + &pools));
    let mut client = evenkeel.client();
    client.send("GET /chunked HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = Response::read_head(&mut client.wire).unwrap();
    for number in 0..EVENTS {
        // The pauses are the test: together they are longer than a request may take, each is longer than the client's limits.
        std::thread::sleep(Duration::from_millis(if number < 7 { 350 } else { 0 }));
        go.send(()).unwrap();
        assert_eq!(body(&mut client, &response.head, event(number).len()), event(number));
    }
    assert_eq!(client.bytes(5), b"0\r\n\r\n");
}
