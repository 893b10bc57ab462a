//! `routes[].match`, and routes that never match.

use http::Method;

use super::super::{HostMatch, Match, PathMatch, Regex, ValueMatch};
use super::{parsed, refuses, with};

/// Routes to `web` with these matches, a line each from line 6.
fn routes(matches: &[&str]) -> String {
    let lines: String = matches.iter().map(|m| format!("  - {{ match: {{ {m} }}, pool: web }}\n")).collect();
    with(&format!("routes:\n{lines}"))
}

#[test]
fn the_forms_of_a_match() {
    let config = parsed(&routes(&[
        "path_regex: '^/u/[0-9]+$', methods: [POST, GET], client: [10.0.0.0/8, '::1']",
        "headers: { X-Canary: 1, accept: { regex: json }, x-a: { present: false } }",
        "query: { 'a b': '' }, cookies: { c: { present: true } }",
    ]));
    let text = |text: &str| ValueMatch::Exact(text.to_owned());
    let regex = |text: &str| Regex::new(text).unwrap();
    let [first, second, third] = &config.routes[..] else { panic!() };
    assert_eq!(first.matches.path, Some(PathMatch::Regex(regex("^/u/[0-9]+$"))));
    assert_eq!(first.matches.methods, [Method::GET, Method::POST]);
    assert_eq!(first.matches.client, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    let headers = [
        ("accept".to_owned(), ValueMatch::Regex(regex("json"))),
        ("x-a".to_owned(), ValueMatch::Absent),
        ("x-canary".to_owned(), text("1")),
    ];
    assert_eq!(second.matches.headers, headers);
    let (query, cookies) = (vec![("a b".to_owned(), text(""))], vec![("c".to_owned(), ValueMatch::Present)]);
    assert_eq!(third.matches, Match { query, cookies, ..Match::default() });
}

#[test]
fn each_part_of_a_match_is_checked() {
    refuses(
        &routes(&[
            "path: /a, path_regex: /a",
            "path_regex: '/a('",
            "methods: GET",
            "methods: [get]",
            "methods: [GET, GET]",
            "methods: [TRACE]",
            "methods: []",
            "headers: [x]",
            "headers: { 'a b': 1 }",
            "headers: { X-A: 1, x-a: 2 }",
            "headers: { Host: a }",
            "headers: { a: { regx: b } }",
            "cookies: { a: { regex: '[' } }",
            "query: { a: { present: yes } }",
            "query: {}",
            "client: []",
            "client: [10.0.0.0/33]",
            "header: { a: 1 }",
        ]),
        &[
            "6:38: routes[0].match.path_regex: cannot stand beside 'path': a match has one or the other",
            "7:28: routes[1].match.path_regex: is not a regular expression: unclosed group, in '/a('",
            "8:25: routes[2].match.methods: must be a list of methods, got 'GET'",
            "9:26: routes[3].match.methods[0]: must be in upper case, as requests have it, got 'get'",
            "10:31: routes[4].match.methods[1]: is in this list already",
            "11:26: routes[5].match.methods[0]: is refused before it gets here, with 405",
            "12:16: routes[6].match.methods: must be a list of methods, got an empty one",
            "13:16: routes[7].match.headers: must be a map of headers, NAME: value, NAME: { regex: … } or NAME: { present: true }, got a list",
            "14:27: routes[8].match.headers.a b: must be the name of a header, 1 to 100 letters, digits and any of !#$%&'*+-.^_`|~, got 'a b'",
            "15:40: routes[9].match.headers.x-a: is 'x-a' again, which is there already",
            "16:27: routes[10].match.headers.Host: is not matched as a header: write match: { host: … }",
            "17:27: routes[11].match.headers.a: must be a text, { regex: … } or { present: true }, got a map",
            "18:39: routes[12].match.cookies.a.regex: is not a regular expression: unclosed character class, in '['",
            "19:39: routes[13].match.query.a.present: must be true or false, got 'yes'",
            "20:16: routes[14].match.query: must be a map of query parameters, NAME: value, NAME: { regex: … } or NAME: { present: true }, got an empty one",
            "21:16: routes[15].match.client: must be a list of addresses, got an empty one",
            "22:25: routes[16].match.client[0]: must be an IP address or a range of them, like 10.0.0.0/8, got '10.0.0.0/33'",
            "23:16: routes[17].match.header: unknown key, did you mean 'headers'?",
        ],
    );
}

#[test]
fn routes_that_never_match_are_reported() {
    let never = |line, number, first, at| {
        format!(
            "{line}:5: routes[{number}]: never matches: routes[{first}] (line {at}) is asked before and takes all of it"
        )
    };
    let lines = [never(7, 1, 0, 6), never(9, 3, 2, 8), never(12, 6, 4, 10), never(14, 8, 7, 13), never(16, 10, 9, 15)];
    refuses(
        &routes(&[
            "path: /a, methods: [GET, POST]",
            "path: /a, methods: [POST]",
            "path: /b, headers: { x: { present: true } }",
            "path: /b, headers: { x: '1' }",
            "path: /c, methods: [GET]",
            "path: /c, methods: [HEAD]",
            "path: /c, methods: [GET, HEAD]",
            "path: /d, query: { a: { regex: ^1 } }",
            "path: /d, query: { a: '12' }",
            "path_regex: /e, client: [10.0.0.0/8, 192.168.0.0/16]",
            "path_regex: /e, client: [10.0.0.0/8]",
            "path: /f, methods: [GET]",
            "path: /f, methods: [GET], headers: { x: '1' }",
        ]),
        &lines.each_ref().map(String::as_str),
    );
}

#[test]
fn routes_that_may_match_are_not() {
    parsed(&routes(&[
        "path: /a",
        "path: /a, methods: [GET]",
        "path: /a, methods: [GET], headers: { x: '1' }",
        "path: /a, headers: { x: '1' }",
        "path: /a, headers: { x: { present: true } , y: '1' }",
        "path: /a, headers: { x: { regex: '.' } }",
        "path: /a, headers: { x: { present: true } }",
        "path_regex: .",
        "path_regex: ^/",
        "path_prefix: /",
        "path_prefix: /, client: [10.0.0.0/8]",
        "path_prefix: /, client: [10.1.0.0/16, 11.0.0.0/8]",
        "host: a.org",
        "host: '*.org'",
        "cookies: { c: '1' }",
        "query: { c: '1' }",
        "client: [0.0.0.0/0]",
        "path_prefix: /x",
    ]));
}

/// They were taken, and no request ever came by them.
#[test]
fn a_path_that_no_request_has_is_a_mistake() {
    let paths = [
        "path: /%7euser",
        "path_prefix: /a/./b",
        "path: /a%2fb",
        "path: /a b",
        "path_prefix: '/a/..;/b'",
        "path: '/~user//a;b/é/%2F'",
    ];
    let never = |place: &str, path: &str, why: &str| {
        format!("{place}: never matches: no request has the path '{path}' when it is routed ({why})")
    };
    let write = |form: &str| format!("write '{form}', the one form that normalize_path gives it");
    let refused = "normalize_path refuses it, because readers disagree on what it names";
    let lines = [
        never("6:22: routes[0].match.path", "/%7euser", &write("/~user")),
        never("7:29: routes[1].match.path_prefix", "/a/./b", &write("/a/b")),
        never("8:22: routes[2].match.path", "/a%2fb", &write("/a%2Fb")),
        never("9:22: routes[3].match.path", "/a b", refused),
        never("10:29: routes[4].match.path_prefix", "/a/..;/b", refused),
    ];
    refuses(&routes(&paths), &lines.each_ref().map(String::as_str));
    let as_it_comes = parsed(&format!("normalize_path: false\n{}", routes(&paths)));
    assert_eq!(as_it_comes.routes[0].matches.path, Some(PathMatch::Exact("/%7euser".into())));
}

/// Clients are IPv4 addresses however they have come, so that these never matched.
#[test]
fn networks_of_ipv4_in_the_form_of_ipv6_are_networks_of_ipv4() {
    let config =
        parsed(&routes(&["client: ['::ffff:10.0.0.0/104', '::ffff:10.1.2.3', '::ffff:0:0/95', '2001:db8::/32']"]));
    let expected = ["10.0.0.0/8", "10.1.2.3/32", "::ffff:0:0/95", "2001:db8::/32"].map(|net| net.parse().unwrap());
    assert_eq!(config.routes[0].matches.client, expected);
}

#[test]
fn a_host_may_be_an_ipv6_address() {
    let config = parsed(&routes(&["host: '[2001:DB8:0::1]'"]));
    assert_eq!(config.routes[0].matches.host, Some(HostMatch::Exact("[2001:db8::1]".into())));
}
