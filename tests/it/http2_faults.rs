//! Backends of HTTP/2 that refuse, break off, go away or say nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::evenkeel::pool;
use crate::support::http2::{Call, Http2Origin};
use crate::support::http2_pool::{echo, http2, start};
use crate::support::{Evenkeel, Origin, wait_until};

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
fn a_body_that_is_too_large_is_refused_on_the_way() {
    let origin = echo();
    let listeners = "listeners: [{ address: 127.0.0.1:0 }, { address: '127.0.0.1:0', h2c: true }]\n";
    let limits = "limits: { max_body_size: 100 }\n";
    let evenkeel = Evenkeel::start(&format!("{listeners}{limits}{}", pool(&[origin.address], "protocol: h2")));
    let mut client = evenkeel.client();
    let chunk = format!("96\r\n{}\r\n0\r\n\r\n", "x".repeat(0x96));
    client.send(format!("POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"));
    let response = client.read();
    assert_eq!((response.status, response.reason()), (413, "body_too_large"));
    let two = http2(&evenkeel);
    let answer = two.ask(two.request("POST", "/b", &[]), &"x".repeat(150));
    assert_eq!((answer.head.status.as_u16(), answer.header("x-evenkeel-reason")), (413, "body_too_large"));
    assert_eq!(two.get("/c").body, "GET /c 0");
}

#[test]
fn a_slow_stream_is_hedged() {
    let slow = Http2Origin::new(|mut call: Call| async move {
        let _ = std::future::poll_fn(|context| call.answer.poll_reset(context)).await;
    });
    let quick = Http2Origin::new(|mut call: Call| async move { call.say("quick", &[("x-end", "1")]) });
    let evenkeel = start(&[slow.address, quick.address], "hedge: { after: 50ms }\nretry: { budget: off }");
    let (mut one, two) = (evenkeel.client(), http2(&evenkeel));
    for _ in 0..4 {
        assert_eq!(one.get("/a").text(), "quick");
        assert_eq!(two.get("/b").body, "quick");
    }
    assert!(!slow.seen().is_empty());
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
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
