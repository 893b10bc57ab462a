//! `max_connections`, `concurrency` and `priority`.

use super::super::{Adaptive, Percent, Pool, Priority};
use super::{parsed, refuses, with};

fn pool(rest: &str) -> Pool {
    parsed(&with(rest)).pools.remove(0)
}

#[test]
fn the_forms_of_concurrency() {
    let (default, read) = (Adaptive::default(), |text: &str| pool(&format!("    concurrency: {text}\n")).concurrency);
    assert_eq!(pool("").concurrency, None);
    for (text, expected) in [
        ("off", None),
        ("adaptive", Some(default)),
        ("{ adaptive: {} }", Some(default)),
        ("{ adaptive: }", Some(default)),
        ("{ adaptive: { max: 20000 } }", Some(Adaptive { max: 20000, ..default })),
        ("{ adaptive: { max: 2 } }", Some(Adaptive { min: 2, max: 2 })),
        ("{ adaptive: { min: 7, max: 7 } }", Some(Adaptive { min: 7, max: 7 })),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn mistakes_in_concurrency() {
    let forms = "off, adaptive or { adaptive: { min: 4, max: 1000 } }";
    let one = |text: &str, mistakes: &[&str]| refuses(&with(&format!("    concurrency: {text}\n")), mistakes);
    one("gradient", &[&format!("5:18: pools.web.concurrency: must be {forms}, got 'gradient'")]);
    one(
        "100",
        &[&format!("5:18: pools.web.concurrency: must be {forms}, got 100 (a fixed limit is max_in_flight: 100)")],
    );
    one("[adaptive]", &[&format!("5:5: pools.web.concurrency: must be {forms}, got a list")]);
    one("{}", &["5:5: pools.web.concurrency: needs 'adaptive', like adaptive: { max: 1000 }"]);
    one(
        "{ adaptive: { min: 0, max: 1000001, step: 1 } }",
        &[
            "5:37: pools.web.concurrency.adaptive.min: must be 1 to 1000000, got 0",
            "5:45: pools.web.concurrency.adaptive.max: must be 1 to 1000000, got 1000001",
            "5:54: pools.web.concurrency.adaptive.step: unknown key; allowed here: min or max",
        ],
    );
    one(
        "{ adaptive: { min: 9, max: 8 } }",
        &["5:37: pools.web.concurrency.adaptive.min: must be at most 'max', 8, got 9"],
    );
    one(
        "{ adaptive: { min: 1001 } }",
        &["5:37: pools.web.concurrency.adaptive.min: must be at most 'max', 1000, got 1001"],
    );
}

/// A queue is for those who find `max_in_flight` reached.
#[test]
fn a_queue_needs_a_limit_at_which_one_waits() {
    refuses(
        &with("    concurrency: adaptive\n    queue: {}\n"),
        &["6:5: pools.web.queue: does nothing without 'max_in_flight' on the pool or on a backend"],
    );
}

#[test]
fn the_forms_of_max_connections() {
    let read = |text: &str| pool(&format!("    max_connections: {text}\n")).max_connections;
    assert_eq!((pool("").max_connections, read("off"), read("1"), read("65000")), (None, None, Some(1), Some(65000)));
    refuses(
        &with("    max_connections: 0\n"),
        &["5:22: pools.web.max_connections: must be 1 to 4294967295, got 0 (write off for any number)"],
    );
}

#[test]
fn the_priority_of_a_route() {
    let routes = "routes: [{ match: { path: /a }, pool: web, priority: high }, { match: { path: /b }, pool: web, priority: low }, \
                  { match: { path: /c }, pool: web, priority: normal }, { pool: web }]\n";
    let found: Vec<_> = parsed(&with(routes)).routes.iter().map(|route| route.priority).collect();
    assert_eq!(found, [Priority::High, Priority::Low, Priority::Normal, Priority::Normal]);
    assert_eq!([Priority::Low, Priority::Normal, Priority::High].map(Priority::share), [60, 80, 100].map(Percent));
    refuses(
        &with("routes: [{ pool: web, priority: 1 }]\n"),
        &["5:33: routes[0].priority: must be high, normal or low, got 1"],
    );
}
