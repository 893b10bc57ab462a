//! Which failures get another attempt, and how many of them there may be.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, Then};

const RETRIES: &str = "evenkeel_retries_total{pool=\"web\"}";

fn answering(status: &'static str) -> Origin {
    Origin::new(move |exchange| {
        exchange.body()?;
        exchange.answer(status, "from the backend")
    })
}

/// Two backends, of which the first in turn fails so: what the client gets of its first request.
fn after(failing: &Origin, good: &Origin, more: &str) -> Evenkeel {
    Evenkeel::start(&pool(&[failing.address, good.address], more))
}

#[test]
fn another_backend_is_asked_after_a_status_of_the_list() {
    for (status, more, again) in [
        ("502 Bad Gateway", "", true),
        ("503 Service Unavailable", "", true),
        ("504 Gateway Timeout", "", true),
        ("500 Internal Server Error", "", false),
        ("500 Internal Server Error", "retry: { on: [500] }", true),
        ("429 Too Many Requests", "retry: { on: 429 }", true),
        ("503 Service Unavailable", "retry: { on: [connect] }", false),
        ("503 Service Unavailable", "retry: off", false),
        ("503 Service Unavailable", "retry: { attempts: 1 }", false),
    ] {
        let (failing, good) = (answering(status), Origin::saying("good"));
        let evenkeel = after(&failing, &good, more);
        let texts: Vec<_> = (0..2).map(|_| evenkeel.get("/").text()).collect();
        let expected = if again { "good" } else { "from the backend" };
        assert!(texts.contains(&expected.to_owned()), "{status} with {more:?}: {texts:?}");
        assert_eq!(texts.contains(&"from the backend".to_owned()), !again, "{status} with {more:?}: {texts:?}");
        let attempts = |line: &Value| line["attempts"].as_array().unwrap().clone();
        let most = evenkeel.requests(2).iter().map(attempts).max_by_key(Vec::len).unwrap();
        assert_eq!(most.len(), if again { 2 } else { 1 }, "{status} with {more:?}");
        if again {
            assert_eq!((&most[0]["failed"], &most[1]["failed"]), (&"backend_status".into(), &Value::Null));
        }
    }
}

#[test]
fn the_last_answer_goes_to_the_client_as_it_is() {
    let origins = [(); 3].map(|()| answering("503 Service Unavailable"));
    let addresses = origins.each_ref().map(|origin| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, ""));
    let mut client = evenkeel.client();
    let response = client.get("/");
    assert_eq!((response.status, response.text().as_str(), response.reason()), (503, "from the backend", ""));
    assert_eq!(origins.each_ref().map(Origin::count), [1, 1, 1], "each was asked once");
    assert!(evenkeel.requests(1)[0]["reason"].is_null());
    assert_eq!(client.get("/").status, 503, "the connection lives on");
}

#[test]
fn a_post_is_sent_again_only_if_the_configuration_does_not_mind() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody";
    for (more, again) in [("", false), ("retry: { non_idempotent: true }", true)] {
        let failing = [(); 2].map(|()| answering("503 Service Unavailable"));
        let evenkeel = after(&failing[0], &failing[1], more);
        assert_eq!(evenkeel.client().send(POST).read().status, 503);
        let seen: Vec<_> = failing.iter().flat_map(Origin::seen).map(|seen| seen.body).collect();
        assert_eq!(seen, vec![Some(4); if again { 2 } else { 1 }], "{more}");
    }
}

#[test]
fn a_backend_that_hangs_costs_an_idempotent_request_per_try_timeout() {
    let hanging = Origin::new(|exchange| exchange.hang());
    let good = Origin::saying("good");
    let evenkeel = after(&hanging, &good, "retry: { per_try_timeout: 200ms }");
    let mut client = evenkeel.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "good");
    }
    assert!(hanging.count() >= 1);
    let lines = evenkeel.requests(2);
    let retried = lines.iter().find(|line| line["attempts"].as_array().unwrap().len() == 2).unwrap();
    assert_eq!(retried["attempts"][0]["failed"], "backend_timeout");
    let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
    let statuses: Vec<_> = (0..2).map(|_| evenkeel.client().send(post).read().status).collect();
    assert!(statuses.contains(&504) && statuses.contains(&200), "{statuses:?}: a POST may have been acted on");
}

#[test]
fn a_pool_that_fails_always_sees_a_fifth_more_requests_and_three_each_second() {
    let origins = [(); 3].map(|()| {
        Origin::new(|exchange| {
            exchange.body()?;
            Ok(Then::Close)
        })
    });
    let addresses = origins.each_ref().map(|origin| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, "retry: { backoff: off }"));
    let began = Instant::now();
    const REQUESTS: usize = 300;
    for _ in 0..REQUESTS {
        assert_eq!(evenkeel.get("/").status, 502);
    }
    let seconds = began.elapsed().as_secs_f64();
    let seen: usize = origins.iter().map(Origin::count).sum();
    // What the first second may take at once counts as a second.
    let most = 1.2 * REQUESTS as f64 + 3.0 * (seconds + 1.0);
    assert!(seen as f64 <= most, "{seen} of at most {most}");
    assert!(seen as f64 >= 1.15 * REQUESTS as f64, "{seen}: the budget is there to be used");
    assert_eq!(evenkeel.metric(RETRIES), (seen - REQUESTS) as f64);
    let denied = evenkeel.metric("evenkeel_retries_denied_total{pool=\"web\",reason=\"budget\"}");
    assert!(denied > 200.0, "{denied}");
}

#[test]
fn no_more_second_attempts_at_once_than_the_limit() {
    let failing = answering("503 Service Unavailable");
    let (slow, gate) = crate::support::Gate::holding("good");
    let more = "ejection: off\nretry: { max_in_flight: 1, budget: off }\nbalance: random";
    let evenkeel = Evenkeel::start(&pool(&[failing.address, slow.address], more));
    let denied = "evenkeel_retries_denied_total{pool=\"web\",reason=\"max_in_flight\"}";
    std::thread::scope(|scope| {
        let ask = || scope.spawn(|| evenkeel.get("/hold").status);
        let requests: Vec<_> = (0..30).map(|_| ask()).collect();
        crate::support::wait_until("a second attempt was denied", || evenkeel.metric(denied) >= 1.0);
        crate::support::wait_until("the one that may be has begun", || evenkeel.metric(RETRIES) >= 1.0);
        assert_eq!(evenkeel.metric(RETRIES), 1.0);
        gate.open();
        let statuses: Vec<_> = requests.into_iter().map(|request| request.join().unwrap()).collect();
        assert!(statuses.contains(&503) && statuses.contains(&200), "{statuses:?}");
    });
}

#[test]
fn who_asks_for_a_short_pause_is_asked_again_after_it() {
    let busy = std::sync::atomic::AtomicBool::new(true);
    let origin = Origin::new(move |exchange| {
        if busy.swap(false, std::sync::atomic::Ordering::SeqCst) {
            exchange.send("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(Then::Keep);
        }
        exchange.ok("good")
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let began = Instant::now();
    assert_eq!(evenkeel.get("/").text(), "good", "there is nobody else to ask");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());

    let long = answering_after("120");
    let evenkeel = Evenkeel::start(&pool(&[long.address], ""));
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.header("retry-after")), (503, Some("120")), "the client may wait so long");
    assert_eq!(long.count(), 1);

    let (busy, good) = (answering_after("1"), Origin::saying("good"));
    let evenkeel = after(&busy, &good, "");
    let began = Instant::now();
    assert_eq!([(); 2].map(|()| evenkeel.get("/").text()), ["good", "good"]);
    assert!(began.elapsed() < Duration::from_secs(1), "another backend has not asked for a pause");
}

fn answering_after(seconds: &'static str) -> Origin {
    Origin::new(move |exchange| {
        exchange
            .send(format!("HTTP/1.1 503 Service Unavailable\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n"))?;
        Ok(Then::Keep)
    })
}

#[test]
fn per_try_timeout_bounds_a_header_that_drips_and_not_the_pauses_in_a_body() {
    let dripping = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nX-Slow: ")?;
        for _ in 0..100 {
            exchange.send("h")?;
            exchange.pause(Duration::from_millis(50));
        }
        Ok(Then::Close)
    });
    let pausing = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwe")?;
        exchange.pause(Duration::from_millis(600));
        exchange.send("ll")?;
        Ok(Then::Keep)
    });
    let evenkeel = after(&dripping, &pausing, "retry: { per_try_timeout: 300ms }");
    let mut client = evenkeel.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "well");
    }
    assert!(dripping.count() >= 1);
}

/// Each attempt was counted anew, and the third was over the limit.
#[test]
fn a_body_that_is_sent_again_counts_once() {
    let origins = [answering("503 Service Unavailable"), answering("503 Service Unavailable"), Origin::saying("good")];
    let addresses = origins.each_ref().map(|origin| origin.address);
    let yaml = pool(&addresses, "retry: { budget: off }") + "limits: { max_body_size: 50KiB }\n";
    let evenkeel = Evenkeel::start(&yaml);
    let body = "x".repeat(40 * 1024);
    for _ in 0..3 {
        let request = format!("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(evenkeel.client().send(request).read().text(), "good");
    }
    for line in evenkeel.requests(3) {
        assert_eq!(line["bytes_received"], body.len(), "{line}");
    }
}

/// The answer was given up for a second attempt that then found no room, and became a 502 of ours.
#[test]
fn an_answer_is_not_given_up_for_an_attempt_that_has_no_room() {
    let (busy, gate) = crate::support::Gate::holding("held");
    let failing = answering("503 Service Unavailable");
    let evenkeel = Evenkeel::start(&pool(&[busy.address, failing.address], "max_in_flight: 2\nqueue: { timeout: 1m }"));
    std::thread::scope(|scope| {
        // Both turns of the busy one, so that the pool has no room beside the request that fails.
        let held = scope.spawn(|| evenkeel.get("/hold").status);
        crate::support::wait_until("one is held", || evenkeel.in_flight() == 1 && busy.count() + failing.count() >= 1);
        let response = evenkeel.get("/");
        gate.open();
        assert!(matches!((response.status, response.reason()), (503, "") | (200, "")), "{}", response.reason());
        held.join().unwrap();
    });
}

/// The permit of the attempt that had failed was still held when the next one was asked for.
#[test]
fn one_second_attempt_at_a_time_is_enough_for_a_third() {
    let origins = [answering("503 Service Unavailable"), answering("503 Service Unavailable"), Origin::saying("good")];
    let addresses = origins.each_ref().map(|origin| origin.address);
    for more in ["", ", per_try_timeout: 5s"] {
        let retry = format!("retry: {{ max_in_flight: 1, budget: off{more} }}");
        let evenkeel = Evenkeel::start(&pool(&addresses, &retry));
        let mut client = evenkeel.client();
        for _ in 0..6 {
            assert_eq!(client.get("/").text(), "good", "{retry}");
        }
    }
}

/// A backend that works on a request and then breaks off was taken for a connection that had been closed while it was kept.
#[test]
fn a_kept_connection_that_breaks_late_is_an_attempt() {
    let origins = [(); 2].map(|()| {
        Origin::new(|exchange| match exchange.path() {
            "/warm" => exchange.ok("warm"),
            _ => {
                exchange.pause(Duration::from_millis(500));
                Ok(Then::Close)
            }
        })
    });
    let addresses = origins.each_ref().map(|origin| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, "retry: { backoff: off }"));
    for _ in 0..2 {
        assert_eq!(evenkeel.get("/warm").text(), "warm");
    }
    assert_eq!(evenkeel.get("/").status, 502);
    let asked = origins.iter().flat_map(Origin::seen).filter(|seen| seen.head.word(1) == "/").count();
    assert_eq!(asked, 2, "each once");
    assert!(evenkeel.backends().iter().all(|backend| backend["failed"] == 1), "{:?}", evenkeel.backends());
}
