//! What is known and what is under way outlives another configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::evenkeel::{pool, pool_of};
use crate::support::{Evenkeel, Gate, Origin, Then, wait_until};
use crate::upgrade::{UPGRADE, echo};

/// What is known of a backend of the first pool.
fn backend(evenkeel: &Evenkeel, origin: &Origin) -> serde_json::Value {
    let address = origin.address.to_string();
    evenkeel.backends().into_iter().find(|backend| backend["address"] == address).unwrap()
}

/// Every reload changes the pool, so that it is built anew.
fn versions(version: usize) -> String {
    format!("retry: {{ attempts: {} }}", 2 + version % 2)
}

#[test]
fn the_dead_stay_dead_and_nobody_is_probed_anew() {
    let [a, b] = ["a", "b"].map(Origin::saying);
    let mut dead = Origin::saying("dead");
    dead.stop();
    let all = [a.address, b.address, dead.address];
    // Each has a moment in the interval that its address says: in a shorter one it could be now.
    let check = "health_check: { http: { path: /healthz }, interval: 300d, timeout: 2s }";
    let evenkeel = Evenkeel::start(&pool(&all, check));
    let probes = || (a.probes().len(), b.probes().len());
    assert_eq!(probes(), (1, 1));
    // It would answer now. But nobody has probed it again, and so nobody may find out.
    dead.restart();
    for version in 0..20 {
        evenkeel.reload(&pool(&all, &format!("{check}\n{}", versions(version))));
        for _ in 0..4 {
            assert_ne!(evenkeel.get("/").text(), "dead");
        }
    }
    assert_eq!((probes(), dead.count(), dead.probes().len()), ((1, 1), 0, 0));
    assert_eq!(backend(&evenkeel, &dead)["state"], "unhealthy");
}

#[test]
fn a_round_robin_goes_on_where_it_was() {
    let origins = ["a", "b", "c"].map(Origin::saying);
    let addresses = origins.each_ref().map(|origin| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, ""));
    let mut counts = BTreeMap::<String, usize>::new();
    for version in 0..30 {
        // A counter that begins anew would have the first of them answer every time.
        evenkeel.reload(&pool(&addresses, &versions(version)));
        *counts.entry(evenkeel.get("/").text()).or_default() += 1;
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [10, 10, 10], "{counts:?}");
}

#[test]
fn what_is_in_flight_still_counts() {
    let (busy, gate) = Gate::holding("busy");
    let idle = Origin::saying("idle");
    let addresses = [busy.address, idle.address];
    let balance = "balance: least_request";
    let evenkeel = Evenkeel::start(&pool(&[busy.address], balance));
    let mut held: Vec<_> = (0..3).map(|_| evenkeel.client()).collect();
    held.iter_mut().for_each(|client| {
        client.ask("/hold", "");
    });
    gate.holds(3);
    evenkeel.reload(&pool(&addresses, balance));
    for _ in 0..20 {
        assert_eq!(evenkeel.get("/").text(), "idle", "the other has three in flight");
    }
    assert_eq!(backend(&evenkeel, &busy)["in_flight"], 3);
    gate.open();
    held.iter_mut().for_each(|client| assert_eq!(client.read().text(), "busy"));
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    assert_eq!(backend(&evenkeel, &busy)["succeeded"], 3);
}

#[test]
fn drained_and_ejected_ones_stay_out() {
    let [a, b] = ["a", "b"].map(Origin::saying);
    let failing = Origin::new(|exchange| exchange.answer("500 Internal Server Error", "no"));
    let all = [a.address, b.address, failing.address];
    let ejection = "ejection: { consecutive_failures: 2, base_time: 1h, max_time: 1h }";
    let evenkeel = Evenkeel::start(&pool(&all, ejection));
    wait_until("the failing one is ejected", || {
        evenkeel.get("/");
        backend(&evenkeel, &failing)["state"] == "ejected"
    });
    let drained = format!("web/{}", a.address);
    let admin = evenkeel.admin.to_string();
    assert!(crate::support::evenkeel::run(&["drain", &drained, "--admin", &admin]).status.success());
    let asked = failing.count();
    for version in 0..4 {
        evenkeel.reload(&pool(&all, &format!("{ejection}\n{}", versions(version))));
        for _ in 0..5 {
            assert_eq!(evenkeel.get("/").text(), "b");
        }
    }
    assert_eq!(failing.count(), asked);
    let state = |origin| backend(&evenkeel, origin)["state"].clone();
    assert_eq!((state(&a), state(&b), state(&failing)), ("draining".into(), "healthy".into(), "ejected".into()));
}

#[test]
fn clients_with_a_cookie_stay_where_they_are() {
    let origins = ["a", "b", "c"].map(Origin::saying);
    let addresses = origins.each_ref().map(|origin| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, "sticky: { cookie: lb }"));
    let first = evenkeel.get("/");
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for version in 0..6 {
        evenkeel.reload(&pool(&addresses, &format!("sticky: {{ cookie: lb }}\n{}", versions(version))));
        let response = evenkeel.client().get_with("/", &format!("Cookie: {cookie}\r\n"));
        assert_eq!((response.text(), response.header("set-cookie")), (first.text(), None));
    }
}

#[test]
fn websockets_and_responses_under_way_notice_nothing() {
    let (slow, gate) = Gate::holding("slow");
    let tunnel = echo();
    let of = |address: std::net::SocketAddr, name: &str| pool(&[address], "").replace("  web:", &format!("  {name}:"));
    let other = Origin::saying("other");
    let pools = |slow: &str, tunnel: &str| format!("{slow}{}", tunnel.replace("pools:\n", ""));
    let routes = "routes: [{ match: { path: /ws }, pool: ws }, { pool: web }]\n";
    let before = pools(&of(slow.address, "web"), &of(tunnel.address, "ws"));
    let evenkeel = Evenkeel::start(&format!("{before}{routes}"));
    let (mut waiting, mut socket) = (evenkeel.client(), evenkeel.client());
    waiting.ask("/hold", "");
    gate.holds(1);
    assert_eq!(socket.send(UPGRADE).read().status, 101);
    // Both lose their backends, and the second its pool and its route.
    let receipt = evenkeel.reload(&pool(&[other.address], ""));
    assert!(receipt.starts_with("generation 2: pools 1 changed, 1 removed; backends 1 added, 2 draining"), "{receipt}");
    for round in 0..3 {
        socket.send([round; 100]);
        assert_eq!(socket.bytes(100), [round; 100]);
    }
    gate.open();
    assert_eq!(waiting.read().text(), "slow");
    assert_eq!(waiting.get("/").text(), "other", "its connection lives on, and the next request is of the new");
}

#[test]
fn who_waits_in_the_queue_is_served() {
    let (held, gate) = Gate::holding("held");
    let limits = "max_in_flight: 1\nqueue: { size: 10, timeout: 60s }";
    let evenkeel = Evenkeel::start(&pool(&[held.address], limits));
    let (mut first, mut second) = (evenkeel.client(), evenkeel.client());
    first.ask("/hold", "");
    gate.holds(1);
    second.ask("/", "");
    wait_until("the second waits", || evenkeel.waiting() == 1);
    evenkeel.reload(&pool(&[held.address], &format!("{limits}\n{}", versions(1))));
    assert_eq!(evenkeel.waiting(), 1, "it is counted on");
    // More room is room for who waits already.
    evenkeel.reload(&pool(&[held.address], &limits.replace("flight: 1", "flight: 2")));
    assert_eq!(second.read().text(), "held");
    gate.open();
    assert_eq!(first.read().text(), "held");
}

#[test]
fn without_a_check_nobody_stays_sick() {
    let mut origin = Origin::saying("a");
    origin.stop();
    let evenkeel = Evenkeel::start(&pool(&[origin.address], "health_check: { tcp: {}, interval: 300d, timeout: 1s }"));
    assert_eq!(evenkeel.get("/").status, 503);
    origin.restart();
    evenkeel.reload(&pool(&[origin.address], ""));
    assert_eq!(evenkeel.get("/").text(), "a");
}

#[test]
fn weights_and_limits_of_backends_change() {
    let [a, b] = ["a", "b"].map(Origin::saying);
    let evenkeel = Evenkeel::start(&pool(&[a.address, b.address], ""));
    let receipt = evenkeel.reload(&pool_of(&[(a.address, "weight: 3"), (b.address, "max_in_flight: 7")], ""));
    assert!(receipt.starts_with("generation 2: pools 1 changed; backends 2 changed;"), "{receipt}");
    let mut counts = BTreeMap::<String, usize>::new();
    for _ in 0..40 {
        *counts.entry(evenkeel.get("/").text()).or_default() += 1;
    }
    assert_eq!(counts["a"], 30);
    assert_eq!(backend(&evenkeel, &b)["max_in_flight"], 7);
}

/// A stream has no end of its own, and its backend is to go.
#[test]
fn a_removed_backend_has_its_time_and_no_more() {
    let endless = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        while exchange.send("1\r\nx\r\n").is_ok() {
            exchange.pause(Duration::from_millis(20));
        }
        Ok(Then::Close)
    });
    let other = Origin::saying("other");
    let timeouts = "timeouts: { drain: 1s }";
    let evenkeel = Evenkeel::start(&pool(&[endless.address], timeouts));
    let mut client = evenkeel.client();
    client.ask("/", "");
    wait_until("it is in flight", || evenkeel.in_flight() == 1);
    evenkeel.reload(&pool(&[other.address], timeouts));
    assert!(client.try_read("GET").is_err(), "cut off within the body");
    let line = evenkeel.requests(1).remove(0);
    assert_eq!((&line["reason"], &line["status"]), (&"backend_removed".into(), &200.into()));
    assert!(line["total_ms"].as_f64().unwrap() >= 1000.0, "{line}");
    evenkeel.logged("was removed 1s ago: cutting 1 off", 1);
}
