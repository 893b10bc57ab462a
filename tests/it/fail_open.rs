//! When too few are healthy, health is not believed: `panic_threshold`, and `when_unavailable: try_any`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::support::evenkeel::pool;
use crate::support::tally::{of, tally};
use crate::support::{Evenkeel, Origin, QUICK_CHECK, wait_until};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const RETRIES: &str = "evenkeel_retries_total{pool=\"web\"}";

/// A backend that serves whatever its health page says, and the switch of that page.
fn said_to_be_sick(name: &'static str) -> (Origin, Arc<AtomicBool>) {
    let sick = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&sick);
    let origin = Origin::new(move |exchange| match (exchange.path(), sick.load(SeqCst)) {
        ("/healthz", true) => exchange.answer("503 Sick", ""),
        _ => exchange.ok(name),
    });
    (origin, switch)
}

fn four(more: &str) -> ([Origin; 4], [Arc<AtomicBool>; 4], Evenkeel) {
    let [a, b, c, d] = NAMES.map(said_to_be_sick);
    let (origins, switches) = ([a.0, b.0, c.0, d.0], [a.1, b.1, c.1, d.1]);
    let check = "health_check: { http: { path: /healthz }, interval: 200ms, timeout: 190ms, rise: 1, fall: 2 }";
    let addresses = origins.each_ref().map(|origin| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, &format!("{check}\n{more}")));
    (origins, switches, evenkeel)
}

#[test]
fn below_the_threshold_everybody_is_asked_and_above_it_the_healthy() {
    let (_origins, sick, evenkeel) = four("panic_threshold: 50%");
    sick[..2].iter().for_each(|sick| sick.store(true, SeqCst));
    wait_until("two are out", || evenkeel.admitted() == 2);
    assert_eq!(of(&tally(&evenkeel, 4, 80), &["c", "d"]), 80, "a half is not less than a half");
    sick[2].store(true, SeqCst);
    wait_until("three are out", || evenkeel.admitted() == 1);
    let panicking = tally(&evenkeel, 4, 80);
    assert!(NAMES.iter().all(|name| panicking[*name] >= 15), "{panicking:?}");
    // One back makes a half.
    sick[0].store(false, SeqCst);
    wait_until("one is back", || evenkeel.admitted() == 2);
    assert_eq!(of(&tally(&evenkeel, 4, 80), &["a", "d"]), 80);
}

#[test]
fn users_get_answers_although_three_of_four_are_dead() {
    let mut origins = NAMES.map(Origin::saying);
    let addresses = origins.each_ref().map(|origin| origin.address);
    let more = format!("panic_threshold: 50%\nretry: {{ attempts: 4 }}\n{QUICK_CHECK}");
    let evenkeel = Evenkeel::start(&pool(&addresses, &more));
    origins[1..].iter_mut().for_each(Origin::stop);
    wait_until("three are out", || evenkeel.admitted() == 1);
    let before = evenkeel.metric(RETRIES);
    assert_eq!(of(&tally(&evenkeel, 4, 80), &["a"]), 80);
    // Of equal turns, three of four begin with a dead one.
    assert!(evenkeel.metric(RETRIES) - before >= 60.0, "{} retries", evenkeel.metric(RETRIES) - before);
    origins[1..].iter_mut().for_each(Origin::restart);
    wait_until("all are back", || evenkeel.admitted() == 4);
    let before = evenkeel.metric(RETRIES);
    let normal = tally(&evenkeel, 4, 80);
    assert!(NAMES.iter().all(|name| normal[*name] == 20), "{normal:?}");
    assert_eq!(evenkeel.metric(RETRIES), before);
}

#[test]
fn without_a_threshold_the_last_healthy_one_gets_everything() {
    let (_origins, sick, evenkeel) = four("");
    sick[1..].iter().for_each(|sick| sick.store(true, SeqCst));
    wait_until("three are out", || evenkeel.admitted() == 1);
    assert_eq!(of(&tally(&evenkeel, 4, 80), &["a"]), 80);
}

#[test]
fn try_any_asks_everybody_until_one_recovers() {
    let (_origins, sick, evenkeel) = four("when_unavailable: try_any");
    sick.iter().for_each(|sick| sick.store(true, SeqCst));
    wait_until("all are out", || evenkeel.admitted() == 0 && evenkeel.get("/").status == 200);
    let any = tally(&evenkeel, 4, 80);
    assert!(NAMES.iter().all(|name| any[*name] >= 15), "{any:?}");
    sick[3].store(false, SeqCst);
    wait_until("one is back", || evenkeel.admitted() == 1);
    assert_eq!(of(&tally(&evenkeel, 4, 80), &["d"]), 80);
}
