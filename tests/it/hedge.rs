//! A second backend is asked when the first is slow, and the answer that comes first is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Gate, Origin, Then, have, wait_until};

const WON: &str = "evenkeel_hedges_total{pool=\"web\",result=\"won\"}";
const LOST: &str = "evenkeel_hedges_total{pool=\"web\",result=\"lost\"}";

fn hedged(backends: &[&Origin], more: &str) -> Evenkeel {
    let addresses: Vec<_> = backends.iter().map(|origin| origin.address).collect();
    Evenkeel::start(&pool(&addresses, &format!("hedge: {{ after: 100ms }}\n{more}")))
}

/// Ask until the first attempt went to this backend.
fn ask_until_seen(evenkeel: &Evenkeel, origin: &Origin) -> String {
    let before = origin.count();
    let mut text = String::new();
    wait_until("the slow backend was asked first", || {
        text = evenkeel.get("/hold").text();
        origin.count() > before
    });
    text
}

#[test]
fn the_quicker_answer_is_taken_and_the_slower_backend_is_blamed_for_nothing() {
    let (slow, quick) = (Origin::new(|exchange| exchange.hang()), Origin::saying("quick"));
    let evenkeel = hedged(&[&slow, &quick], "");
    let began = Instant::now();
    assert_eq!(ask_until_seen(&evenkeel, &slow), "quick");
    assert!(began.elapsed() >= Duration::from_millis(100));
    wait_until("its connection was cut", || slow.open() == 0);
    assert_eq!((evenkeel.metric(WON), evenkeel.metric(LOST)), (1.0, 0.0));
    let backends = evenkeel.backends();
    let of = |origin: &Origin| backends.iter().find(|b| b["address"] == origin.address.to_string()).unwrap().clone();
    let counts =
        |b: &Value| (b["succeeded"].clone(), b["failed"].clone(), b["cancelled"].clone(), b["in_flight"].clone());
    assert_eq!(counts(&of(&slow)), (0.into(), 0.into(), 1.into(), 0.into()));
    assert_eq!(of(&quick)["failed"], 0);
    let lines = evenkeel.requests(quick.count());
    let line = lines.iter().find(|line| !line["hedge"].is_null()).unwrap();
    assert_eq!((&line["hedge"], &line["status"], &line["reason"]), (&"won".into(), &200.into(), &Value::Null));
    assert_eq!((&line["backend"], &line["bytes_sent"]), (&quick.address.to_string().into(), &5.into()));
    assert_eq!(line["attempts"].as_array().unwrap().len(), 1, "{line}");
}

#[test]
fn a_first_that_is_quicker_after_all_wins() {
    let slow = |millis, body: &'static str| {
        Origin::new(move |exchange| {
            exchange.pause(Duration::from_millis(millis));
            exchange.ok(body)
        })
    };
    let (first, second) = (slow(300, "first"), slow(5000, "second"));
    let evenkeel = hedged(&[&first, &second], "");
    let texts = [(); 2].map(|()| evenkeel.get("/").text());
    assert_eq!(texts, ["first", "first"], "whichever was asked first");
    assert_eq!(evenkeel.metric(LOST) + evenkeel.metric(WON), 2.0);
    assert!(evenkeel.metric(LOST) >= 1.0);
}

#[test]
fn a_quick_answer_asks_nobody_else() {
    let origins = [(); 2].map(|()| Origin::saying("quick"));
    let addresses = origins.each_ref().map(|origin| origin.address);
    // One thread: with two, pingora may lose a race with itself for a connection that was just put back, and open another.
    let evenkeel = Evenkeel::start(&format!("threads: 1\n{}", pool(&addresses, "hedge: { after: 10s }")));
    let mut client = evenkeel.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "quick");
    }
    assert_eq!(origins[0].count() + origins[1].count(), 20);
    assert_eq!(evenkeel.metric(WON) + evenkeel.metric(LOST), 0.0);
    let connections = origins.each_ref().map(Origin::connections);
    assert_eq!(connections, [1, 1], "connections are kept");
}

#[test]
fn only_safe_requests_without_a_body_are_sent_twice() {
    for request in [
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody",
        "GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody",
    ] {
        let origins = [(); 2].map(|()| {
            Origin::new(|exchange| {
                exchange.body()?;
                exchange.pause(Duration::from_millis(400));
                exchange.ok("done")
            })
        });
        let evenkeel = hedged(&[&origins[0], &origins[1]], "");
        assert_eq!(evenkeel.client().send(request).read().text(), "done");
        assert_eq!(origins[0].count() + origins[1].count(), 1, "{request}");
    }
}

#[test]
fn hedges_spend_the_budget_of_retries() {
    let origins = [(); 2].map(|()| {
        Origin::new(|exchange| {
            exchange.pause(Duration::from_millis(150));
            exchange.ok("slow")
        })
    });
    let evenkeel = hedged(&[&origins[0], &origins[1]], "retry: { budget: { percent: 20%, min_per_second: 0 } }");
    let mut client = evenkeel.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "slow");
    }
    assert_eq!(evenkeel.metric(WON) + evenkeel.metric(LOST), 4.0, "a fifth of 20");
    let denied = evenkeel.metric("evenkeel_retries_denied_total{pool=\"web\",reason=\"budget\"}");
    assert_eq!(denied, 16.0);
}

#[test]
fn failures_are_retried_beside_it() {
    let refusing = Origin::new(|exchange| exchange.answer("503 Service Unavailable", "no"));
    let closing = Origin::new(|exchange| {
        exchange.body()?;
        Ok(Then::Close)
    });
    let mut closed = Origin::saying("closed");
    closed.stop();
    let good = Origin::saying("good");
    for bad in [&refusing, &closing, &closed] {
        let evenkeel = hedged(&[bad, &good], "retry: { budget: off }");
        let mut client = evenkeel.client();
        for _ in 0..4 {
            assert_eq!(client.get("/").text(), "good");
        }
        assert!(evenkeel.metric("evenkeel_retries_total{pool=\"web\"}") >= 1.0);
        let lines = evenkeel.requests(4);
        let retried = lines.iter().find(|line| line["attempts"].as_array().unwrap().len() == 2).unwrap();
        assert!(retried["reason"].is_null() && retried["attempts"][1]["failed"].is_null(), "{retried}");
        assert!(!retried["attempts"][0]["failed"].is_null(), "{retried}");
    }
    let evenkeel = hedged(&[&refusing], "");
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.text().as_str()), (503, "no"), "the last answer as it is");
}

#[test]
fn an_attempt_and_a_request_end_in_time() {
    let origins = [(); 3].map(|()| {
        // A header that drips would outlive every pause between reads.
        Origin::new(|exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nX-Slow: ")?;
            for _ in 0..100 {
                exchange.send("h")?;
                exchange.pause(Duration::from_millis(50));
            }
            Ok(Then::Close)
        })
    });
    let all: Vec<_> = origins.iter().collect();
    let evenkeel = hedged(&all, "timeouts: { request: 900ms }\nretry: { per_try_timeout: 400ms, backoff: off }");
    let mut client = evenkeel.client();
    let began = Instant::now();
    let response = client.get("/");
    let took = began.elapsed();
    assert_eq!(response.status, 504, "{}", response.reason());
    assert!((400..1500).contains(&took.as_millis()), "{took:?}");
    assert_eq!(origins.iter().map(Origin::count).sum::<usize>(), 3);
    wait_until("the backends are blamed", || {
        evenkeel.backends().iter().all(|backend| backend["failed"] == 1 && backend["in_flight"] == 0)
    });
    assert_eq!(client.get("/").status, 504, "the connection lives on");
}

#[test]
fn long_and_streamed_responses_pass_as_they_come() {
    let origin = Origin::new(|exchange| match exchange.path() {
        "/large" => {
            exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 8 << 20))?;
            exchange.send(vec![b'x'; 8 << 20])?;
            Ok(Then::Keep)
        }
        "/events" => {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for _ in 0..5 {
                exchange.send("2\r\nhi\r\n")?;
                exchange.pause(Duration::from_millis(50));
            }
            exchange.send("0\r\n\r\n")?;
            Ok(Then::Keep)
        }
        "/broken" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")?;
            Ok(Then::Close)
        }
        "/none" => {
            exchange.send("HTTP/1.1 204 No Content\r\n\r\n")?;
            Ok(Then::Keep)
        }
        _ => exchange.ok("hello"),
    });
    let other = Origin::saying("other");
    let evenkeel = hedged(&[&origin, &other], "");
    let mut client = evenkeel.client();
    let mut whole = 0;
    for _ in 0..2 {
        let large = client.get("/large");
        whole += usize::from(large.body == vec![b'x'; 8 << 20]);
        let events = client.get("/events").text();
        assert!(events == "hihihihihi" || events == "other", "{events}");
        assert!(matches!(client.get("/none").status, 200 | 204));
        let head = client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").read_to("HEAD");
        assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
        // Shifts the turn, so that each path comes to both.
        client.get("/");
    }
    assert_eq!(whole, 1);
    let cut = (0..2).filter(|_| evenkeel.client().try_get("/broken").is_err()).count();
    assert_eq!(cut, 1, "a response that breaks off is cut");
    let lines = evenkeel.requests(12);
    assert!(lines.iter().any(|line| line["reason"] == "backend_closed" && line["status"] == 200), "{lines:?}");
}

#[test]
fn a_client_that_leaves_ends_both() {
    let origins = [(); 2].map(|()| Origin::new(|exchange| exchange.hang()));
    let evenkeel = hedged(&[&origins[0], &origins[1]], "");
    let mut client = evenkeel.client();
    client.ask("/hold", "");
    wait_until("both are asked", || origins.iter().all(|origin| origin.count() == 1));
    drop(client);
    wait_until("both are cut", || origins.iter().all(|origin| origin.open() == 0) && evenkeel.in_flight() == 0);
    assert_eq!(evenkeel.requests(1)[0]["status"], 499);
    assert!(evenkeel.backends().iter().all(|backend| backend["failed"] == 0 && backend["cancelled"] == 1));
    assert_eq!(evenkeel.metric("evenkeel_requests_in_flight"), 0.0);
}

#[test]
fn a_percentile_is_learned_from_the_pool() {
    let slow = Arc::new(AtomicUsize::new(0));
    let every = Arc::clone(&slow);
    let origins = [(); 2].map(|()| {
        let every = Arc::clone(&every);
        Origin::new(move |exchange| {
            // One in fifty is a hundred times slower.
            if every.fetch_add(1, SeqCst) % 50 == 49 {
                exchange.pause(Duration::from_millis(2000));
            }
            exchange.ok("hello")
        })
    });
    let addresses = origins.each_ref().map(|origin| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, "hedge: { after: p95 }"));
    let mut client = evenkeel.client();
    wait_until("something is known, and a slow answer was overtaken", || {
        for _ in 0..50 {
            assert_eq!(client.get("/").text(), "hello");
        }
        evenkeel.metric(WON) >= 1.0
    });
}

#[test]
fn http2_clients_are_hedged_as_well() {
    if !have("curl") {
        return;
    }
    let (slow, gate) = Gate::holding("slow");
    let quick = Origin::new(|exchange| {
        let cookie = exchange.head.header("cookie").unwrap_or_default().to_owned();
        exchange.ok(&cookie)
    });
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n{}",
        pool(&[slow.address, quick.address], "hedge: { after: 100ms }")
    );
    let evenkeel = Evenkeel::start(&yaml);
    let url = format!("http://{}/hold", evenkeel.http());
    wait_until("a hedge has won", || {
        let arguments =
            ["-sS", "--http2-prior-knowledge", "-H", "Cookie: a=1", "-w", " %{http_version} %{http_code}", &url];
        let output = std::process::Command::new("curl").args(arguments).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a=1 2 200");
        evenkeel.metric(WON) >= 1.0
    });
    gate.open();
}

/// Requests that were answered well were logged and counted as failed, because one of their attempts was.
#[test]
fn an_answer_beside_a_failure_is_no_failure() {
    let broken = Origin::new(|exchange| {
        exchange.body()?;
        exchange.pause(Duration::from_millis(300));
        Ok(Then::Close)
    });
    let slow = Origin::new(|exchange| {
        exchange.pause(Duration::from_millis(600));
        exchange.ok("slow")
    });
    let evenkeel = hedged(&[&broken, &slow], "retry: { budget: off }");
    for _ in 0..2 {
        assert_eq!(evenkeel.get("/").text(), "slow");
    }
    for line in evenkeel.requests(2) {
        assert!(line["reason"].is_null(), "{line}");
        assert!(line["attempts"].as_array().unwrap().last().unwrap()["failed"].is_null(), "{line}");
    }
    assert_eq!(evenkeel.failures("backend_closed"), 0.0);
}

/// The backend of the answer that was held back was asked a second time, and a request made more attempts than it may.
#[test]
fn two_bad_answers_are_two_attempts() {
    let refusing = [(); 4].map(|()| {
        Origin::new(|exchange| {
            exchange.pause(Duration::from_millis(250));
            exchange.answer("503 Service Unavailable", "no")
        })
    });
    let all: Vec<_> = refusing.iter().collect();
    let evenkeel = hedged(&all, "retry: { budget: off, backoff: off }");
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.text().as_str(), response.reason()), (503, "no", ""));
    let asked: Vec<_> = refusing.iter().map(Origin::count).collect();
    assert!(asked.iter().all(|count| *count <= 1), "{asked:?}: nobody twice");
    assert_eq!(asked.iter().sum::<usize>(), 3, "{asked:?}");
}

/// What hedges cut off counted as answers, and a trial lasted for ever.
#[test]
fn hedging_does_not_keep_a_hanging_backend_in() {
    let hanging = Origin::new(|exchange| exchange.hang());
    let good = [(); 2].map(|()| Origin::saying("good"));
    let more = "ejection: { window: 200ms, base_time: 1m }\nretry: { budget: 100% }";
    let evenkeel = hedged(&[&hanging, &good[0], &good[1]], more);
    let ejected = || evenkeel.backends().iter().any(|backend| backend["state"] == "ejected");
    let mut client = evenkeel.client();
    wait_until("the hanging one is ejected", || {
        for _ in 0..30 {
            assert_eq!(client.get("/").text(), "good");
        }
        ejected()
    });
}

/// A gone client of HTTP/2 was answered, and counted, as one whose request is bad.
#[test]
fn an_http2_client_that_leaves_is_gone() {
    if !have("curl") {
        return;
    }
    let origin = Origin::new(|exchange| exchange.hang());
    for more in ["", "hedge: { after: 5s }"] {
        let yaml = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\n".to_owned() + &pool(&[origin.address], more);
        let evenkeel = Evenkeel::start(&yaml);
        let url = format!("http://{}/", evenkeel.http());
        let arguments = ["-sS", "--http2-prior-knowledge", "--max-time", "0.3", &url];
        let output = std::process::Command::new("curl").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(28), "curl has given up");
        let line = &evenkeel.requests(1)[0];
        assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_gone".into()), "{more}");
    }
}
