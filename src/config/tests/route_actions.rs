//! What is done with the requests of a route.

use super::super::{Action, KeySource, Mirror, NewPath, Percent, Rewrite, RouteRedirect, Share, Split};
use super::{parsed, refuses, with};

/// These routes, a line each from line 7, beside a last one for everything.
fn routes(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("  - {{ {line} }}\n")).collect();
    with(&format!("  api: {{ backends: [b:1] }}\nroutes:\n{lines}"))
}

#[test]
fn the_forms_of_an_action() {
    let config = parsed(&routes(&[
        "match: { path: /a }, split: [{ pool: api, weight: 95 }, { pool: web }]",
        "match: { path: /b }, split: { by: [{ header: X-User }, client_ip], pools: [{ pool: web, weight: 0 }, { pool: api }] }",
        "match: { path_prefix: /c/ }, redirect: { scheme: https, host: New.example., port: 8443, prefix: /d/, status: 308 }",
        "match: { path: /d }, redirect: { path: /new }",
        "match: { path_prefix: /e }, pool: web, rewrite: { host: 'api.internal:81', prefix: / }, mirror: { pool: api }",
        "pool: api, rewrite: { path: /all }, mirror: { pool: web, percent: 10%, max_in_flight: 5, max_body_size: 1MiB }",
    ]));
    let actions: Vec<_> = config.routes.iter().map(|route| &route.action).collect();
    let split = |by, shares: [(usize, u32); 2]| {
        Action::Split(Split { by, shares: shares.map(|(pool, weight)| Share { pool, weight }).into() })
    };
    assert_eq!(actions[0], &split(vec![], [(1, 95), (0, 1)]));
    assert_eq!(actions[1], &split(vec![KeySource::Header("x-user".into()), KeySource::ClientIp], [(0, 0), (1, 1)]));
    let path = Some(NewPath::Prefix { with: "/d".into(), matched: "/c".into() });
    let (scheme, host) = (Some("https"), Some("new.example".to_owned()));
    assert_eq!(actions[2], &Action::Redirect(RouteRedirect { scheme, host, port: Some(8443), path, status: 308 }));
    let path = Some(NewPath::Full("/new".into()));
    assert_eq!(
        actions[3],
        &Action::Redirect(RouteRedirect { scheme: None, host: None, port: None, path, status: 302 })
    );
    let path = Some(NewPath::Prefix { with: String::new(), matched: "/e".into() });
    assert_eq!(config.routes[4].rewrite, Rewrite { host: Some("api.internal:81".into()), path });
    let (percent, max_in_flight, max_body_size) = (Percent(100), Mirror::MAX_IN_FLIGHT, Mirror::MAX_BODY_SIZE);
    assert_eq!(config.routes[4].mirror, Some(Mirror { pool: 1, percent, max_in_flight, max_body_size }));
    let (percent, max_in_flight, max_body_size) = (Percent(10), 5, 1 << 20);
    assert_eq!(config.routes[5].mirror, Some(Mirror { pool: 0, percent, max_in_flight, max_body_size }));
}

#[test]
fn each_action_is_checked() {
    refuses(
        &routes(&[
            "match: { path: /0 }, pool: web, redirect: { path: / }",
            "match: { path: /1 }, split: [{ pool: web }, { pool: web }]",
            "match: { path: /2 }, split: [{ pool: web, weight: 0 }, { pool: api, weight: 0 }]",
            "match: { path: /3 }, split: { by: user, pools: [{ pool: wab }, { weight: 1 }, { pool: web, weight: 1000001 }] }",
            "match: { path: /4 }, split: { by: client_ip }",
            "match: { path: /5 }, split: web",
            "match: { path: /6 }, redirect: {}",
            "match: { path: /7 }, redirect: { scheme: ftp, host: 'a:80', port: 0, path: a, status: 304 }",
            "match: { path: /8 }, redirect: { prefix: /a }",
            "match: { path_prefix: /9 }, redirect: { path: /a, prefix: /b, status: 200 }",
            "match: { path: /10 }, redirect: { path: //evil }, rewrite: { path: /a }, mirror: { pool: web }, timeouts: {}",
            "match: { path: /11 }, pool: web, rewrite: {}",
            "match: { path: /12 }, pool: web, rewrite: { host: a/b, path: '/a b' }",
            "match: { path: /13 }, pool: web, mirror: { percent: 101%, max_in_flight: 0, max_body_size: 17MiB }",
        ]),
        &[
            "7:39: routes[0].redirect: cannot stand beside 'pool': a route does one or the other",
            "8:51: routes[1].split[1]: is a pool that is in this list already",
            "9:28: routes[2].split: must have a weight above 0, or no request could go anywhere",
            "10:41: routes[3].split.by: must be client_ip, path, { header: NAME }, { cookie: NAME } or { query: NAME }, got 'user'",
            "10:63: routes[3].split.pools[0].pool: unknown pool 'wab', did you mean 'web'?",
            "10:70: routes[3].split.pools[1]: needs 'pool', like pool: web",
            "10:106: routes[3].split.pools[2].weight: must be 0 to 1000000, got 1000001",
            "11:28: routes[4].split: needs 'pools', like pools: [{ pool: web, weight: 1 }]",
            "12:35: routes[5].split: must be a list of pools, [{ pool: NAME, weight: 1 }], or { by: …, pools: […] }, got 'web'",
            "13:28: routes[6].redirect: needs 'scheme', 'host', 'port', 'path' or 'prefix': it would lead to where it comes from",
            "14:48: routes[7].redirect.scheme: must be http or https, got 'ftp'",
            "14:59: routes[7].redirect.host: must be a host name, got 'a:80' (without a port)",
            "14:73: routes[7].redirect.port: must be 1 to 65535, got 0",
            "14:82: routes[7].redirect.path: must be a path that starts with '/', got 'a'",
            "14:93: routes[7].redirect.status: must be 301, 302, 303, 307 or 308, got 304",
            "15:48: routes[8].redirect.prefix: needs a match by 'path_prefix', whose place it takes",
            "16:65: routes[9].redirect.prefix: cannot stand beside 'path': it is one or the other",
            "16:77: routes[9].redirect.status: must be 301, 302, 303, 307 or 308, got 200",
            "17:47: routes[10].redirect.path: must be a path as a request has it, with one slash at its beginning and other characters as %XX, got '//evil'",
            "17:57: routes[10].rewrite: does nothing in a route that answers itself, and asks no pool",
            "17:80: routes[10].mirror: does nothing in a route that answers itself, and asks no pool",
            "17:103: routes[10].timeouts: does nothing in a route that answers itself, and asks no pool",
            "18:40: routes[11].rewrite: needs 'host', 'path' or 'prefix'",
            "19:57: routes[12].rewrite.host: must be a host name, as a Host header has it, got 'a/b'",
            "19:68: routes[12].rewrite.path: must be a path as a request has it, with one slash at its beginning and other characters as %XX, got '/a b'",
            "20:40: routes[13].mirror: needs 'pool', like pool: web",
            "20:59: routes[13].mirror.percent: must be 1% to 100%, got '101%'",
            "20:80: routes[13].mirror.max_in_flight: must be 1 to 10000, got 0",
            "20:98: routes[13].mirror.max_body_size: must be 16MiB at most: it is kept in memory, got '17MiB'",
        ],
    );
}
