//! `routes`.

use std::time::Duration;

use super::super::{Action, HostMatch, Match, PathMatch, Priority, Respond, Rewrite, Route, RouteTimeouts};
use super::{at, parsed, refuses, with};

#[test]
fn several_pools_need_routes() {
    refuses(
        &with(
            r"  api: { backends: [b:1] }
",
        ),
        &[r"1:1: needs 'routes' to say which of the 2 pools a request goes to, like routes: [{ pool: web }]"],
    );
}

#[test]
fn each_route_is_checked() {
    refuses(
        &with(
            r#"  api: { backends: [b:1] }
routes:
  - { pool: webb }
  - { pool: zzzzz }
  - { match: {path: /x}, pool: web, respond: {} }
  - { match: {path: x, host: "a.*.b"} }
  - { match: {path: /, path_prefix: /}, pool: web }
  - { match: {host: "A.example.com:80"}, pool: web }
  - { match: {host: "*.EXAMPLE.com", path_prefix: /v1/}, pool: web }
  - { match: {host: "*.example.com", path_prefix: /v1}, pool: web, filters: [a, {b: {c: 1}}, {d: 1, e: 2}, [x], "b c"] }
  - { respond: {status: 100, body: [x]} , match: {path: "/x?y"}}
  - { mach: {}, pool: web }
  - x
"#,
        ),
        &[
            r"7:13: routes[0].pool: unknown pool 'webb', did you mean 'web'?",
            r"8:5: routes[1]: has the same match as routes[0] (line 7)",
            r"8:13: routes[1].pool: unknown pool 'zzzzz', there are 'web', 'api'",
            r"9:37: routes[2].respond: cannot stand beside 'pool': a route does one or the other",
            r"10:5: routes[3]: needs 'pool', 'split', 'redirect' or 'respond'",
            r"10:21: routes[3].match.path: must be a path that starts with '/', got 'x'",
            r"10:30: routes[3].match.host: must be a host name, got 'a.*.b' (a '*' stands only in front, like *.example.com)",
            r"11:37: routes[4].match.path_prefix: cannot stand beside 'path': a match has one or the other",
            r"12:21: routes[5].match.host: must be a host name, got 'A.example.com:80' (without a port)",
            r"14:5: routes[7]: has the same match as routes[6] (line 13)",
            r"14:94: routes[7].filters[2]: must be a filter, NAME or { NAME: options }, got a map of 2 keys",
            r"14:108: routes[7].filters[3]: must be a filter, NAME or { NAME: options }, got a list",
            r"14:113: routes[7].filters[4]: must be named with 1 to 100 letters, digits, '_', '-' and '.', got 'b c'",
            r"15:25: routes[8].respond.status: must be 200 to 599, got 100",
            r"15:30: routes[8].respond.body: must be a text, got a list",
            r"15:57: routes[8].match.path: must be a path without a query, got '/x?y'",
            r"16:7: routes[9].mach: unknown key, did you mean 'match'?",
            r"17:5: routes[10]: must be a map of keys, got 'x'",
        ],
    );
}

#[test]
fn routes_must_not_be_empty() {
    refuses(
        &with(
            r"routes: []
",
        ),
        &[r"5:1: routes: must be a list of routes, got an empty one"],
    );
}

#[test]
fn filters_are_a_list() {
    refuses(
        &with(
            r"routes:
  - pool: web
    filters: { a: 1 }
",
        ),
        &[r"7:5: routes[0].filters: must be a list of filters, got a map"],
    );
}

#[test]
fn the_forms_of_a_route() {
    let config = parsed(&with(
        "routes:\n  - match: { host: Api.Example.com., path: /x }\n    respond: { status: 404, body: no }\n  \
         - { match: { host: '*.Example.com', path_prefix: / }, pool: web, filters: [a, { b: { c: 1 } }] }\n  - respond: {}\n",
    ));
    let [first, second, third] = &config.routes[..] else { panic!() };
    assert_eq!(first.matches.host, Some(HostMatch::Exact("api.example.com".into())));
    assert_eq!(first.matches.path, Some(PathMatch::Exact("/x".into())));
    assert_eq!(first.action, Action::Respond(Respond { status: 404, body: "no".into() }));
    assert_eq!(second.matches.host, Some(HostMatch::Suffix(".example.com".into())));
    assert_eq!(second.matches.path, Some(PathMatch::Prefix(String::new())));
    assert_eq!((&second.action, second.at.0), (&Action::Pool(0), at(8, 5)));
    let filters: Vec<_> =
        second.filters.iter().map(|f| (f.name.as_str(), f.options.key.as_str(), f.options.at.0)).collect();
    assert_eq!(filters, [("a", "routes[1].filters[0].a", at(8, 78)), ("b", "routes[1].filters[1].b", at(8, 83))]);
    assert_eq!(third.action, Action::Respond(Respond { status: 200, body: String::new() }));
}

#[test]
fn without_routes_everything_goes_to_the_one_pool() {
    let config = parsed(&with(""));
    let route = Route {
        matches: Match::default(),
        action: Action::Pool(0),
        rewrite: Rewrite::default(),
        mirror: None,
        filters: vec![],
        priority: Priority::Normal,
        timeouts: RouteTimeouts::default(),
        at: at(3, 3).into(),
    };
    assert_eq!(config.routes, [route]);
}

#[test]
fn a_route_has_times_of_its_own() {
    let text = "routes: [{ pool: web, timeouts: { request: 5m, read: 4m } }]\n";
    let config = parsed(&with(text));
    let (route, pool) = (&config.routes[0], &config.pools[0]);
    let timeouts = pool.timeouts.with(&route.timeouts);
    let minutes = |n: u64| Duration::from_secs(60 * n);
    assert_eq!((timeouts.request, timeouts.read), (minutes(5), minutes(4)));
    assert_eq!((timeouts.connect, timeouts.tunnel), (pool.timeouts.connect, pool.timeouts.tunnel));
    refuses(
        &with(
            "routes: [{ pool: web, timeouts: { connect: 1s } }, { match: { path: /x }, respond: {}, timeouts: {} }]\n",
        ),
        &[
            "5:35: routes[0].timeouts.connect: unknown key; allowed here: read, request or tunnel; the others are the pool's",
            "5:88: routes[1].timeouts: does nothing in a route that answers itself, and asks no pool",
        ],
    );
}
