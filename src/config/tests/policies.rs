//! The policies of a pool: `sticky`, `slow_start`, `max_in_flight`, `queue`, `zone`, `overflow`, `panic_threshold`.

use std::path::Path;
use std::time::Duration;

use super::super::{Percent, Pool, Queue, Sticky, Zone};
use super::{at, parsed, refuses, with};

fn pool(rest: &str) -> Pool {
    parsed(&with(rest)).pools.remove(0)
}

/// A pool whose backends stand in two zones; `rest` goes on in it.
fn zoned(rest: &str) -> String {
    format!(
        "listeners: [{{ address: :80 }}]\npools:\n  web:\n    backends:\n      - {{ address: a:1, zone: eu-1a }}\n      \
         - {{ address: b:1, zone: eu-1b }}\n      - c:1\n{rest}"
    )
}

#[test]
fn percentages_have_a_sign() {
    let whole = "must be a whole percentage, 0% to 100%, got";
    for (text, message) in [
        ("70", format!("{whole} 70 (write 70%)")),
        ("0.7", format!("{whole} 0.7 (write 70%)")),
        ("1", format!("{whole} 1 (write 1%)")),
        ("'70 %'", format!("{whole} '70 %' (write 70%)")),
        ("+70%", format!("{whole} '+70%' (write 70%)")),
        ("70.5%", format!("{whole} '70.5%'")),
        ("700", format!("{whole} 700")),
        ("-1", format!("{whole} -1")),
        (".inf", format!("{whole} '.inf'")),
        ("NaN", format!("{whole} NaN")),
        ("'%'", format!("{whole} '%'")),
        ("half", format!("{whole} 'half'")),
        ("true", format!("{whole} true")),
        ("101%", "must be 0% to 100%, got '101%'".to_owned()),
        ("99999%", "must be 0% to 100%, got '99999%'".to_owned()),
    ] {
        refuses(&with(&format!("    overflow: {text}\n")), &[&format!("5:15: pools.web.overflow: {message}")]);
    }
    refuses(&with("    panic_threshold:\n"), &[&format!("5:5: pools.web.panic_threshold: {whole} nothing")]);
    refuses(&with("    panic_threshold: [1%]\n"), &[&format!("5:5: pools.web.panic_threshold: {whole} a list")]);
}

#[test]
fn percentages_arrive() {
    let read = |text: &str| pool(&format!("    overflow: {text}\n    panic_threshold: {text}\n"));
    for (text, percent) in [("0%", 0), ("70%", 70), ("'100%'", 100), ("off", 0), ("false", 0)] {
        let pool = read(text);
        assert_eq!((pool.overflow, pool.panic_threshold), (Percent(percent), Percent(percent)), "{text}");
    }
}

#[test]
fn a_sticky_cookie_is_checked() {
    let token = "1 to 100 letters, digits and any of !#$%&'*+-.^_`|~";
    refuses(&with("    sticky: backend\n"), &["5:13: pools.web.sticky: must be off or a map of keys, got 'backend'"]);
    refuses(&with("    sticky: { ttl: 1h }\n"), &["5:5: pools.web.sticky: needs 'cookie', like cookie: backend"]);
    refuses(
        &with("    sticky: { cookie: 'a b', ttl: 3600, secret_file: [x], domain: d }\n"),
        &[
            &format!("5:23: pools.web.sticky.cookie: must be the name of a cookie, {token}, got 'a b'"),
            "5:35: pools.web.sticky.ttl: must be a duration with its unit, like 2s or 250ms, got 3600 (write 3600s or 3600ms)",
            "5:41: pools.web.sticky.secret_file: must be the path of a file, got a list",
            "5:59: pools.web.sticky.domain: unknown key; allowed here: cookie, ttl, drain_grace or secret_file",
        ],
    );
    refuses(
        &with("    sticky: { cookie: '', secret_file: \"hunter2\\n\" }\n"),
        &[
            &format!("5:23: pools.web.sticky.cookie: must be the name of a cookie, {token}, got ''"),
            "5:40: pools.web.sticky.secret_file: must be the path of a file, got a value that is not shown here",
        ],
    );
}

#[test]
fn the_forms_of_a_sticky_cookie() {
    assert_eq!(pool("    sticky: off\n").sticky, None);
    let drain_grace = Duration::from_secs(10);
    let plain = Sticky { cookie: "lb".into(), ttl: None, drain_grace, secret_file: None, at: at(5, 5).into() };
    assert_eq!(pool("    sticky: { cookie: lb }\n").sticky, Some(plain));
    let file = Path::new("/etc/sticky.secret").to_path_buf();
    let ttl = Some(Duration::from_secs(3600));
    let drain_grace = Duration::from_millis(1500);
    let whole = Sticky { cookie: "__Host-lb".into(), ttl, drain_grace, secret_file: Some(file), at: at(5, 77).into() };
    let text = "    sticky: { cookie: __Host-lb, ttl: 1h, drain_grace: 1500ms, secret_file: sticky.secret }\n";
    assert_eq!(pool(text).sticky, Some(whole));
    let none = pool("    sticky: { cookie: lb, drain_grace: off }\n").sticky.unwrap();
    assert_eq!(none.drain_grace, Duration::ZERO);
}

#[test]
fn a_grace_for_draining_is_checked() {
    let wanted = "pools.web.sticky.drain_grace: must be";
    for (text, message) in [
        ("10", "a duration with its unit, like 2s or 250ms, got 10 (write 10s or 10ms)"),
        ("0s", "more than 0, got '0s'"),
        ("forever", "a duration with its unit, like 2s or 250ms, got 'forever' (units: ms, s, m, h, d)"),
    ] {
        let yaml = with(&format!("    sticky: {{ cookie: lb, drain_grace: {text} }}\n"));
        refuses(&yaml, &[&format!("5:40: {wanted} {message}")]);
    }
}

#[test]
fn numbers_and_durations_are_checked() {
    refuses(
        &with("    slow_start: 30\n    max_in_flight: 0\n    queue: { size: 0, timeout: 0s, length: 1 }\n"),
        &[
            "5:17: pools.web.slow_start: must be a duration with its unit, like 2s or 250ms, got 30 (write 30s or 30ms)",
            "6:20: pools.web.max_in_flight: must be 1 to 4294967295, got 0 (write off for any number)",
            "7:20: pools.web.queue.size: must be 1 to 1000000, got 0",
            "7:32: pools.web.queue.timeout: must be more than 0, got '0s'",
            "7:36: pools.web.queue.length: unknown key; allowed here: size or timeout",
        ],
    );
    refuses(
        &with("    max_in_flight: 1\n    queue: 1000\n"),
        &["6:12: pools.web.queue: must be off or a map of keys, got 1000"],
    );
}

#[test]
fn a_queue_needs_a_limit() {
    let nothing = "pools.web.queue: does nothing without 'max_in_flight' on the pool or on a backend";
    refuses(&with("    queue: {}\n"), &[&format!("5:5: {nothing}")]);
    refuses(&with("    max_in_flight: off\n    queue: { size: 1 }\n"), &[&format!("6:5: {nothing}")]);
    refuses(
        "listeners: [{ address: :80 }]\npools: { web: { queue: {}, backends: [{ address: a:1, max_in_flight: off }] } }\n",
        &[&format!("2:17: {nothing}")],
    );
}

#[test]
fn a_limit_anywhere_will_do_for_a_queue() {
    assert_eq!(pool("    queue: {}\n    max_in_flight: 1\n").queue, Some(Queue::default()));
    let one = "listeners: [{ address: :80 }]\npools: { web: { queue: {}, backends: [b:1, { address: a:1, max_in_flight: 1 }] } }\n";
    assert_eq!(parsed(one).pools[0].queue, Some(Queue::default()));
    let discovered = "listeners: [{ address: :80 }]\npools: { web: { queue: {}, discovery: mine, zone: anywhere } }\n";
    let pool = &parsed(discovered).pools[0];
    assert_eq!((pool.queue, pool.zone.as_ref().unwrap().name.as_str()), (Some(Queue::default()), "anywhere"));
}

#[test]
fn a_wrong_backend_is_the_only_mistake_that_it_makes() {
    refuses(
        "listeners: [{ address: :80 }]\npools:\n  web:\n    queue: {}\n    zone: a\n    \
         backends: [{ address: a, zone: a, max_in_flight: 1 }]\n",
        &[
            "6:27: pools.web.backends[0].address: must be ip:port, host:port or unix:/path, got 'a' (the port is missing)",
        ],
    );
}

#[test]
fn the_forms_of_the_limits() {
    let off = pool("    slow_start: off\n    max_in_flight: off\n    queue: off\n    zone: off\n");
    assert_eq!((off.slow_start, off.max_in_flight, off.queue, off.zone), (None, None, None, None));
    let on = pool("    slow_start: 30s\n    max_in_flight: 4294967295\n    queue: { size: 1000000, timeout: 250ms }\n");
    assert_eq!((on.slow_start, on.max_in_flight), (Some(Duration::from_secs(30)), Some(u32::MAX)));
    assert_eq!(on.queue, Some(Queue { size: Queue::MAX_SIZE, timeout: Duration::from_millis(250) }));
}

#[test]
fn a_zone_must_be_one_of_the_backends() {
    let nobody = "no backend of this pool is in zone";
    refuses(&with("    zone: eu\n"), &[&format!("5:11: pools.web.zone: {nobody} 'eu'")]);
    refuses(&zoned("    zone: us-east\n"), &[&format!("8:11: pools.web.zone: {nobody} 'us-east'")]);
    refuses(
        &zoned("    zone: { minimum: 50%, name: eu_1b }\n"),
        &[&format!("8:33: pools.web.zone.name: {nobody} 'eu_1b', did you mean 'eu-1b'?")],
    );
}

#[test]
fn a_zone_is_checked() {
    refuses(
        &zoned("    zone: eu 1a\n"),
        &["8:11: pools.web.zone: must be named with 1 to 100 letters, digits, '_', '-' and '.', got 'eu 1a'"],
    );
    refuses(
        &zoned("    zone: { minimum: 0.5, nam: eu-1a }\n"),
        &[
            "8:5: pools.web.zone: needs 'name', like name: eu-1a",
            "8:22: pools.web.zone.minimum: must be a whole percentage, 0% to 100%, got 0.5 (write 50%)",
            "8:27: pools.web.zone.nam: unknown key, did you mean 'name'?",
        ],
    );
    refuses(
        &zoned("    zone: [eu-1a]\n"),
        &["8:5: pools.web.zone: must be off, the name of a zone or a map of keys, got a list"],
    );
}

#[test]
fn the_forms_of_a_zone() {
    let zone = |text: &str| parsed(&zoned(&format!("    zone: {text}\n"))).pools.remove(0).zone;
    let named = |minimum| Some(Zone { name: "eu-1a".into(), minimum: Percent(minimum) });
    assert_eq!(zone("eu-1a"), named(70));
    assert_eq!(zone("{ name: eu-1a }"), named(70));
    assert_eq!(zone("{ name: eu-1a, minimum: 0% }"), named(0));
    assert_eq!(zone("{ name: eu-1a, minimum: 100% }"), named(100));
}
