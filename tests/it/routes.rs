//! Routes: which request goes where, and what it is asked there.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::evenkeel::{complete, run};
use crate::support::http2::{Http2Client, Http2Origin};
use crate::support::pools::pools;
use crate::support::{Evenkeel, Origin};

const BOTH: &str = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\n";

/// Routes that answer with the number of their line here, from 0.
fn answering(matches: &[&str]) -> String {
    let route =
        |(number, text): (usize, &&str)| format!("  - {{ match: {{ {text} }}, respond: {{ body: r{number} }} }}\n");
    let routes: String = matches.iter().enumerate().map(route).collect();
    format!("{BOTH}trusted_proxies: [127.0.0.1]\npools: {{ web: {{ backends: [127.0.0.1:9] }} }}\nroutes:\n{routes}")
}

const CONDITIONS: [&str; 9] = [
    "path: /",
    "methods: [POST, PUT]",
    "headers: { x-canary: '1' }",
    "headers: { x-canary: '1', accept: { regex: '^application/.*json$' } }",
    "headers: { authorization: { present: false } }, path_prefix: /private",
    "query: { version: 'v 2' }",
    "cookies: { beta: { present: true } }",
    "client: [10.0.0.0/8]",
    "path_regex: '^/users/[0-9]+$'",
];

const ASKED: [(&str, &str, &str, &str); 17] = [
    ("GET", "/", "", "r0"),
    ("POST", "/", "", "r0"),
    ("PUT", "/x", "", "r1"),
    ("PUT", "/x", "x-canary: 1", "r1"),
    ("GET", "/x", "x-canary: 1", "r2"),
    ("GET", "/x", "x-canary: 2", "404"),
    ("GET", "/x", "x-canary: 1|accept: application/problem+json", "r3"),
    ("GET", "/private/x", "", "r4"),
    ("GET", "/private/x", "authorization: x", "404"),
    ("GET", "/x?a=1&version=v+2", "", "r5"),
    ("GET", "/x?version=v%202", "x-canary: 1", "r2"),
    ("GET", "/x?version=v", "", "404"),
    ("GET", "/x", "cookie: a=1; beta=", "r6"),
    ("GET", "/x", "x-forwarded-for: 10.1.2.3", "r7"),
    // An IPv4 client in the form of IPv6 took no route of its network.
    ("GET", "/x", "x-forwarded-for: ::ffff:10.1.2.3", "r7"),
    ("GET", "/users/7", "", "r8"),
    ("GET", "/users/7/x", "", "404"),
];

#[test]
fn a_request_takes_the_route_whose_conditions_it_meets() {
    let evenkeel = Evenkeel::start(&answering(&CONDITIONS));
    let http2 = Http2Client::connect(evenkeel.http());
    for (method, path, headers, expected) in ASKED {
        let headers: Vec<(&str, &str)> = headers.split('|').filter_map(|line| line.split_once(": ")).collect();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut client = evenkeel.client();
        let response = client.send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n")).read();
        let old = if response.status == 404 { "404".to_owned() } else { response.text() };
        let answer = http2.ask(http2.request(method, path, &headers), "");
        let new = if answer.head.status == 404 { "404".to_owned() } else { answer.body };
        assert_eq!((old.as_str(), new.as_str()), (expected, expected), "{method} {path} {headers:?}");
    }
}

#[test]
fn the_order_in_the_file_does_not_matter() {
    let mut numbered: Vec<_> = CONDITIONS.iter().enumerate().collect();
    numbered.reverse();
    let routes: String = numbered
        .iter()
        .map(|(number, text)| format!("  - {{ match: {{ {text} }}, respond: {{ body: r{number} }} }}\n"))
        .collect();
    let evenkeel = Evenkeel::start(&format!("pools: {{ web: {{ backends: [127.0.0.1:9] }} }}\nroutes:\n{routes}"));
    for (path, headers, expected) in
        [("/", "x-canary: 1\r\n", "r0"), ("/x?version=v+2", "x-canary: 1\r\n", "r2"), ("/users/7", "", "r8")]
    {
        assert_eq!(evenkeel.client().get_with(path, headers).text(), expected, "{path}");
    }
}

/// A route that another takes everything from is a mistake of the file, with both lines.
#[test]
fn check_reports_a_route_that_never_matches() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.yaml");
    let text = answering(&["path: /a, methods: [GET, HEAD]", "path: /a, methods: [HEAD]", "path_regex: '/('"]);
    std::fs::write(&file, complete(&text, &dir)).unwrap();
    let output = run(&["check", "-c", file.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mistakes = verdict["mistakes"].as_array().unwrap();
    let said: Vec<_> = mistakes.iter().map(|m| (m["key"].as_str().unwrap(), m["message"].as_str().unwrap())).collect();
    let first = text.lines().position(|line| line.contains("GET")).unwrap();
    // Three lines come before, which `complete` adds.
    let never = format!("never matches: routes[0] (line {}) is asked before and takes all of it", first + 5);
    let regex = "is not a regular expression: unclosed group, in '/('";
    assert_eq!(said, [("routes[1]", never.as_str()), ("routes[2].match.path_regex", regex)]);
}

#[test]
fn a_split_shares_by_weight_and_keeps_a_key() {
    let (api, canary) = (Origin::saying("api"), Origin::saying("canary"));
    let text = |weights: (u32, u32)| {
        format!(
            "{}routes:\n  - match: {{ path: /any }}\n    split: [{{ pool: api, weight: {1} }}, {{ pool: canary, weight: {2} }}]\n  \
             - split: {{ by: {{ header: x-user }}, pools: [{{ pool: api, weight: {1} }}, {{ pool: canary, weight: {2} }}] }}\n",
            pools(&[("api", api.address), ("canary", canary.address)]),
            weights.0,
            weights.1,
        )
    };
    let evenkeel = Evenkeel::start(&text((80, 20)));
    let mut client = evenkeel.client();
    let by_chance = (0..500).filter(|_| client.get("/any").text() == "canary").count();
    assert!((50..150).contains(&by_chance), "{by_chance} of 500");
    let mut of_users = || -> BTreeMap<usize, String> {
        (0..200).map(|user| (user, client.get_with("/", &format!("X-User: {user}\r\n")).text())).collect()
    };
    let before = of_users();
    assert_eq!(of_users(), before, "a user stays");
    let receipt = evenkeel.reload(&text((60, 40)));
    assert!(receipt.contains("routes 2 changed"), "{receipt}");
    let after = of_users();
    let count = |users: &BTreeMap<usize, String>| users.values().filter(|pool| *pool == "canary").count();
    assert!(count(&before) < count(&after), "{} and {}", count(&before), count(&after));
    assert!(before.iter().all(|(user, pool)| *pool == after[user] || after[user] == "canary"), "only into the canary");
    evenkeel.reload(&text((0, 1)));
    assert!(of_users().values().all(|pool| pool == "canary"), "no weight is no request");
}

#[test]
fn a_share_whose_pool_has_nobody_is_answered_with_503() {
    let (api, mut canary) = (Origin::saying("api"), Origin::saying("canary"));
    canary.stop();
    let pools = pools(&[("api", api.address), ("canary", canary.address)]);
    let pools = pools.replace("health_check: off", crate::support::QUICK_CHECK);
    let split = "routes: [{ split: [{ pool: api, weight: 0 }, { pool: canary, weight: 1 }] }]\n";
    let evenkeel = Evenkeel::start(&format!("{pools}{split}"));
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.reason()), (503, "no_backend"));
    assert_eq!(api.count(), 0);
}

#[test]
fn a_pool_of_a_split_has_its_own_times() {
    let hanging = Origin::new(|exchange| exchange.hang());
    let text = format!(
        "pools:\n  quick: {{ backends: ['{0}'], health_check: off, retry: off, timeouts: {{ request: 300ms }} }}\n  \
         slow: {{ backends: ['{0}'], health_check: off }}\n\
         routes: [{{ split: [{{ pool: slow, weight: 0 }}, {{ pool: quick }}] }}]\n",
        hanging.address
    );
    let evenkeel = Evenkeel::start(&text);
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.reason()), (504, "request_timeout"));
}

const REWRITES: &str = "routes:
  - { match: { path_prefix: /api }, pool: old, rewrite: { host: 'api.internal:81', prefix: /v2/ } }
  - { match: { path_prefix: /strip }, pool: old, rewrite: { prefix: / } }
  - { match: { path: /one }, pool: old, rewrite: { path: /all } }
  - { match: { path_prefix: /new }, pool: new, rewrite: { host: api.internal, prefix: /v2 } }
";

#[test]
fn a_backend_is_asked_what_the_route_says() {
    let origin = Origin::saying("ok");
    let http2_origin = Http2Origin::new(|mut call| async move { call.say("ok", &[]) });
    let pools = pools(&[("old", origin.address), ("new", http2_origin.address)]);
    let pools = pools.replace("  new:", "  new:\n    protocol: h2");
    let evenkeel = Evenkeel::start(&format!("{BOTH}{pools}{REWRITES}"));
    let http2 = Http2Client::connect(evenkeel.http());
    let cases = [
        ("/api/x?a=b", "/v2/x?a=b", "api.internal:81"),
        ("/api", "/v2", "api.internal:81"),
        ("/strip", "/", ""),
        ("/strip/x", "/x", ""),
        ("/one?a", "/all?a", ""),
    ];
    let mut asked = 0;
    for (path, forwarded, host) in cases {
        assert_eq!(evenkeel.get(path).status, 200, "{path}");
        let seen = origin.last().head;
        let expected = if host.is_empty() { "test" } else { host };
        assert_eq!((seen.word(1), seen.header("host")), (forwarded, Some(expected)), "{path}");
        assert_eq!(seen.header("x-forwarded-host"), Some("test"), "the client's own");
        assert_eq!(http2.get(path).head.status, 200, "{path} by HTTP/2");
        let seen = origin.last().head;
        let own = evenkeel.http().to_string();
        let expected = if host.is_empty() { own.as_str() } else { host };
        assert_eq!((seen.word(1), seen.header("host")), (forwarded, Some(expected)), "{path} by HTTP/2");
        asked += 2;
    }
    assert_eq!(evenkeel.get("/new/x?y").status, 200);
    assert_eq!(http2_origin.last().uri, "http://api.internal/v2/x?y");
    assert_eq!(http2.get("/new/x?y").head.status, 200);
    assert_eq!(http2_origin.last().uri, "http://api.internal/v2/x?y");
    assert_eq!(evenkeel.requests(asked + 2)[0]["path"], "/api/x?a=b", "the log has what the client asked for");
}

const REDIRECTS: &str = "trusted_proxies: [127.0.0.1]
routes:
  - { match: { path_prefix: /old }, redirect: { prefix: /new, status: 301 } }
  - { match: { path_prefix: /strip }, redirect: { prefix: / } }
  - { match: { path: /secure }, redirect: { scheme: https, status: 308 } }
  - { match: { path: /host }, redirect: { host: www.example.com } }
  - { match: { path: /port }, redirect: { port: 8443, path: /x } }
  - { pool: web }
";

#[test]
fn a_client_is_sent_where_the_route_says() {
    let origin = Origin::saying("ok");
    let evenkeel = Evenkeel::start(&format!("{BOTH}{}{REDIRECTS}", pools(&[("web", origin.address)])));
    let http2 = Http2Client::connect(evenkeel.http());
    let cases = [
        ("/old/a?b=c", 301, "/new/a?b=c"),
        ("/old", 301, "/new"),
        ("/strip//evil.example/x", 302, "/evil.example/x"),
        ("/secure?a", 308, "https://HOST/secure?a"),
        ("/host?a", 302, "http://www.example.com/host?a"),
        ("/port", 302, "http://HOST:8443/x"),
    ];
    for (path, status, location) in cases {
        let response = evenkeel.get(path);
        let expected = location.replace("HOST", "test");
        assert_eq!((response.status, response.header("location")), (status, Some(expected.as_str())), "{path}");
        let answer = http2.get(path);
        let expected = location.replace("HOST", "127.0.0.1");
        assert_eq!((answer.head.status.as_u16(), answer.header("location")), (status, expected.as_str()), "{path}");
    }
    let mut client = evenkeel.client();
    let response = client.get_with("/host", "X-Forwarded-Proto: https\r\n");
    assert_eq!(response.header("location"), Some("https://www.example.com/host"));
    assert_eq!(client.get("/old").status, 301, "the connection lives on");
    let posted = client.send("POST /old HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi").read();
    assert_eq!(posted.status, 301);
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_reload_says_what_of_a_route_is_another() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let pools = pools(&[("a", a.address), ("b", b.address)]);
    let routes = |lines: &str| format!("{pools}routes:\n  - {{ pool: a }}\n{lines}");
    let evenkeel = Evenkeel::start(&routes(
        "  - { match: { path_prefix: /x, methods: [GET], headers: { x: '1' } }, pool: a, rewrite: { prefix: /y } }\n  \
         - { match: { cookies: { c: { present: true } } }, pool: a }\n",
    ));
    evenkeel.write(&routes(
        "  - { match: { path_prefix: /x, methods: [GET], headers: { x: '1' } }, pool: a, rewrite: { prefix: /z }, mirror: { pool: b } }\n  \
         - { match: { client: [10.0.0.0/8], query: { q: { regex: '^1' } } }, redirect: { path: /z } }\n",
    ));
    let output = evenkeel.ask("plan", &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in ["route GET /x/* header x=1", "rewrite, mirror", "route query q~^1 client 10.0.0.0/8", "route cookie c"]
    {
        assert!(said.contains(line), "{line:?} in\n{said}");
    }
}
