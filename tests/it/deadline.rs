//! How long a whole request may take, whatever happens to it, and who is told.

use std::time::{Duration, Instant};

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Gate, Origin, wait_until};

#[test]
fn the_request_timeout_holds_over_all_attempts() {
    let origins = [(); 3].map(|()| Origin::new(|exchange| exchange.hang()));
    let addresses = origins.each_ref().map(|origin| origin.address);
    let more = "timeouts: { request: 700ms }\nretry: { per_try_timeout: 300ms, backoff: off }";
    let evenkeel = Evenkeel::start(&pool(&addresses, more));
    let began = Instant::now();
    let response = evenkeel.get("/");
    let took = began.elapsed();
    assert_eq!((response.status, response.reason()), (504, "request_timeout"));
    assert!((700..1500).contains(&took.as_millis()), "{took:?}");
    let failed: Vec<_> =
        evenkeel.requests(1)[0]["attempts"].as_array().unwrap().iter().map(|a| a["failed"].clone()).collect();
    assert_eq!(failed, ["backend_timeout", "backend_timeout", "request_timeout"]);
}

#[test]
fn the_request_timeout_holds_over_the_queue() {
    let (origin, gate) = Gate::holding("done");
    let more = "timeouts: { request: 9s }\nmax_in_flight: 1\nqueue: { timeout: 1m }";
    let routes = "routes:\n  - { match: { path: /wait }, pool: web, timeouts: { request: 500ms } }\n  - pool: web\n";
    let evenkeel = Evenkeel::start(&(pool(&[origin.address], more) + routes));
    std::thread::scope(|scope| {
        scope.spawn(|| evenkeel.get("/hold"));
        wait_until("the first is at the backend", || evenkeel.in_flight() == 1);
        let response = evenkeel.get("/wait");
        gate.open();
        assert_eq!((response.status, response.reason()), (504, "request_timeout"));
    });
}

#[test]
fn a_route_may_give_its_requests_more_time() {
    let slow = Origin::new(|exchange| {
        exchange.pause(Duration::from_millis(600));
        exchange.ok("polled")
    });
    let routes = "routes:\n  - { match: { path_prefix: /poll }, pool: web, timeouts: { request: 9s, read: 8s } }\n  - pool: web\n";
    let more = "timeouts: { request: 300ms, read: 250ms }\nretry: off";
    let evenkeel = Evenkeel::start(&(pool(&[slow.address], more) + routes));
    assert_eq!(evenkeel.get("/poll").text(), "polled");
    let response = evenkeel.get("/other");
    assert_eq!((response.status, response.reason()), (504, "backend_timeout"));
}

#[test]
fn a_stream_of_events_outlives_the_request_timeout() {
    let events = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for _ in 0..8 {
            exchange.send("8\r\ndata: x\n\r\n")?;
            exchange.pause(Duration::from_millis(100));
        }
        exchange.send("0\r\n\r\n")?;
        Ok(crate::support::Then::Keep)
    });
    let evenkeel = Evenkeel::start(&pool(&[events.address], "timeouts: { request: 300ms, read: 250ms }"));
    assert_eq!(evenkeel.get("/").text(), "data: x\n".repeat(8));
}

#[test]
fn the_backend_is_told_what_is_left() {
    let origin = Origin::new(|exchange| exchange.hang());
    let good = Origin::saying("good");
    let more = "deadline_header: X-Left-Ms\ntimeouts: { request: 5s }\nretry: { per_try_timeout: 300ms }";
    let evenkeel = Evenkeel::start(&pool(&[origin.address, good.address], more));
    let left = |origin: &Origin| -> u64 { origin.last().head.header("x-left-ms").unwrap().parse().unwrap() };
    while origin.count() == 0 {
        assert_eq!(evenkeel.client().get_with("/", "X-Left-Ms: 999999\r\n").text(), "good");
    }
    let (first, second) = (left(&origin), left(&good));
    assert!((4000..=5000).contains(&first), "{first} ms at first");
    // The first attempt's 300 ms begin when its backend is picked; what is left is written a moment later, when it is connected.
    assert!(second + 250 <= first, "{second} ms after {first}: the first attempt took 300");

    let grpc = "Content-Type: application/grpc\r\nGrpc-Timeout: 2S\r\n";
    while good.last().head.header("content-type").is_none_or(|kind| kind != "application/grpc") {
        assert_eq!(evenkeel.client().get_with("/", grpc).text(), "good");
    }
    let seen = good.last();
    let told = seen.head.header("grpc-timeout").unwrap().strip_suffix('m').unwrap().parse::<u64>().unwrap();
    assert!((1000..=2000).contains(&told), "{told} ms of the client's 2 s");
    assert_eq!(seen.head.header("x-left-ms"), None);
}
