//! `set_headers` and `remove_headers` over sockets.

use crate::support::evenkeel::{check_filter, pool};
use crate::support::http2::Http2Client;
use crate::support::http2_pool::{echo, http2};
use crate::support::{Evenkeel, Origin};

const SET: &str = r#"filters:
  - set_headers:
      request:
        X-Client: "{client_ip}"
        X-Said: "{method} {scheme}://{host}{path}?{query} {header.x-a}"
        X-Through: "{pool} {request_id}"
        X-Fixed: "{{a}}"
        X-None: "{header.x-none}"
        Host: inner.example
      response:
        X-Backend: "{backend}"
        X-Frame-Options: DENY
  - remove_headers: { request: [x-a], response: [Server] }
"#;

fn origin() -> Origin {
    Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nServer: secret/1.0\r\nX-Frame-Options: no\r\nContent-Length: 2\r\n\r\nhi")?;
        Ok(crate::support::Then::Keep)
    })
}

#[test]
fn headers_are_set_and_removed_both_ways() {
    let origin = origin();
    let listener = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\n";
    let evenkeel = Evenkeel::start(&format!("{listener}{SET}{}", pool(&[origin.address], "")));
    let response = evenkeel.client().get_with("/p?q=1", "X-A: one\r\nX-A: two\r\nX-Fixed: mine\r\n");
    assert_eq!(response.head.all("x-frame-options"), ["DENY"]);
    assert_eq!(response.header("x-backend"), Some(origin.address.to_string().as_str()));
    assert_eq!(response.header("server"), None);
    let head = origin.last().head;
    assert_eq!(head.all("x-client"), ["127.0.0.1"]);
    assert_eq!(head.header("x-said"), Some("GET http://test/p?q=1 one, two"));
    let id = head.header("x-request-id").unwrap();
    assert_eq!(head.header("x-through"), Some(format!("web {id}").as_str()));
    assert_eq!(
        (head.header("x-fixed"), head.header("x-none")),
        (Some("{a}"), None),
        "what fills to nothing is not sent"
    );
    assert_eq!((head.all("host"), head.header("x-a")), (vec!["inner.example"], None));
    assert!(head.headers.iter().any(|(name, _)| name == "X-Through"), "in the letters in which it is written");

    let two = Http2Client::connect(evenkeel.http());
    let answer = two.ask(two.request("GET", "/two", &[("x-a", "1")]), "");
    assert_eq!((answer.header("x-frame-options"), answer.header("server")), ("DENY", ""));
    let head = origin.last().head;
    let port = evenkeel.http();
    assert_eq!(head.header("x-said"), Some(format!("GET http://{}/two? 1", port.ip()).as_str()));
    assert_eq!(head.all("host"), ["inner.example"]);
}

#[test]
fn a_backend_that_is_asked_in_http2_sees_the_same() {
    let origin = echo();
    let listeners = "listeners: [{ address: 127.0.0.1:0 }, { address: '127.0.0.1:0', h2c: true }]\n";
    let evenkeel = Evenkeel::start(&format!("{listeners}{SET}{}", pool(&[origin.address], "protocol: h2")));
    for ask in [true, false] {
        if ask {
            assert_eq!(evenkeel.get("/a").status, 200)
        } else {
            assert_eq!(http2(&evenkeel).get("/a").body, "GET /a 0")
        }
        let head = origin.last();
        assert_eq!(head.uri.authority().unwrap(), "inner.example");
        assert_eq!((head.headers["x-client"].to_str().unwrap(), head.headers.get("host")), ("127.0.0.1", None));
    }
}

#[test]
fn answers_of_our_own_have_them_too() {
    let yaml = "filters: [{ set_headers: { response: { X-Id: '{request_id}', X-Backend: '{backend}' } } }]\n\
                routes: [{ match: { path: /ours }, respond: { status: 200, body: ok } }, { match: { path: /pool }, pool: web }]\n";
    let evenkeel = Evenkeel::start(&(yaml.to_owned() + &pool(&[([127, 0, 0, 1], 1).into()], "")));
    for (path, status) in [("/ours", 200), ("/nowhere", 404), ("/pool", 502)] {
        let response = evenkeel.get(path);
        assert_eq!((response.status, response.header("x-id").map(str::len)), (status, Some(32)), "{path}");
        assert_eq!(response.header("x-backend"), None, "{path}");
    }
}

/// Each attempt is told its own backend, and nothing twice.
#[test]
fn a_further_attempt_is_told_anew() {
    let bad = Origin::new(|exchange| exchange.answer("503 No", "no"));
    let good = Origin::saying("good");
    let filters = "filters: [{ set_headers: { request: { X-Backend: '{backend}' } } }]\n";
    let retry = "retry: { attempts: 2, on: [503], budget: off }";
    let evenkeel = Evenkeel::start(&(filters.to_owned() + &pool(&[bad.address, good.address], retry)));
    for _ in 0..2 {
        assert_eq!(evenkeel.get("/").text(), "good");
    }
    for origin in [&bad, &good] {
        assert_eq!(origin.last().head.all("x-backend"), [origin.address.to_string()]);
    }
}

#[test]
fn its_mistakes_have_their_place() {
    let known = "known are {backend}, {client_ip}, {host}, {method}, {path}, {pool}, {query}, {request_id}, {scheme} and {header.NAME}";
    for (filter, message) in [
        (
            "set_headers",
            "3:5: filters[0].set_headers: needs headers of the request or of the response, like response: { X-A: b }",
        ),
        (
            "set_headers: { request: { X-A: '{clientip}' } }",
            "3:36: filters[0].set_headers.request.X-A: has an unknown placeholder, did you mean {client_ip}?",
        ),
        ("set_headers: { request: { X-A: '{secret}' } }", known),
        ("set_headers: { request: { X-A: '}' } }", "request.X-A: has a brace without its other half"),
        (
            "set_headers: { request: { X-A: 1 } }",
            "3:36: filters[0].set_headers.request.X-A: must be a string, got integer",
        ),
        (
            "set_headers: { response: { Content-Length: '1' } }",
            "filters[0].set_headers.response.Content-Length: cannot be changed: content-length is about one connection or about where \
             a message ends, and ours to say",
        ),
        ("set_headers: { response: { 'X A': '1' } }", "is not the name of a header"),
        ("set_headers: { response: { X-A: '1', x-a: '2' } }", "has x-a twice"),
        ("set_headers: { reponse: {} }", "3:20: filters[0].set_headers.reponse: unknown key, did you mean 'response'?"),
        (
            "remove_headers: { request: [x-a, Upgrade] }",
            "3:38: filters[0].remove_headers.request[1]: cannot be changed: upgrade",
        ),
        ("remove_headers: { request: [host] }", "filters[0].remove_headers.request: cannot remove Host"),
        ("remove_headers: {}", "3:5: filters[0].remove_headers: needs headers of the request or of the response, like"),
    ] {
        let said = check_filter(filter);
        assert!(said.contains(message) && !said.contains("secret"), "{filter}: {said}");
    }
}
