//! `health_check`.

use super::super::Probe;
use super::{parsed, refuses, with};

#[test]
fn the_numbers_are_checked() {
    refuses(
        &with(
            r"    health_check: { interval: 1s, timeout: 2s, rise: 0, fall: 101, initial: maybe }
",
        ),
        &[
            r"5:44: pools.web.health_check.timeout: must be below interval (1s), got 2s",
            r"5:54: pools.web.health_check.rise: must be 1 to 100, got 0",
            r"5:63: pools.web.health_check.fall: must be 1 to 100, got 101",
            r"5:77: pools.web.health_check.initial: must be probe, up or down, got 'maybe'",
        ],
    );
}

#[test]
fn an_interval_must_be_above_the_default_timeout() {
    refuses(
        &with(
            r"    health_check: { interval: 2s }
",
        ),
        &[r"5:31: pools.web.health_check.interval: must be above timeout (2s, the default), got 2s"],
    );
}

#[test]
fn a_timeout_must_be_below_the_default_interval() {
    refuses(
        &with(
            r#"    health_check: { timeout: 6s, rise: "3", fall: three }
"#,
        ),
        &[
            r"5:30: pools.web.health_check.timeout: must be below interval (5s, the default), got 6s",
            r"5:40: pools.web.health_check.rise: must be a whole number, 1 to 100, got the text '3' (take the quotes off)",
            r"5:51: pools.web.health_check.fall: must be a whole number, 1 to 100, got 'three'",
        ],
    );
}

#[test]
fn there_is_one_probe() {
    refuses(
        &with(
            r"    health_check: { tcp: {a: 1}, http: {}, mysql: {}, timout: 1s }
",
        ),
        &[
            r"5:27: pools.web.health_check.tcp.a: unknown key: tcp has no options",
            r"5:34: pools.web.health_check.http: is a second probe beside 'tcp' (line 5); a health check has one",
            r"5:44: pools.web.health_check.mysql: is a second probe beside 'tcp' (line 5); a health check has one",
            r"5:55: pools.web.health_check.timout: unknown key, did you mean 'timeout'?",
        ],
    );
}

#[test]
fn an_http_probe_is_checked() {
    refuses(
        &with(
            r#"    health_check:
      http: { path: x y, expect: [99, 200-100, 600, abc], host: "a b", port: 0, body: "(", method: GET }
"#,
        ),
        &[
            r"6:21: pools.web.health_check.http.path: must be a path that starts with '/', without spaces, got 'x y'",
            r"6:35: pools.web.health_check.http.expect[0]: must be a status from 100 to 599, like 200, or a range of them, like 200-299, got 99",
            r"6:65: pools.web.health_check.http.host: must be a host name, as a Host header has it, got 'a b'",
            r"6:78: pools.web.health_check.http.port: must be 1 to 65535, got 0",
            r"6:87: pools.web.health_check.http.body: is not a regular expression: unclosed group, in '('",
            r"6:92: pools.web.health_check.http.method: unknown key; allowed here: path, expect, host, port or body",
        ],
    );
}

#[test]
fn it_is_off_or_a_map() {
    refuses(
        &with(
            r"    health_check: on
",
        ),
        &[r"5:19: pools.web.health_check: must be off or a map of keys, got 'on'"],
    );
}

#[test]
fn two_extensions_are_one_too_many() {
    refuses(
        &with(
            r"    health_check: { mysql: {}, redis: {} }
",
        ),
        &[r"5:32: pools.web.health_check.redis: is a second probe beside 'mysql' (line 5); a health check has one"],
    );
}

#[test]
fn an_extension_needs_a_proper_name() {
    refuses(
        &with(
            r"    health_check: { 'my sql': {} }
",
        ),
        &[
            r"5:21: pools.web.health_check.my sql: must be named with 1 to 100 letters, digits, '_', '-' and '.', got 'my sql'",
        ],
    );
}

#[test]
fn the_forms_of_a_health_check() {
    let check = |text: &str| parsed(&with(&format!("    health_check: {text}\n"))).pools.remove(0).health_check;
    assert_eq!(check("off"), None);
    assert_eq!(check("{ tcp: {} }").unwrap().probe, Probe::Tcp);
    assert_eq!(check("{ tcp: }").unwrap().probe, Probe::Tcp);
    let Probe::Http(http) =
        check("{ http: { path: /x?y, expect: [200-299, 301], host: a.b:1, port: 2, body: ok } }").unwrap().probe
    else {
        panic!()
    };
    assert_eq!((http.path.as_str(), http.expect, http.port), ("/x?y", vec![(200, 299), (301, 301)], Some(2)));
    assert_eq!((http.host.as_deref(), http.body.unwrap().as_str()), (Some("a.b:1"), "ok"));
    let Probe::Http(http) = check("{ http: { expect: 204 } }").unwrap().probe else { panic!() };
    assert_eq!(http.expect, [(204, 204)]);
    let Probe::Extension(own) = check("{ mysql: { user: x }, initial: up, rise: 1 }").unwrap().probe else { panic!() };
    assert_eq!((own.name.as_str(), own.options.key.as_str()), ("mysql", "pools.web.health_check.mysql"));
}
