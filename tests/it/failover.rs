//! What happens to a request when a backend fails it.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, Response, Then, wait_until};

const RETRIES: &str = "evenkeel_retries_total{pool=\"web\"}";

#[test]
fn a_refused_connection_goes_to_another_backend() {
    let good = Origin::saying("good");
    let mut closed = Origin::saying("closed");
    closed.stop();
    let evenkeel = Evenkeel::start(&pool(&[good.address, closed.address], ""));
    let mut client = evenkeel.client();
    for n in 0..50 {
        assert_eq!(client.get("/").text(), "good", "request {n}");
        // Nothing was sent to the closed one: a POST may go on as well.
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.read().text(), "good", "POST {n}");
    }
    assert_eq!(good.count(), 100);
    // Every second turn is the closed one's, and each retry takes the turn of the next.
    let retries = evenkeel.metric(RETRIES);
    assert!((50.0..=100.0).contains(&retries), "{retries} retries");
    let lines = evenkeel.requests(100);
    let tried: Vec<_> = lines.iter().filter(|line| line["attempts"].as_array().unwrap().len() == 2).collect();
    assert_eq!(tried.len() as f64, retries);
    assert_eq!(tried[0]["attempts"][0]["failed"], "connect_failed");
    assert_eq!(tried[0]["attempts"][0]["backend"], closed.address.to_string());
    assert_eq!(tried[0]["attempts"][1]["failed"], serde_json::Value::Null);
    assert!(tried[0]["reason"].is_null());
}

#[test]
fn a_connection_closed_while_idle_is_not_seen_by_a_get() {
    for backends in 1..=2 {
        let origins: Vec<_> = (0..backends).map(|_| Origin::saying("hello")).collect();
        let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
        let evenkeel = Evenkeel::start(&pool(&addresses, ""));
        let mut client = evenkeel.client();
        for round in 0..20 {
            for _ in 0..backends {
                assert_eq!(client.get("/").text(), "hello", "{backends} backends, round {round}");
            }
            origins.iter().for_each(Origin::cut);
        }
        assert_eq!(evenkeel.failures("backend_closed"), 0.0);
    }
}

/// Takes a first request on each connection, and closes without an answer when the second has come: what a close that
/// crosses the request on the wire looks like.
fn closes_on_the_second() -> Origin {
    let first = std::sync::Mutex::new(std::collections::HashSet::new());
    Origin::new(move |exchange| {
        exchange.body()?;
        if first.lock().unwrap().insert(exchange.connection) { exchange.ok("hello") } else { Ok(Then::Close) }
    })
}

#[test]
fn a_close_that_crosses_a_get_is_retried_even_with_one_backend() {
    let origin = closes_on_the_second();
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    for n in 0..20 {
        assert_eq!(client.get("/").text(), "hello", "request {n}");
    }
    let lines = evenkeel.requests(20);
    assert_eq!(lines[1]["attempts"][0]["failed"], "backend_closed");
    assert!(lines[1]["reason"].is_null());
}

#[test]
fn many_stale_connections_to_one_backend_cost_one_retry() {
    let go = Arc::new(AtomicBool::new(false));
    let (open, waiting) = (Arc::clone(&go), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&waiting);
    let first = std::sync::Mutex::new(std::collections::HashSet::new());
    let origin = Origin::new(move |exchange| {
        if !first.lock().unwrap().insert(exchange.connection) {
            return Ok(Then::Close);
        }
        counter.fetch_add(1, SeqCst);
        // Held until all have come, so that each has a connection of its own.
        while !open.load(SeqCst) {
            exchange.pause(Duration::from_millis(5));
        }
        exchange.ok("hello")
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(evenkeel.get("/").text(), "hello"));
        }
        wait_until("eight requests are at the backend", || waiting.load(SeqCst) == 8);
        go.store(true, SeqCst);
    });
    // Eight kept connections, each of which will be closed when it is used.
    assert_eq!(evenkeel.get("/").text(), "hello");
    assert_eq!(evenkeel.metric(RETRIES), 1.0);
}

#[test]
fn a_post_that_a_backend_has_read_is_never_sent_again() {
    let origin = Origin::new(|exchange| {
        exchange.body()?;
        Ok(Then::Close)
    });
    let other = Origin::new(|exchange| {
        exchange.body()?;
        Ok(Then::Close)
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address, other.address], ""));
    let mut client = evenkeel.client();
    client.send("POST /pay HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody");
    let response = client.read();
    assert_eq!((response.status, response.reason()), (502, "backend_closed"));
    assert_eq!(origin.count() + other.count(), 1);
    assert_eq!(evenkeel.requests(1)[0]["reason"], "backend_closed");
    assert_eq!(evenkeel.failures("backend_closed"), 1.0);
    assert_eq!(evenkeel.metric(RETRIES), 0.0);

    // A GET is tried on both, once each.
    let response = evenkeel.get("/look");
    assert_eq!((response.status, response.reason()), (502, "backend_closed"));
    assert_eq!(origin.count() + other.count(), 3);
    let line = &evenkeel.requests(2)[1];
    assert_eq!(line["attempts"].as_array().unwrap().len(), 2);
}

#[test]
fn a_post_on_a_kept_connection_reaches_the_backend_once() {
    let origin = closes_on_the_second();
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    assert_eq!(client.get("/").text(), "hello");
    client.send("POST /pay HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody");
    let response = client.read();
    assert_eq!((response.status, response.reason()), (502, "backend_closed"));
    let pays = origin.seen().iter().filter(|seen| seen.head.word(1) == "/pay").count();
    assert_eq!(pays, 1);
}

#[test]
fn a_put_is_sent_again_with_all_of_its_body() {
    let closing = Origin::new(|exchange| {
        exchange.body()?;
        Ok(Then::Close)
    });
    let good = Origin::new(|exchange| {
        let body = exchange.body()?;
        exchange.ok(&String::from_utf8(body).unwrap())
    });
    let evenkeel = Evenkeel::start(&pool(&[closing.address, good.address], ""));
    let mut client = evenkeel.client();
    for framing in
        ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"]
    {
        client.send(format!("PUT / HTTP/1.1\r\nHost: test\r\n{framing}"));
        assert_eq!(client.read().text(), "hello", "{framing}");
    }
    let line = &evenkeel.requests(1)[0];
    assert_eq!((&line["status"], &line["reason"]), (&200.into(), &serde_json::Value::Null), "{line}");
    assert!(closing.count() >= 1);
}

#[test]
fn a_put_that_is_too_large_to_keep_is_not_sent_again() {
    let origins = [(); 2].map(|()| {
        Origin::new(|exchange| {
            exchange.body()?;
            Ok(Then::Close)
        })
    });
    let addresses = origins.each_ref().map(|origin| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, ""));
    let mut client = evenkeel.client();
    client.send("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n");
    client.send(vec![b'x'; 1_000_000]);
    let response = client.read();
    assert_eq!((response.status, response.reason()), (502, "backend_closed"));
    assert_eq!(origins[0].count() + origins[1].count(), 1);
}

#[test]
fn a_large_post_reaches_another_backend_when_the_first_refuses() {
    let mut closed = Origin::saying("closed");
    closed.stop();
    let good = Origin::new(|exchange| {
        let length = exchange.body()?.len();
        exchange.ok(&length.to_string())
    });
    let evenkeel = Evenkeel::start(&pool(&[closed.address, good.address], ""));
    let mut client = evenkeel.client();
    for _ in 0..4 {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n");
        client.send(vec![b'x'; 1_000_000]);
        assert_eq!(client.read().text(), "1000000");
    }
}

#[test]
fn a_response_that_breaks_off_is_cut_and_not_tried_again() {
    let short = |exchange: &mut crate::support::Exchange<'_>| {
        let framing = match exchange.path() {
            "/chunked" => "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            _ => "Content-Length: 100\r\n\r\nhello",
        };
        exchange.send(format!("HTTP/1.1 200 OK\r\n{framing}"))?;
        Ok(Then::Close)
    };
    let (one, two) = (Origin::new(short), Origin::new(short));
    let evenkeel = Evenkeel::start(&pool(&[one.address, two.address], ""));
    for (n, path) in ["/length", "/chunked"].into_iter().enumerate() {
        let mut client = evenkeel.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let response = Response::read_head(&mut client.wire).unwrap();
        assert_eq!(response.status, 200);
        let mut body = Vec::new();
        let cut = response.head.copy_body(&mut client.wire, &mut body, false);
        assert!(cut.is_err(), "{path}: whole, with {:?}", String::from_utf8_lossy(&body));
        assert_eq!(body, b"hello");
        assert!(client.wire.read(&mut [0; 10]).map_or_else(|e| e.kind() == io::ErrorKind::ConnectionReset, |n| n == 0));
        assert_eq!(one.count() + two.count(), n + 1);
        let line = &evenkeel.requests(n + 1)[n];
        assert_eq!(line["status"], 200);
        assert_eq!(line["reason"], "backend_closed", "{line}");
    }
}

#[test]
fn nobody_admitted_is_a_503_at_once_on_a_connection_that_lives_on() {
    let mut origin = Origin::saying("hello");
    let check = "health_check: { tcp: {}, interval: 100ms, timeout: 50ms, rise: 1 }";
    origin.stop();
    let evenkeel = Evenkeel::start(&pool(&[origin.address], check));
    let mut client = evenkeel.client();
    let began = Instant::now();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!((response.status, response.reason()), (503, "no_backend"));
        assert_eq!(response.text(), "503 Service Unavailable: no_backend\n");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let line = &evenkeel.requests(3)[0];
    assert_eq!(evenkeel.failures("no_backend"), 3.0);
    assert_eq!((&line["reason"], &line["status"]), (&"no_backend".into(), &503.into()));
    assert!(line["backend"].is_null());

    origin.restart();
    wait_until("the backend is admitted", || evenkeel.admitted() == 1);
    assert_eq!(client.get("/").text(), "hello");
}

#[test]
fn try_any_asks_those_that_are_unhealthy() {
    // Its health page fails, and yet it serves.
    let origin = Origin::new(|exchange| match exchange.path() {
        "/healthz" => exchange.answer("503 Service Unavailable", "no"),
        _ => exchange.ok("hello"),
    });
    let check = "health_check: { http: { path: /healthz }, interval: 100ms, timeout: 50ms }\nwhen_unavailable: try_any";
    let evenkeel = Evenkeel::start(&pool(&[origin.address], check));
    assert_eq!(evenkeel.backends()[0]["admitted"], false);
    assert_eq!(evenkeel.get("/").text(), "hello");
}

#[test]
fn attempts_are_bounded() {
    let closed: Vec<_> = (0..5)
        .map(|_| {
            let mut origin = Origin::saying("closed");
            origin.stop();
            origin
        })
        .collect();
    let addresses: Vec<_> = closed.iter().map(|origin| origin.address).collect();
    let evenkeel = Evenkeel::start(&pool(&addresses, "retry: { attempts: 4 }"));
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.reason()), (502, "connect_failed"));
    let attempts = evenkeel.requests(1)[0]["attempts"].as_array().unwrap().clone();
    let backends: std::collections::BTreeSet<_> = attempts.iter().map(|a| a["backend"].to_string()).collect();
    // Each on another.
    assert_eq!((attempts.len(), backends.len()), (4, 4));
}
