//! `backends` of a pool.

use super::super::{Backend, Source};
use super::{parsed, refuses, with};

#[test]
fn backends_are_checked() {
    refuses(
        &with(
            r#"  "a b": { backends: [b:1, 10.0.0.1, http://x:1, 1.2.3.4.5:80, -a:1, b:0, "::1:80", "unix:x", "x y:1"] }
"#,
        ),
        &[
            r"1:1: needs 'routes' to say which of the 2 pools a request goes to, like routes: [{ pool: web }]",
            r"5:3: pools.a b: must be named with 1 to 100 letters, digits, '_', '-' and '.', got 'a b'",
            r"5:28: pools.a b.backends[1]: must be ip:port, host:port or unix:/path, got '10.0.0.1' (the port is missing)",
            r"5:38: pools.a b.backends[2]: must be ip:port, host:port or unix:/path, got 'http://x:1' (no scheme and no path: a backend is an address)",
            r"5:50: pools.a b.backends[3]: must be ip:port, host:port or unix:/path, got '1.2.3.4.5:80' (not a valid IP address)",
            r"5:64: pools.a b.backends[4]: must be ip:port, host:port or unix:/path, got '-a:1' (not a valid host name: labels of letters, digits and inner '-', with dots between)",
            r"5:70: pools.a b.backends[5]: must be ip:port, host:port or unix:/path, got 'b:0' (a port is 1 to 65535)",
            r"5:75: pools.a b.backends[6]: must be ip:port, host:port or unix:/path, got '::1:80' (an IPv6 address needs brackets and a port, like [::1]:80)",
            r"5:85: pools.a b.backends[7]: must be an absolute path after 'unix:', like unix:/run/app.sock, got 'x'",
            r"5:95: pools.a b.backends[8]: must be ip:port, host:port or unix:/path, got 'x y:1' (not a valid host name: labels of letters, digits and inner '-', with dots between)",
        ],
    );
}

#[test]
fn the_same_backend_twice_is_refused() {
    refuses(
        r"listeners: [{ address: :80 }]
pools:
  web: { backends: [a:1, A:1, { address: 'a.:1' }, { weight: 2 }, [x]] }
",
        &[
            r"3:26: pools.web.backends[1]: a:1 is backends[0] (line 3) already; give it a weight for more traffic",
            r"3:42: pools.web.backends[2].address: a:1 is backends[0] (line 3) already; give it a weight for more traffic",
            r"3:52: pools.web.backends[3]: needs 'address', like address: 127.0.0.1:8001",
            r"3:67: pools.web.backends[4]: must be an address or a map of keys, got a list",
        ],
    );
}

#[test]
fn what_stands_beside_an_address_is_checked() {
    refuses(
        r"listeners: [{ address: :80 }]
pools:
  web:
    backends:
      - { address: a:1, zone: a b, priority: 10, max_in_flight: 0 }
      - { address: b:1, zone: [x], priority: -1, max_in_flight: 4294967296 }
      - { address: c:1, backup: yes, max_in_fligt: 1 }
",
        &[
            "5:31: pools.web.backends[0].zone: must be named with 1 to 100 letters, digits, '_', '-' and '.', got 'a b'",
            "5:46: pools.web.backends[0].priority: must be 0 to 9, got 10",
            "5:65: pools.web.backends[0].max_in_flight: must be 1 to 4294967295, got 0 (write off for any number)",
            "6:25: pools.web.backends[1].zone: must be the name of a zone, got a list",
            "6:46: pools.web.backends[1].priority: must be 0 to 9, got -1",
            "6:65: pools.web.backends[1].max_in_flight: must be 1 to 4294967295, got 4294967296",
            "7:33: pools.web.backends[2].backup: must be true or false, got 'yes'",
            "7:38: pools.web.backends[2].max_in_fligt: unknown key, did you mean 'max_in_flight'?",
        ],
    );
}

#[test]
fn a_priority_is_given_once() {
    refuses(
        r"listeners: [{ address: :80 }]
pools:
  web:
    backends:
      - { address: a:1, priority: 1, backup: true }
      - { address: b:1, backup: false, priority: 0 }
",
        &[
            "5:46: pools.web.backends[0].backup: cannot stand beside 'priority': backup: true is the same as priority: 1",
            "6:50: pools.web.backends[1].priority: cannot stand beside 'backup': backup: true is the same as priority: 1",
        ],
    );
}

#[test]
fn the_forms_of_a_backend() {
    let config = parsed(
        "listeners: [{ address: :80 }]\npools:\n  web:\n    backends: [\n      a:1,\n      { address: b:1 },\n      \
         { address: c:1, weight: 5, zone: eu-1a, priority: 9, max_in_flight: 4294967295 },\n      \
         { address: d:1, backup: true, max_in_flight: off }, { address: e:1, backup: false, zone: 1 }]\n",
    );
    let Source::Backends(backends) = &config.pools[0].source else { panic!() };
    let read = |b: &Backend| (b.weight, b.zone.clone(), b.priority, b.max_in_flight);
    let read: Vec<_> = backends.iter().map(read).collect();
    assert_eq!(
        read,
        [
            (1, None, 0, None),
            (1, None, 0, None),
            (5, Some("eu-1a".into()), 9, Some(u32::MAX)),
            (1, None, 1, None),
            (1, Some("1".into()), 0, None),
        ]
    );
}
