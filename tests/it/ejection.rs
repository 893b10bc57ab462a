//! Ejection: backends that live traffic shows to be bad are taken out, and come back by one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::evenkeel::{pool, pool_of, run};
use crate::support::tally::{of, responses, tally};
use crate::support::{Evenkeel, Gate, LIMIT, Origin, wait_until};

/// A backend, and the switch that makes it answer 500.
fn breakable(name: &'static str) -> (Origin, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&broken);
    let origin = Origin::new(move |exchange| match broken.load(SeqCst) {
        true => exchange.answer("500 Oops", "oops"),
        false => exchange.ok(name),
    });
    (origin, switch)
}

/// A backend that takes so many milliseconds, which can be changed.
fn paced(millis: u64) -> (Origin, Arc<AtomicU64>) {
    let pace = Arc::new(AtomicU64::new(millis));
    let shared = Arc::clone(&pace);
    let origin = Origin::new(move |exchange| {
        exchange.pause(Duration::from_millis(shared.load(SeqCst)));
        exchange.ok("done")
    });
    (origin, pace)
}

/// What the first pool says of this backend.
fn backend(evenkeel: &Evenkeel, origin: &Origin) -> serde_json::Value {
    let address = origin.address.to_string();
    evenkeel.backends().into_iter().find(|backend| backend["address"] == address).unwrap()
}

fn state(evenkeel: &Evenkeel, origin: &Origin) -> String {
    backend(evenkeel, origin)["state"].as_str().unwrap().to_owned()
}

fn ejections(evenkeel: &Evenkeel) -> u64 {
    evenkeel.backends().iter().map(|backend| backend["ejections"].as_u64().unwrap()).sum()
}

/// Ask over so many connections until this holds.
fn ask_until(evenkeel: &Evenkeel, clients: usize, mut holds: impl FnMut() -> bool) {
    let done = AtomicBool::new(false);
    let ask = || {
        let mut client = evenkeel.client();
        while !done.load(SeqCst) {
            client.get("/");
        }
    };
    thread::scope(|scope| {
        (0..clients).for_each(|_| drop(scope.spawn(ask)));
        let began = Instant::now();
        while !holds() && began.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(5));
        }
        done.store(true, SeqCst);
        assert!(began.elapsed() < LIMIT, "not within {LIMIT:?}");
    });
}

#[test]
fn who_cannot_be_reached_is_out_after_three_and_back_after_one_and_starts_slowly() {
    let (stays, mut dies) = (Origin::saying("stays"), Origin::saying("dies"));
    let more = "slow_start: 3s\nejection: { base_time: 300ms, window: 50ms, latency: off }";
    let evenkeel = Evenkeel::start(&pool(&[stays.address, dies.address], more));
    let began = Instant::now();
    wait_until("both, which are new, have grown up", || began.elapsed() > Duration::from_secs(3));
    dies.stop();
    // Each is made good by another attempt.
    ask_until(&evenkeel, 1, || state(&evenkeel, &dies) == "ejected");
    // It is decided aside: a fourth may be on its way.
    let lines = evenkeel.logged(&format!("pool web: backend {} ejected for 300ms: ", dies.address), 1);
    let row = |n| lines[0].ends_with(&format!(": {n} connections in a row could not be made"));
    assert!(row(3) || row(4), "{}", lines[0]);
    // What failed while it was out was its trial.
    ask_until(&evenkeel, 1, || !evenkeel.lines(&format!("{} ejected for 600ms", dies.address)).is_empty());
    assert_eq!(evenkeel.lines("its trial request failed: no connection").len(), 1);
    dies.restart();
    ask_until(&evenkeel, 1, || state(&evenkeel, &dies) == "healthy");
    evenkeel.logged(&format!("backend {} re-admitted after a successful request", dies.address), 1);
    assert_eq!(evenkeel.failures("connect_failed"), 0.0);
    let shares = tally(&evenkeel, 1, 40);
    assert!(of(&shares, &["dies"]) < 14, "{shares:?}");
    wait_until("its share is whole", || of(&tally(&evenkeel, 1, 40), &["dies"]) == 20);
}

#[test]
fn who_always_answers_500_is_out_after_five() {
    let (bad, broken) = breakable("bad");
    broken.store(true, SeqCst);
    let others = ["a", "b", "c"].map(Origin::saying);
    let addresses = [bad.address, others[0].address, others[1].address, others[2].address];
    let evenkeel = Evenkeel::start(&pool(&addresses, "ejection: { base_time: 1m }"));
    let failed = responses(&evenkeel, 1, 400, |_| ("/".to_owned(), String::new()));
    let failed = failed.iter().filter(|response| response.status == 500).count();
    // It is decided aside: another may be on its way.
    assert!((5..=6).contains(&failed), "{failed} of 400");
    let why = "5 failures in a row, the last: status 500 or above";
    evenkeel.logged(&format!("pool web: backend {} ejected for 1m: {why}", bad.address), 1);

    let seen = backend(&evenkeel, &bad);
    assert_eq!((&seen["state"], &seen["admitted"], &seen["ejections"]), (&"ejected".into(), &false.into(), &1.into()));
    let reason = seen["reason"].as_str().unwrap();
    assert!(reason.starts_with(why) && reason.contains("; for another "), "{reason}");
    let label = |more: &str| format!("{{backend=\"{}\",{more}}}", bad.address);
    assert_eq!(evenkeel.metric(&format!("evenkeel_ejections_total{}", label("cause=\"failures\",pool=\"web\""))), 1.0);
    assert_eq!(evenkeel.metric(&format!("evenkeel_backend_state{}", label("pool=\"web\",state=\"ejected\""))), 1.0);
    let output = run(&["status", "--admin", &evenkeel.admin.to_string()]);
    let screen = String::from_utf8(output.stdout).unwrap();
    assert!(screen.contains(&format!("; ejected: {why}; for another ")), "{screen}");
    assert!(screen.contains("3 of 4 backends admitted"), "{screen}");
}

#[test]
fn the_slow_one_of_five_is_out_within_ten_seconds_and_no_other() {
    let origins: [_; 5] = std::array::from_fn(|_| paced(40));
    let addresses = origins.each_ref().map(|(origin, _)| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, "ejection: { base_time: 1m, window: 300ms }"));
    origins[2].1.store(200, SeqCst);
    let began = Instant::now();
    ask_until(&evenkeel, 10, || ejections(&evenkeel) > 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let line = evenkeel.logged(" ejected for 1m: p90 ", 1).swap_remove(0);
    assert!(line.contains(&addresses[2].to_string()) && line.contains(" times its peers' median "), "{line}");
}

#[test]
fn where_all_five_become_slow_none_is_out() {
    let origins: [_; 5] = std::array::from_fn(|_| paced(10));
    let addresses = origins.each_ref().map(|(origin, _)| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, "ejection: { window: 200ms }"));
    let began = Instant::now();
    let windows = |number: u32| Duration::from_millis(200) * number;
    ask_until(&evenkeel, 10, || began.elapsed() > windows(3));
    origins.iter().for_each(|(_, pace)| pace.store(50, SeqCst));
    ask_until(&evenkeel, 10, || began.elapsed() > windows(15));
    assert_eq!(ejections(&evenkeel), 0, "{}", evenkeel.log());
}

#[test]
fn who_flaps_is_ejected_seldom() {
    let (flaps, broken) = breakable("flaps");
    let others = ["a", "b"].map(Origin::saying);
    let more = "ejection: { base_time: 100ms, window: 20ms, latency: off }";
    let evenkeel = Evenkeel::start(&pool(&[flaps.address, others[0].address, others[1].address], more));
    let began = Instant::now();
    ask_until(&evenkeel, 2, || {
        broken.store(began.elapsed().as_millis() % 200 < 100, SeqCst);
        began.elapsed() > Duration::from_secs(3)
    });
    // 100 ms, then 200 ms and so on: seven make 2.8 s.
    let count = ejections(&evenkeel);
    assert!((2..=8).contains(&count), "{count}\n{}", evenkeel.log());
}

#[test]
fn a_trial_is_one_request_at_a_time() {
    let broken = Arc::new(AtomicBool::new(true));
    let gate = Gate::closed();
    let (held, switch) = (Arc::clone(&gate), Arc::clone(&broken));
    let held = held.origin("tried");
    // In front of the one that holds, answers of 500 while it is broken.
    let address = held.address;
    let tried = Origin::new(move |exchange| match switch.load(SeqCst) {
        true => exchange.answer("500 Oops", ""),
        false => {
            let body = crate::support::get(address, exchange.path()).text();
            exchange.ok(&body)
        }
    });
    let other = Origin::saying("other");
    let more = "ejection: { base_time: 200ms, window: 20ms, latency: off }";
    let evenkeel = Evenkeel::start(&pool(&[tried.address, other.address], more));
    ask_until(&evenkeel, 1, || state(&evenkeel, &tried) == "ejected");
    broken.store(false, SeqCst);
    wait_until("it is on trial", || backend(&evenkeel, &tried)["reason"].to_string().contains("on trial"));
    let before = tried.count();
    let mut clients: Vec<_> = (0..6).map(|_| evenkeel.client()).collect();
    clients.iter_mut().for_each(|client| {
        client.ask("/hold", "");
    });
    gate.holds(1);
    assert_eq!((0..20).filter(|_| evenkeel.get("/").text() == "other").count(), 20, "nobody else tries");
    assert_eq!((tried.count() - before, state(&evenkeel, &tried).as_str()), (1, "ejected"));
    gate.open();
    let answers: Vec<String> = clients.iter_mut().map(|client| client.read().text()).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "tried").count(), 1, "{answers:?}");
    wait_until("it is back", || state(&evenkeel, &tried) == "healthy");
    let shares = tally(&evenkeel, 1, 20);
    assert_eq!((of(&shares, &["tried"]), of(&shares, &["other"])), (10, 10));
}

#[test]
fn half_of_the_pool_at_most_and_it_says_who_is_spared() {
    let origins = ["a", "b", "c", "d"].map(breakable);
    let addresses = origins.each_ref().map(|(origin, _)| origin.address);
    origins.iter().for_each(|(_, broken)| broken.store(true, SeqCst));
    let evenkeel = Evenkeel::start(&pool(&addresses, "ejection: { base_time: 1m }"));
    ask_until(&evenkeel, 4, || evenkeel.lines("is not ejected, the pool cannot spare it: ").len() == 2);
    assert_eq!((ejections(&evenkeel), evenkeel.admitted()), (2, 2));
    let alone = Evenkeel::start(&pool(&addresses[..1], "ejection: { base_time: 1m }"));
    ask_until(&alone, 1, || !alone.lines("the pool cannot spare it").is_empty());
    assert_eq!((ejections(&alone), alone.admitted()), (0, 1));
}

#[test]
fn when_the_others_become_unhealthy_the_ejected_is_needed() {
    let (bad, broken) = breakable("bad");
    let mut good = Origin::saying("good");
    let more = "health_check: { tcp: {}, interval: 100ms, timeout: 90ms, fall: 1 }\nejection: { base_time: 1m }";
    let evenkeel = Evenkeel::start(&pool(&[bad.address, good.address], more));
    broken.store(true, SeqCst);
    ask_until(&evenkeel, 1, || state(&evenkeel, &bad) == "ejected");
    broken.store(false, SeqCst);
    good.stop();
    wait_until("it is back", || evenkeel.get("/").text() == "bad");
    evenkeel.logged(&format!("backend {} re-admitted before its time: nobody else is left", bad.address), 1);
}

#[test]
fn off_is_off() {
    let (bad, broken) = breakable("bad");
    broken.store(true, SeqCst);
    let good = Origin::saying("good");
    let evenkeel = Evenkeel::start(&pool(&[bad.address, good.address], "ejection: off"));
    let answers = responses(&evenkeel, 1, 60, |_| ("/".to_owned(), String::new()));
    assert_eq!(answers.iter().filter(|answer| answer.status == 500).count(), 30);
    assert_eq!((ejections(&evenkeel), evenkeel.admitted()), (0, 2));
}

#[test]
fn who_takes_requests_and_answers_none_is_out_in_three_windows() {
    let hanging = Origin::new(|exchange| exchange.hang());
    let good = [(); 3].map(|()| Origin::saying("good"));
    // Few go there, so that others go on being answered.
    let mut backends: Vec<_> = good.iter().map(|origin| (origin.address, "weight: 30")).collect();
    backends.push((hanging.address, "weight: 1"));
    let evenkeel = Evenkeel::start(&pool_of(&backends, "ejection: { window: 200ms, base_time: 1m }"));
    let asked = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let mut client = evenkeel.client();
                while asked.load(SeqCst) {
                    // Those who wait for the hanging one do so until the test ends.
                    if client.try_get("/").is_err() {
                        return;
                    }
                }
            });
        }
        wait_until("the hanging one is ejected", || {
            evenkeel.backends().iter().any(|backend| backend["state"] == "ejected")
        });
        asked.store(false, SeqCst);
        hanging.cut();
    });
    let label = hanging.address.to_string();
    let line = &evenkeel.logged(&format!("{label} ejected for 1m: no answer for "), 1)[0];
    assert!(line.contains(" requests wait; its peers' p99 is "), "{line}");
    assert_eq!(
        evenkeel.metric(&format!("evenkeel_ejections_total{{backend=\"{label}\",cause=\"silence\",pool=\"web\"}}")),
        1.0
    );
}
