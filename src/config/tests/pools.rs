//! `pools`.

use std::time::Duration;

use super::super::{Action, Balance, Budget, Hedge, HedgeAfter, Percent, RetryOn, Source};
use super::{at, parsed, refuses, with};

#[test]
fn a_pool_has_one_source() {
    refuses(
        &with(
            r"    discovery: dns
",
        ),
        &[r"5:16: pools.web.discovery: cannot stand beside 'backends': a pool has one source"],
    );
}

#[test]
fn a_pool_needs_a_source() {
    refuses(
        r"listeners: [{ address: :80 }]
pools: { web: {} }
",
        &[r"2:10: pools.web: needs 'backends', like backends: [127.0.0.1:8001], or 'discovery'"],
    );
}

#[test]
fn durations_need_a_unit_and_bounds() {
    refuses(
        &with(
            r"    timeouts: { connect: 2, read: 0s, write: 1M, idle: 400d, request: abc, tunnel: [1s] }
",
        ),
        &[
            r"5:26: pools.web.timeouts.connect: must be a duration with its unit, like 2s or 250ms, got 2 (write 2s or 2ms)",
            r"5:35: pools.web.timeouts.read: must be more than 0, got '0s'",
            r"5:46: pools.web.timeouts.write: must be a duration with its unit, like 2s or 250ms, got '1M' (units: ms, s, m, h, d)",
            r"5:56: pools.web.timeouts.idle: must be 1ms to 365d, got '400d'",
            r"5:71: pools.web.timeouts.request: must be a duration with its unit, like 2s or 250ms, got 'abc' (units: ms, s, m, h, d)",
            r"5:76: pools.web.timeouts.tunnel: must be a duration with its unit, like 2s or 250ms, got a list",
        ],
    );
}

#[test]
fn a_key_without_a_value_is_refused() {
    refuses(
        &with(
            r"    timeouts:
      idle:
",
        ),
        &[r"6:7: pools.web.timeouts.idle: must be a duration with its unit, like 2s or 250ms, got nothing"],
    );
}

#[test]
fn retries_are_checked() {
    refuses(
        &with(
            r"    retry:
      attempts: 0
      on: [x, connect, 200, 600]
      per_try_timeout: 60s
      backoff: { base: 1s, max: 10ms }
      budget: { percent: 101%, min_per_second: -1 }
      max_in_flight: 0
    when_unavailable: maybe
",
        ),
        &[
            r"6:17: pools.web.retry.attempts: must be 1 to 10, got 0 (1 is the first attempt alone)",
            r"7:12: pools.web.retry.on[0]: must be connect, reset, timeout, refused_stream, a status from 400 to 599 or one of gRPC, like unavailable, got 'x'",
            r"7:24: pools.web.retry.on[2]: must be a status of a failure, 400 to 599, got 200",
            r"7:29: pools.web.retry.on[3]: must be connect, reset, timeout, refused_stream, a status from 400 to 599 or one of gRPC, like unavailable, got 600",
            r"8:24: pools.web.retry.per_try_timeout: must be below timeouts.request (1m), got '60s'",
            r"9:33: pools.web.retry.backoff.max: must be at least base (1s), got '10ms'",
            r"10:26: pools.web.retry.budget.percent: must be 0% to 100%, got '101%'",
            r"10:48: pools.web.retry.budget.min_per_second: must be 0 to 1000, got -1",
            r"11:22: pools.web.retry.max_in_flight: must be 1 to 4294967295, got 0",
            r"12:23: pools.web.when_unavailable: must be reject or try_any, got 'maybe'",
        ],
    );
}

#[test]
fn the_forms_of_retry_and_hedge() {
    let pool = |rest: &str| parsed(&with(rest)).pools.swap_remove(0);
    assert_eq!(pool("    retry: off\n").retry.attempts, 1);
    let retry =
        pool("    retry: { on: 429, backoff: off, budget: 10%, non_idempotent: true, max_in_flight: 5 }\n").retry;
    assert_eq!(retry.on, RetryOn { statuses: vec![429], ..RetryOn::NEVER });
    assert_eq!((retry.backoff, retry.non_idempotent, retry.max_in_flight), (None, true, Some(5)));
    assert_eq!(retry.budget, Some(Budget { percent: Percent(10), min_per_second: 3 }));
    assert_eq!(pool("    retry: { budget: off }\n").retry.budget, None);
    let backoff = pool("    retry: { backoff: { base: 1s } }\n").retry.backoff.unwrap();
    assert_eq!((backoff.base, backoff.max), (Duration::from_secs(1), Duration::from_secs(1)));
    assert_eq!(pool("    hedge: { after: p95 }\n").hedge, Some(Hedge { after: HedgeAfter::Percentile(95) }));
    let after = HedgeAfter::Delay(Duration::from_millis(50));
    assert_eq!(pool("    hedge: { after: 50ms }\n").hedge, Some(Hedge { after }));
    assert_eq!(pool("    hedge: off\n").hedge, None);
    assert_eq!(pool("    deadline_header: X-Left\n").deadline_header.as_deref(), Some("x-left"));
}

#[test]
fn a_hedge_must_come_in_time() {
    for (rest, line) in [
        ("hedge: {}", "5:5: pools.web.hedge: needs 'after', like after: p95"),
        (
            "hedge: { after: p100 }",
            "5:21: pools.web.hedge.after: must be a percentile from p50 to p99, or a duration like 50ms, got 'p100'",
        ),
        ("hedge: { after: 2m }", "5:21: pools.web.hedge.after: must be below timeouts.request (1m), got '2m'"),
    ] {
        refuses(&with(&format!("    {rest}\n")), &[line]);
    }
    refuses(
        &with("    hedge: { after: 2s }\n    retry: { per_try_timeout: 1s }\n    sticky: { cookie: lb }\n"),
        &[
            "5:5: pools.web.hedge: cannot stand beside 'sticky': a second attempt would leave the client's backend",
            "5:21: pools.web.hedge.after: must be below retry.per_try_timeout (1s), got '2s'",
        ],
    );
}

#[test]
fn a_deadline_header_may_not_be_one_of_framing() {
    refuses(
        &with("    deadline_header: Content-Length\n"),
        &["5:22: pools.web.deadline_header: cannot be content-length, which has a meaning of its own"],
    );
}

#[test]
fn the_forms_of_a_pool() {
    let config = parsed(
        "listeners: [{ address: :80 }]\npools:\n  web:\n    backends: [10.0.0.1:1, '[::1]:2', Host.Example:3, unix:/s]\n  \
         own:\n    discovery: { dns: { name: x, port: 8080 } }\n    balance: mine\n  off: { discovery: etcd, health_check: off }\n\
         routes: [{ pool: off }]\n",
    );
    let Source::Backends(backends) = &config.pools[0].source else { panic!() };
    let addresses: Vec<_> = backends.iter().map(|b| b.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.1:1", "[::1]:2", "host.example:3", "unix:/s"]);
    assert_eq!((config.pools[1].at.0, backends[1].at.0), (at(5, 3), at(4, 28)));
    let Source::Discovery(dns) = &config.pools[1].source else { panic!() };
    assert_eq!(
        (dns.name.as_str(), dns.options.at.0, dns.options.key.as_str()),
        ("dns", at(6, 18), "pools.own.discovery.dns")
    );
    assert_eq!(dns.options.value, serde_json::json!({ "name": "x", "port": 8080 }));
    let Balance::Extension(balance) = &config.pools[1].balance else { panic!() };
    assert_eq!((balance.name.as_str(), &balance.options.value), ("mine", &serde_json::Value::Null));
    assert_eq!(config.pools[2].health_check, None);
    assert_eq!(config.routes[0].action, Action::Pool(2));
}

#[test]
fn options_keep_their_types() {
    let config = parsed(&with("    balance: { own: { a: [1, -2, 1.5, true, ~, x, '1', inf, 1_0, 0x1f] } }\n"));
    let Balance::Extension(own) = &config.pools[0].balance else { panic!() };
    let expected = serde_json::json!({ "a": [1, -2, 1.5, true, null, "x", "1", "inf", "1_0", "0x1f"] });
    assert_eq!(own.options.value, expected);
}
