//! `pools`.

use super::super::{Action, Balance, Source};
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
            r"    retry: { attempts: 0, on: [x] }
    when_unavailable: maybe
",
        ),
        &[
            r"5:24: pools.web.retry.attempts: must be 1 to 10, got 0 (1 is the first attempt alone)",
            r"5:27: pools.web.retry.on: unknown key; allowed here: attempts",
            r"6:23: pools.web.when_unavailable: must be reject or try_any, got 'maybe'",
        ],
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
    assert_eq!((config.pools[1].at, backends[1].at), (at(5, 3), at(4, 28)));
    let Source::Discovery(dns) = &config.pools[1].source else { panic!() };
    assert_eq!(
        (dns.name.as_str(), dns.options.at, dns.options.key.as_str()),
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
