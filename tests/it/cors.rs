//! `cors`: who may read which answers, and what a preflight is told.

use crate::support::evenkeel::{check, pool};
use crate::support::http2::Http2Client;
use crate::support::{Evenkeel, Origin, Response};

const APP: &str = "https://app.example.com";

/// With a backend that has other ideas.
fn start(options: &str, more: &str) -> (Evenkeel, Origin) {
    let origin = Origin::new(|exchange| {
        let status = if exchange.path() == "/broken" { "500 Oh" } else { "200 OK" };
        exchange.send(format!(
            "HTTP/1.1 {status}\r\nContent-Length: 2\r\nVary: Accept\r\nAccess-Control-Allow-Origin: *\r\n\
             Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-Its\r\n\r\nin"
        ))?;
        Ok(crate::support::Then::Keep)
    });
    let evenkeel = Evenkeel::start(&format!("filters: [{{ cors: {options} }}{more}]\n{}", pool(&[origin.address], "")));
    (evenkeel, origin)
}

fn from(evenkeel: &Evenkeel, method: &str, path: &str, headers: &str) -> Response {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
    evenkeel.client().send(request).read()
}

fn preflight(evenkeel: &Evenkeel, origin: &str) -> Response {
    from(evenkeel, "OPTIONS", "/", &format!("Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n"))
}

/// What it says to a browser, in order.
fn said(response: &Response) -> Vec<String> {
    let ours =
        |name: &str| name.to_ascii_lowercase().starts_with("access-control") || name.eq_ignore_ascii_case("vary");
    let mut said: Vec<String> = response
        .head
        .headers
        .iter()
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .collect();
    said.sort();
    said
}

const FULL: &str = "{ origins: ['https://app.example.com', 'https://*.example.org'], methods: [GET, PUT], \
                    headers: [Authorization, X-Mine], expose: [X-Total], credentials: true, max_age: 10m }";

#[test]
fn a_page_of_a_known_origin_reads_the_answer_and_no_other_does() {
    let (evenkeel, _origin) = start(FULL, "");
    for origin in [APP, "https://a.b.example.org"] {
        let response = from(&evenkeel, "GET", "/", &format!("Origin: {origin}\r\n"));
        assert_eq!(
            said(&response),
            [
                "access-control-allow-credentials: true".to_owned(),
                format!("access-control-allow-origin: {origin}"),
                "access-control-expose-headers: X-Total".to_owned(),
                "vary: Accept".to_owned(),
                "vary: Origin".to_owned(),
            ]
        );
    }
    for origin in ["Origin: https://evil.test\r\n", "Origin: null\r\n", "", &format!("Origin: {APP}\r\n").repeat(2)] {
        let response = from(&evenkeel, "GET", "/", origin);
        assert_eq!((response.status, said(&response)), (200, vec!["vary: Accept".into(), "vary: Origin".into()]));
    }
}

#[test]
fn a_preflight_is_answered_here() {
    let (evenkeel, origin) = start(FULL, "");
    let vary = ["vary: Access-Control-Request-Headers", "vary: Access-Control-Request-Method", "vary: Origin"];
    let allowed = preflight(&evenkeel, APP);
    assert_eq!((allowed.status, allowed.body.len()), (204, 0));
    let mut expected = vec![
        "access-control-allow-credentials: true",
        "access-control-allow-headers: Authorization, X-Mine",
        "access-control-allow-methods: GET, PUT",
        "access-control-allow-origin: https://app.example.com",
        "access-control-max-age: 600",
    ];
    expected.extend(vary);
    assert_eq!(said(&allowed), expected);
    let other = preflight(&evenkeel, "https://evil.test");
    assert_eq!((other.status, said(&other)), (204, vary.map(str::to_owned).to_vec()));
    assert_eq!(origin.count(), 0);
    // An OPTIONS that asks for something else is the backend's.
    assert_eq!(from(&evenkeel, "OPTIONS", "/", &format!("Origin: {APP}\r\n")).status, 200);
    assert_eq!(from(&evenkeel, "OPTIONS", "/", "Access-Control-Request-Method: PUT\r\n").status, 200);
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_page_reads_refusals_and_errors_too() {
    let (evenkeel, origin) = start(FULL, ", { ip_deny: [127.0.0.1] }");
    let reads = |response: &Response| response.header("access-control-allow-origin") == Some(APP);
    let refused = from(&evenkeel, "GET", "/", &format!("Origin: {APP}\r\n"));
    assert_eq!((refused.status, reads(&refused)), (403, true));
    // The filter that comes first has answered.
    assert_eq!(preflight(&evenkeel, APP).status, 204);
    let (evenkeel, mut stopped) = start(FULL, "");
    let broken = from(&evenkeel, "GET", "/broken", &format!("Origin: {APP}\r\n"));
    assert_eq!((broken.status, reads(&broken)), (500, true));
    stopped.stop();
    let failed = from(&evenkeel, "GET", "/", &format!("Origin: {APP}\r\n"));
    assert_eq!((failed.status, reads(&failed)), (502, true), "{}", failed.reason());
    assert_eq!(origin.count(), 0);
}

#[test]
fn where_any_origin_may_the_answer_does_not_depend_on_it() {
    let (evenkeel, _origin) = start("{ origins: ['*'] }", "");
    let response = from(&evenkeel, "GET", "/", "Origin: https://any.test\r\n");
    assert_eq!(said(&response), ["access-control-allow-origin: *", "vary: Accept"]);
    // A cache may give the answer to a request without an origin to one with: it must be of use to both.
    let response = from(&evenkeel, "GET", "/", "");
    assert_eq!(said(&response), ["access-control-allow-origin: *", "vary: Accept"]);
    let response = preflight(&evenkeel, "https://any.test");
    assert_eq!(response.header("access-control-allow-methods"), Some("GET, HEAD, POST"));
}

#[test]
fn over_http2_it_is_the_same() {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\nfilters: [{{ cors: {FULL} }}]\n{}",
        pool(&[origin.address], "")
    ));
    let client = Http2Client::connect(evenkeel.http());
    let headers = [("origin", APP), ("access-control-request-method", "PUT")];
    let answer = client.ask(client.request("OPTIONS", "/", &headers), "");
    assert_eq!((answer.head.status.as_u16(), answer.header("access-control-allow-origin")), (204, APP));
    let answer = client.ask(client.request("GET", "/", &headers[..1]), "");
    assert_eq!((answer.body.as_str(), answer.header("access-control-allow-origin")), ("in", APP));
}

#[test]
fn its_mistakes_have_their_place() {
    for (options, message) in [
        ("{}", "3:5: filters[0].cors: needs 'origins'"),
        ("cors", "3:11: filters[0].cors: must be a map, got string"),
        ("{ origins: [] }", "3:13: filters[0].cors.origins: needs at least one origin"),
        (
            "{ origins: [app.example.com] }",
            "3:13: filters[0].cors.origins: must be origins, like https://app.example.com",
        ),
        ("{ origins: ['https://a.test/'] }", "filters[0].cors.origins: must be origins"),
        ("{ origins: ['*', 'https://a.test'] }", "filters[0].cors.origins: has '*' and others beside it"),
        (
            "{ origins: ['*'], credentials: true }",
            "3:13: filters[0].cors.origins: cannot be '*' with 'credentials: true', which browsers do not accept",
        ),
        (
            "{ origins: ['https://a.test'], credentials: true, headers: ['*'] }",
            "3:61: filters[0].cors.headers: cannot be '*' with 'credentials: true'",
        ),
        ("{ origins: ['null'], credentials: true }", "filters[0].cors.origins: cannot have 'null'"),
        ("{ origins: ['*'], headers: ['a b'] }", "filters[0].cors.headers: has one that is none"),
        ("{ origins: ['*'], max_age: 600 }", "filters[0].cors.max_age: must be a duration with its unit"),
        ("{ origins: ['*'], max_ages: 6s }", "filters[0].cors.max_ages: unknown key, did you mean 'max_age'?"),
    ] {
        let output = check(&format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nfilters:\n  - cors: {options}\npools: {{ web: {{ backends: [127.0.0.1:1] }} }}\n"
        ));
        assert!(output.contains(message), "{options}: {output}");
    }
}
