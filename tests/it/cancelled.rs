//! Clients that leave: what they asked for ends, and no backend is blamed.

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Origin, Response, wait_until};

const ALGORITHMS: [&str; 4] = ["round_robin", "peak_ewma", "least_time", "{ maglev: { bounded_load: 125% } }"];

/// A backend that never answers `/hang`, and never ends its answer to `/drip`.
fn slow() -> Origin {
    Origin::new(|exchange| match exchange.path() {
        "/hang" => exchange.hang(),
        "/drip" => {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
            exchange.hang()
        }
        _ => exchange.ok("hello"),
    })
}

/// Ask for this, and leave when the backend is at it.
fn ask_and_leave(evenkeel: &Evenkeel, origin: &Origin, path: &str) {
    let (seen, mut client): (usize, Client) = (origin.count(), evenkeel.client());
    client.ask(path, "");
    wait_until("it is at the backend", || origin.count() == seen + 1);
    if path == "/drip" {
        assert_eq!(Response::read_head(&mut client.wire).unwrap().status, 200);
    }
    assert_eq!(evenkeel.in_flight(), 1);
    drop(client);
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
}

#[test]
fn a_client_that_leaves_is_nobodys_fault() {
    for balance in ALGORITHMS {
        let origin = slow();
        let evenkeel = Evenkeel::start(&pool(&[origin.address], &format!("balance: {balance}")));
        for _ in 0..2 {
            ask_and_leave(&evenkeel, &origin, "/hang");
        }
        ask_and_leave(&evenkeel, &origin, "/drip");
        let backend = evenkeel.backends()[0].clone();
        let count = |key: &str| backend[key].as_u64().unwrap();
        assert_eq!((count("cancelled"), count("failed"), count("succeeded")), (3, 0, 0), "{balance}: {backend}");
        for (outcome, expected) in [("cancelled", 3.0), ("failed", 0.0), ("succeeded", 0.0)] {
            let label = format!("backend=\"{}\",outcome=\"{outcome}\",pool=\"web\"", origin.address);
            assert_eq!(evenkeel.metric(&format!("evenkeel_backend_attempts_total{{{label}}}")), expected);
        }
        assert_eq!(evenkeel.failures("client_gone"), 3.0);
        let lines = evenkeel.requests(3);
        for line in &lines {
            assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_gone".into()), "{line}");
        }
        assert_eq!(evenkeel.get("/").text(), "hello");
    }
}

#[test]
fn what_was_not_answered_has_no_latency() {
    for balance in ["peak_ewma", "least_time"] {
        let origin = slow();
        let evenkeel = Evenkeel::start(&pool(&[origin.address], &format!("balance: {balance}")));
        let latency = || evenkeel.backends()[0]["latency_seconds"].as_f64();
        ask_and_leave(&evenkeel, &origin, "/hang");
        assert_eq!(latency(), None, "{balance}");
        assert_eq!(evenkeel.get("/").text(), "hello");
        let measured = latency().unwrap();
        ask_and_leave(&evenkeel, &origin, "/hang");
        assert_eq!(latency(), Some(measured), "{balance}");
    }
}
