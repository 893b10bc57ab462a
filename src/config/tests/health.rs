//! `health_check`.

use http::Method;

use super::super::{GrpcProbe, HttpProtocol, Probe};
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
      http: { path: x y, expect: [99, 200-100, 600, abc], host: "a b", port: 0, body: "(", methods: GET }
"#,
        ),
        &[
            r"6:21: pools.web.health_check.http.path: must be a path that starts with '/', without spaces, got 'x y'",
            r"6:35: pools.web.health_check.http.expect[0]: must be a status from 100 to 599, like 200, or a range of them, like 200-299, got 99",
            r"6:65: pools.web.health_check.http.host: must be a host name, as a Host header has it, got 'a b'",
            r"6:78: pools.web.health_check.http.port: must be 1 to 65535, got 0",
            r"6:87: pools.web.health_check.http.body: is not a regular expression: unclosed group, in '('",
            r"6:92: pools.web.health_check.http.methods: unknown key, did you mean 'method'?",
        ],
    );
}

#[test]
fn what_an_http_probe_sends_is_checked() {
    refuses(
        &with(
            r#"    health_check:
      http:
        path: /a#b
        method: get
        send: ""
        headers: { Host: x, content-length: 1, "a b": 1, X-A: 1, x-a: 2, Authorization: "no\nt this", Accept: {} }
        max_body: 0KiB
        protocol: h3
"#,
        ),
        &[
            r"7:15: pools.web.health_check.http.path: must be a path that starts with '/', without spaces, got '/a#b'",
            r"8:17: pools.web.health_check.http.method: must be a method in capitals, like GET, HEAD or POST, got 'get'",
            r"9:15: pools.web.health_check.http.send: must be the text of a request's body, got ''",
            r"10:26: pools.web.health_check.http.headers.Host: is set by 'host', beside 'headers'",
            r"10:45: pools.web.health_check.http.headers.content-length: is set by the check itself",
            r"10:55: pools.web.health_check.http.headers.a b: is not the name of a header",
            r"10:71: pools.web.health_check.http.headers.x-a: is there twice: case makes no difference",
            r"10:89: pools.web.health_check.http.headers.Authorization: must be a text of one line",
            r"10:103: pools.web.health_check.http.headers.Accept: must be a text of one line",
            r"11:19: pools.web.health_check.http.max_body: must be more than 0, got '0KiB'",
            r"12:19: pools.web.health_check.http.protocol: must be h1 or h2, got 'h3'",
        ],
    );
}

#[test]
fn a_head_has_no_body_to_match() {
    refuses(
        &with(
            r"    health_check: { http: { method: HEAD, body: ok } }
",
        ),
        &[r"5:49: pools.web.health_check.http.body: cannot match anything: what answers a HEAD has no body"],
    );
}

#[test]
fn tls_needs_a_name_to_verify() {
    refuses(
        &with(
            r"    health_check: { grpc: { tls: { ca: ca.pem } } }
  two:
    backends: [a:2]
    health_check: { http: { tls: { insecure_skip_verify: true, ca: ca.pem, server_name: 'a:1', name: x } } }
  three:
    backends: [a:3]
    health_check: { grpc: { service: '', tls: on, authority: x, port: 70000 } }
routes: [{ pool: web }]
",
        ),
        &[
            r"5:29: pools.web.health_check.grpc.tls: needs 'server_name', like server_name: api.internal, or 'host' beside 'tls': the certificate is verified against it",
            r"8:68: pools.two.health_check.http.tls.ca: cannot stand beside insecure_skip_verify: nothing is verified",
            r"8:89: pools.two.health_check.http.tls.server_name: must be a host name or an IP address, without a port, got 'a:1'",
            r"8:96: pools.two.health_check.http.tls.name: unknown key; allowed here: server_name, insecure_skip_verify or ca",
            r"11:38: pools.three.health_check.grpc.service: must be the full name of a service, like shop.v1.Orders, got ''",
            r"11:47: pools.three.health_check.grpc.tls: must be off or a map of keys, got 'on'",
            r"11:51: pools.three.health_check.grpc.authority: unknown key; allowed here: port, service, host or tls",
            r"11:71: pools.three.health_check.grpc.port: must be 1 to 65535, got 70000",
        ],
    );
}

#[test]
fn both_intervals_must_be_above_the_timeout() {
    refuses(
        &with(
            r"    health_check: { unhealthy_interval: 2s }
  two:
    backends: [a:2]
    health_check: { interval: 9s, unhealthy_interval: 1s, timeout: 1s }
routes: [{ pool: web }]
",
        ),
        &[
            r"5:41: pools.web.health_check.unhealthy_interval: must be above timeout (2s, the default), got 2s",
            r"8:55: pools.two.health_check.unhealthy_interval: must be above timeout (1s), got 1s",
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
    let intervals =
        |text: &str| check(text).map(|check| (check.interval.as_secs(), check.unhealthy_interval.as_secs()));
    assert_eq!(intervals("{ interval: 7s }"), Some((7, 7)));
    assert_eq!(intervals("{ interval: 7s, unhealthy_interval: 30s }"), Some((7, 30)));
    let Probe::Extension(own) = check("{ mysql: { user: x }, initial: up, rise: 1 }").unwrap().probe else { panic!() };
    assert_eq!((own.name.as_str(), own.options.key.as_str()), ("mysql", "pools.web.health_check.mysql"));
}

#[test]
fn the_forms_of_a_request() {
    let probe = |text: &str| {
        let mut config = parsed(&with(&format!("    health_check: {{ http: {text} }}\n")));
        match config.pools.remove(0).health_check.unwrap().probe {
            Probe::Http(http) => *http,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(probe("{ send: x }").method, Method::POST);
    assert_eq!(probe("{ send: x, method: PUT }").method, Method::PUT);
    let http = probe("{ method: HEAD, protocol: h2, max_body: 1KiB, headers: { X-A: 1, accept: '*/*' } }");
    assert_eq!((http.method, http.protocol, http.max_body), (Method::HEAD, HttpProtocol::H2, 1024));
    let headers: Vec<_> = http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(headers, [("x-a", &b"1"[..]), ("accept", b"*/*")]);
    assert_eq!(probe("{ tls: off }").tls, None);
    let tls = probe("{ host: 'a.b:8443', tls: { ca: ca.pem } }").tls.unwrap();
    assert_eq!((tls.server_name.as_deref(), tls.ca.unwrap().to_str()), (Some("a.b"), Some("/etc/ca.pem")));
    let name = |text: &str| probe(text).tls.unwrap().server_name;
    assert_eq!(name("{ host: '[::1]:8443', tls: {} }").as_deref(), Some("::1"));
    assert_eq!(name("{ host: a.b, tls: { server_name: 10.0.0.1 } }").as_deref(), Some("10.0.0.1"));
    assert_eq!(name("{ tls: { insecure_skip_verify: true } }"), None);
}

#[test]
fn the_forms_of_a_grpc_probe() {
    let probe = |text: &str| {
        let mut config = parsed(&with(&format!("    health_check: {{ grpc: {text} }}\n")));
        match config.pools.remove(0).health_check.unwrap().probe {
            Probe::Grpc(grpc) => grpc,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((probe("{}"), probe("")), (GrpcProbe::default(), GrpcProbe::default()));
    let grpc = probe("{ service: shop.v1.Orders, host: a.b, port: 9, tls: {} }");
    assert_eq!((grpc.service.as_str(), grpc.host.as_deref(), grpc.port), ("shop.v1.Orders", Some("a.b"), Some(9)));
    assert_eq!(grpc.tls.unwrap().server_name.as_deref(), Some("a.b"));
}
