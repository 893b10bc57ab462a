//! HTTP/2 towards backends, by prior knowledge, for clients of either version.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use http::Version;

use crate::support::evenkeel::pool;
use crate::support::http2::{Call, Http2Client, Http2Origin};
use crate::support::{Evenkeel, Head, Origin, wait_until};

/// Two listeners, the second for HTTP/2, in front of one pool that is asked in HTTP/2.
fn start(backends: &[SocketAddr], more: &str) -> Evenkeel {
    let listeners = "listeners: [{ address: 127.0.0.1:0 }, { address: '127.0.0.1:0', h2c: true }]\n";
    Evenkeel::start(&format!("{listeners}{}", pool(backends, &format!("protocol: h2\n{more}"))))
}

fn http2(evenkeel: &Evenkeel) -> Http2Client {
    Http2Client::connect(evenkeel.listeners[1])
}

/// Says the method, the path and the length of the body.
fn echo() -> Http2Origin {
    Http2Origin::new(|mut call: Call| async move {
        let (body, _) = call.read().await;
        let text = format!("{} {} {}", call.head.method, call.head.uri.path(), body.len());
        call.say(if call.head.method == "HEAD" { "" } else { &text }, &[]);
    })
}

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
    // All of them are there at the same time, or none would be answered.
    let requests = (0..50).map(|_| client.request("GET", "/wait", &[])).collect();
    assert!(client.all(requests, "").into_iter().all(|answer| answer.unwrap().head.status == 200));
    // Pingora takes a connection out of its pool for the moment in which it adds a stream; who comes then makes another.
    assert!(origin.connections() <= 10, "{} connections for 50 requests at once", origin.connections());
    assert_eq!(evenkeel.in_flight(), 0);
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

/// Refuses the first so many requests, and answers the others.
fn refusing(first: usize) -> Http2Origin {
    let left = AtomicUsize::new(first);
    Http2Origin::new(move |mut call: Call| {
        let refuse = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        async move {
            if refuse {
                call.answer.send_reset(h2::Reason::REFUSED_STREAM);
                return;
            }
            let (body, _) = call.read().await;
            call.say(&format!("{} {}", call.head.method, body.len()), &[]);
        }
    })
}

#[test]
fn a_refused_request_goes_to_another_backend_whatever_its_method() {
    let (refusing, good) = (refusing(usize::MAX), echo());
    let evenkeel = start(&[refusing.address, good.address], "");
    let (mut one, two) = (evenkeel.client(), http2(&evenkeel));
    for _ in 0..4 {
        one.send("POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(one.read().text(), "POST /a 5");
        assert_eq!(two.ask(two.request("POST", "/b", &[]), "hello").body, "POST /b 5");
    }
    assert!(!refusing.seen().is_empty());
    assert_eq!(good.seen().len(), 8);
    let log = evenkeel.requests(8);
    assert!(log.iter().any(|line| line["attempts"].as_array().unwrap().len() == 2), "{log:?}");
}

#[test]
fn without_another_backend_a_refusal_is_an_honest_failure() {
    let refusing = refusing(usize::MAX);
    let evenkeel = start(&[refusing.address], "");
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.head.header("x-evenkeel-reason")), (502, Some("backend_closed")));
}

/// Speaks as much HTTP/2 as to say GOAWAY when a request has come: that it has looked at none.
fn going_away() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, count) = (stream.unwrap(), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut preface = [0; 24];
                stream.read_exact(&mut preface).unwrap();
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
                loop {
                    let mut frame = [0; 9];
                    stream.read_exact(&mut frame).unwrap();
                    let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
                    stream.read_exact(&mut vec![0; length as usize]).unwrap();
                    if frame[3] == 1 {
                        break;
                    }
                }
                count.fetch_add(1, SeqCst);
                stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
            });
        }
    });
    (address, asked)
}

#[test]
fn a_connection_that_goes_away_costs_no_request() {
    let ((leaving, asked), good) = (going_away(), echo());
    let evenkeel = start(&[leaving, good.address], "");
    let (mut one, two) = (evenkeel.client(), http2(&evenkeel));
    for _ in 0..4 {
        one.send("POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(one.read().text(), "POST /a 5");
        assert_eq!(two.ask(two.request("POST", "/b", &[]), "hello").body, "POST /b 5");
    }
    assert!(asked.load(SeqCst) > 0);
    assert_eq!(good.seen().len(), 8);
}

#[test]
fn a_reset_stream_is_sent_again_only_where_that_is_harmless() {
    let (broken, good) =
        (Http2Origin::new(|mut call: Call| async move { call.answer.send_reset(h2::Reason::INTERNAL_ERROR) }), echo());
    let evenkeel = start(&[broken.address, good.address], "");
    let client = http2(&evenkeel);
    let post = || client.ask(client.request("POST", "/b", &[]), "hello");
    let answers = [post(), post(), post(), post()];
    let said: Vec<_> =
        answers.iter().map(|answer| (answer.head.status.as_u16(), answer.header("x-evenkeel-reason"))).collect();
    assert_eq!(said.iter().filter(|said| **said == (200, "")).count(), 2, "{said:?}");
    assert_eq!(said.iter().filter(|said| **said == (502, "backend_closed")).count(), 2, "{said:?}");
    for _ in 0..3 {
        assert_eq!(client.get("/a").body, "GET /a 0");
    }
}

#[test]
fn a_silent_stream_ends_in_time() {
    let origin = Http2Origin::new(|call: Call| async move {
        let _call = call;
        std::future::pending::<()>().await;
    });
    let evenkeel = start(&[origin.address], "timeouts: { read: 300ms, request: 10s }\nretry: off");
    let began = Instant::now();
    let answer = http2(&evenkeel).get("/");
    assert_eq!((answer.head.status.as_u16(), answer.header("x-evenkeel-reason")), (504, "backend_timeout"));
    assert!(began.elapsed() < Duration::from_secs(5));
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
}

#[test]
fn a_request_has_its_deadline() {
    let origin = Http2Origin::new(|call: Call| async move {
        let _call = call;
        std::future::pending::<()>().await;
    });
    let evenkeel = start(&[origin.address], "timeouts: { request: 300ms }");
    let answer = http2(&evenkeel).get("/");
    assert_eq!((answer.head.status.as_u16(), answer.header("x-evenkeel-reason")), (504, "request_timeout"));
}

#[test]
fn max_in_flight_holds() {
    let origin = Http2Origin::new(|mut call: Call| async move {
        if call.head.uri.path() == "/wait" {
            std::future::pending::<()>().await;
        }
        call.say("ok", &[]);
    });
    let evenkeel = start(&[origin.address], "max_in_flight: 1");
    let (waiting, client) = (http2(&evenkeel), http2(&evenkeel));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let request = waiting.request("GET", "/wait", &[("te", "trailers")]);
            // Ends with the test: the backend never answers.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waiting.all(vec![request], "")));
        });
        wait_until("one is in flight", || evenkeel.in_flight() == 1);
        let answer = client.get("/");
        assert_eq!((answer.head.status.as_u16(), answer.header("x-evenkeel-reason")), (503, "pool_full"));
        evenkeel.signal("KILL");
    });
}

#[test]
fn a_client_that_leaves_frees_its_stream() {
    let origin = Http2Origin::new(|mut call: Call| async move {
        let _ = std::future::poll_fn(|context| call.answer.poll_reset(context)).await;
    });
    let evenkeel = start(&[origin.address], "");
    let mut client = evenkeel.client();
    client.send("GET /a HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_until("one is in flight", || evenkeel.in_flight() == 1);
    drop(client);
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    assert_eq!(evenkeel.requests(1)[0]["reason"], "client_gone");
}

#[test]
fn a_backend_of_http1_is_not_asked_in_http2() {
    let origin = Origin::saying("hello");
    let evenkeel = start(&[origin.address], "");
    let response = evenkeel.get("/");
    assert_eq!(response.status, 502, "{:?}", response.head);
    let reason = response.head.header("x-evenkeel-reason").unwrap().to_owned();
    assert!(["backend_protocol", "backend_closed", "connect_failed"].contains(&reason.as_str()), "{reason}");
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
fn a_dead_connection_is_noticed_by_its_pings() {
    // Takes the preface and nothing else: no acknowledgement of a ping.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let held: Vec<_> = listener
            .incoming()
            .map(|stream| {
                let mut stream = stream.unwrap();
                let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
                stream
            })
            .collect();
        drop(held);
    });
    let evenkeel = start(&[address], "http2: { ping: 100ms }\nretry: off\ntimeouts: { read: 60s, request: 60s }");
    let began = Instant::now();
    let mut client = evenkeel.client();
    let response = client.get("/");
    assert_eq!((response.status, response.head.header("x-evenkeel-reason")), (502, Some("backend_closed")));
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

#[test]
fn health_checks_speak_what_the_pool_speaks() {
    let origin = echo();
    let evenkeel = start(&[origin.address], "health_check: { http: { path: /up } }");
    assert_eq!(evenkeel.backends()[0]["state"], "healthy", "{}", evenkeel.backends()[0]);
    assert_eq!(origin.last().version, Version::HTTP_2);
}
