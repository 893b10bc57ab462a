//! HTTP/2 towards backends, by prior knowledge, for clients of either version.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http::Version;

use crate::support::evenkeel::pool;
use crate::support::http2::{Call, Http2Client, Http2Origin};
use crate::support::http2_pool::{echo, http2, start};
use crate::support::{Evenkeel, Head, Origin, wait_until};

#[test]
fn a_client_of_http1_reaches_a_backend_of_http2() {
    let origin = echo();
    let evenkeel = start(&[origin.address], "");
    let mut client = evenkeel.client();
    assert_eq!(client.get("/a?b").text(), "GET /a 0");
    let head = origin.last();
    assert_eq!((head.version, head.uri.query()), (Version::HTTP_2, Some("b")));
    assert_eq!(head.uri.authority().unwrap().as_str(), "test");
    assert!(!head.headers.contains_key("host") && !head.headers.contains_key("connection"), "{:?}", head.headers);
    assert_eq!(head.headers["x-forwarded-host"], "test");

    client.send("POST /c HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nCookie: a=1; b=2\r\n\r\nhello");
    assert_eq!(client.read().text(), "POST /c 5");
    assert_eq!(origin.last().headers["cookie"], "a=1; b=2");
    client.send("POST /d HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.read().text(), "POST /d 5");
    assert!(!origin.last().headers.contains_key("transfer-encoding"));
    let large = "x".repeat(300_000);
    client.send(format!("PUT /e HTTP/1.1\r\nHost: test\r\nContent-Length: 300000\r\n\r\n{large}"));
    assert_eq!(client.read().text(), "PUT /e 300000");
    client.send("HEAD /f HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_to("HEAD").status, 200);
    assert_eq!(client.get("/g").text(), "GET /g 0", "the connection goes on");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_client_of_http10_gets_an_answer_that_ends_with_its_connection() {
    let origin = echo();
    let evenkeel = start(&[origin.address], "");
    for host in ["Host: test\r\n", ""] {
        let mut client = evenkeel.client();
        client.send(format!("GET /a HTTP/1.0\r\n{host}\r\n"));
        let response = client.read();
        assert_eq!((response.status, response.text().as_str()), (200, "GET /a 0"), "{host}");
        assert!(response.head.header("transfer-encoding").is_none());
    }
    assert_eq!(origin.last().uri.authority().unwrap().as_str(), origin.address.to_string());
}

#[test]
fn a_client_of_http2_reaches_a_backend_of_http2() {
    let origin = Http2Origin::new(|mut call: Call| async move {
        let (body, _) = call.read().await;
        let text = format!("{} {}", call.head.uri.path(), body.len());
        call.say(&text, &[("x-sum", "7")]);
    });
    let evenkeel = start(&[origin.address], "");
    let client = http2(&evenkeel);
    let answer =
        client.ask(client.request("POST", "/a", &[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")]), "hello");
    assert_eq!((answer.body.as_str(), answer.trailer("x-sum")), ("/a 5", "7"));
    let head = origin.last();
    assert_eq!(head.uri.authority().unwrap().as_str(), evenkeel.listeners[1].to_string());
    assert_eq!(head.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(head.headers["te"], "trailers");
}

#[test]
fn statuses_without_a_body_have_none() {
    let origin = Http2Origin::new(|mut call: Call| async move {
        let status: u16 = call.head.uri.path()[1..].parse().unwrap();
        let response = http::Response::builder().status(status).body(()).unwrap();
        call.answer.send_response(response, true).unwrap();
    });
    let evenkeel = start(&[origin.address], "");
    let (mut one, two) = (evenkeel.client(), http2(&evenkeel));
    for status in [204, 304, 200] {
        let response = one.get(&format!("/{status}"));
        assert_eq!((response.status, response.text().as_str()), (status, ""));
        let answer = two.get(&format!("/{status}"));
        assert_eq!((answer.head.status.as_u16(), answer.body.as_str()), (status, ""));
    }
}

#[test]
fn who_expects_to_be_told_to_go_on_is_told() {
    let origin = echo();
    let evenkeel = start(&[origin.address], "");
    let mut client = evenkeel.client();
    client.send("POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(Head::read(&mut client.wire).unwrap().unwrap().word(1), "100");
    client.send("hello");
    assert_eq!(client.read().text(), "POST /a 5");
    assert!(!origin.last().headers.contains_key("expect"));
    assert_eq!(client.get("/b").text(), "GET /b 0");
}

#[test]
fn a_backend_of_http1_does_not_wait_for_what_a_client_of_http2_cannot_be_told() {
    let origin = Origin::new(|exchange| {
        let length = exchange.body()?.len();
        exchange.ok(&length.to_string())
    });
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: '127.0.0.1:0', h2c: true }}]\n{}",
        pool(&[origin.address], "")
    ));
    let client = Http2Client::connect(evenkeel.http());
    let request = client.request("POST", "/", &[("expect", "100-continue"), ("cookie", "a=1"), ("cookie", "b=2")]);
    assert_eq!(client.ask(request, "hello").body, "5");
    assert_eq!(origin.last().head.all("expect"), [""; 0]);
    assert_eq!(origin.last().head.all("cookie"), ["a=1; b=2"]);
}

#[test]
fn many_requests_share_a_connection() {
    let now = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&now);
    let origin = Http2Origin::new(move |mut call: Call| {
        let now = Arc::clone(&count);
        async move {
            if call.head.uri.path() == "/wait" {
                now.fetch_add(1, SeqCst);
                while now.load(SeqCst) < 50 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            call.say(&call.connection.to_string(), &[]);
        }
    });
    let evenkeel = start(&[origin.address], "");
    let client = http2(&evenkeel);
    assert_eq!(client.get("/").body, "0");
    // All of them are there at the same time, or none would be answered. They come one after the other: pingora takes a connection
    // out of its pool for the moment in which it adds a stream, and who comes then makes another.
    std::thread::scope(|scope| {
        for arrived in 1..=50 {
            scope.spawn(|| assert_eq!(client.get("/wait").body, "0"));
            wait_until("it is at the backend", || now.load(SeqCst) == arrived);
        }
    });
    assert_eq!(origin.connections(), 1);
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
}

#[test]
fn max_streams_bounds_how_many_share_one() {
    let now = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&now);
    let origin = Http2Origin::new(move |mut call: Call| {
        let now = Arc::clone(&count);
        async move {
            now.fetch_add(1, SeqCst);
            while now.load(SeqCst) < 12 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            call.say(&call.connection.to_string(), &[]);
        }
    });
    let evenkeel = start(&[origin.address], "http2: { max_streams: 3 }");
    let client = http2(&evenkeel);
    let requests = (0..12).map(|_| client.request("GET", "/", &[])).collect();
    let mut each = [0; 12];
    client.all(requests, "").into_iter().for_each(|answer| each[answer.unwrap().body.parse::<usize>().unwrap()] += 1);
    assert!(each.iter().all(|streams| *streams <= 3), "{each:?}");
}

#[test]
fn there_is_no_websocket_over_http2() {
    let origin = echo();
    let evenkeel = start(&[origin.address], "");
    let mut client = evenkeel.client();
    client.send("GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    let response = client.read();
    assert_eq!((response.status, response.head.header("x-evenkeel-reason")), (501, Some("no_upgrade")));
    assert!(origin.seen().is_empty());
}

#[test]
fn health_checks_speak_what_the_pool_speaks() {
    let origin = echo();
    let evenkeel = start(&[origin.address], "health_check: { http: { path: /up } }");
    assert_eq!(evenkeel.backends()[0]["state"], "healthy", "{}", evenkeel.backends()[0]);
    assert_eq!(origin.last().version, Version::HTTP_2);
}
