//! The router against the rules written down plainly: every route in the order of precedence, condition by condition.

use std::net::IpAddr;

use fastrand::Rng;
use http::{HeaderMap, Method};

use super::{Asked, Router};
use crate::config::{HostMatch, Match, PathMatch, Regex, ValueMatch};

const CASES: usize = 100_000;

fn naive(matches: &[Match], asked: &Asked<'_>) -> Option<usize> {
    Match::in_order(matches).into_iter().find(|number| takes(&matches[*number], asked))
}

fn takes(m: &Match, asked: &Asked<'_>) -> bool {
    let host = asked.host.to_ascii_lowercase();
    let of_host = match &m.host {
        None => true,
        Some(HostMatch::Exact(exact)) => host == *exact,
        Some(HostMatch::Suffix(suffix)) => host.ends_with(suffix) && host.len() > suffix.len(),
    };
    let of_path = match &m.path {
        None => true,
        Some(PathMatch::Exact(exact)) => asked.path == exact,
        Some(PathMatch::Regex(regex)) => regex.is_match(asked.path.as_bytes()),
        Some(PathMatch::Prefix(prefix)) => {
            asked.path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    };
    let headers = |name: &str| -> Vec<String> {
        asked.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    let cookies = |name: &str| -> Vec<String> {
        let all = headers("cookie").join(";");
        let pairs = all.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
    };
    let query = |name: &str| -> Vec<String> {
        let pairs = asked.query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
    };
    let all = |wanted: &[(String, ValueMatch)], values: &dyn Fn(&str) -> Vec<String>| {
        wanted.iter().all(|(name, value)| holds(value, &values(name)))
    };
    let of_client = m.client.is_empty() || m.client.iter().any(|net| asked.client.is_some_and(|ip| net.contains(&ip)));
    let of_method = m.methods.is_empty() || m.methods.contains(asked.method);
    of_host
        && of_path
        && of_method
        && of_client
        && all(&m.headers, &headers)
        && all(&m.query, &query)
        && all(&m.cookies, &cookies)
}

fn holds(wanted: &ValueMatch, values: &[String]) -> bool {
    match wanted {
        ValueMatch::Exact(text) => values.contains(text),
        ValueMatch::Regex(regex) => values.iter().any(|value| regex.is_match(value.as_bytes())),
        ValueMatch::Present => !values.is_empty(),
        ValueMatch::Absent => values.is_empty(),
    }
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// From so few that much of it meets.
fn host(rng: &mut Rng) -> String {
    let labels = rng.usize(1..4);
    (0..labels).map(|_| pick(rng, &["a", "b", "api"])).chain(["org"]).collect::<Vec<_>>().join(".")
}

fn path(rng: &mut Rng) -> String {
    let mut path = String::new();
    for _ in 0..rng.usize(..4) {
        path.push_str(pick(rng, &["/v1", "/v10", "/a", "/", "/v", "/é"]));
    }
    path
}

fn wanted(rng: &mut Rng, names: &[&str]) -> Vec<(String, ValueMatch)> {
    let mut found: Vec<(String, ValueMatch)> = Vec::new();
    for name in names {
        if rng.u8(..5) == 0 {
            let value = match rng.u8(..4) {
                0 => ValueMatch::Exact(pick(rng, &["1", "2"]).to_owned()),
                1 => ValueMatch::Regex(Regex::new(pick(rng, &["^1", "[12]", "3"])).unwrap()),
                2 => ValueMatch::Present,
                _ => ValueMatch::Absent,
            };
            found.push(((*name).to_owned(), value));
        }
    }
    found
}

fn random_match(rng: &mut Rng) -> Match {
    Match {
        host: match rng.u8(..4) {
            0 => None,
            1 => Some(HostMatch::Suffix(format!(".{}", host(rng)))),
            _ => Some(HostMatch::Exact(host(rng))),
        },
        path: match rng.u8(..8) {
            0 => None,
            1 => Some(PathMatch::Regex(Regex::new(pick(rng, &["^/v", "1$", "a", "^/a/", "^$"])).unwrap())),
            2..=4 => Some(PathMatch::Exact(format!("/{}", path(rng)))),
            _ => Some(PathMatch::Prefix(path(rng).trim_end_matches('/').to_owned())),
        },
        methods: match rng.u8(..4) {
            0 => vec![pick(rng, &[&Method::GET, &Method::POST]).clone()],
            1 => vec![Method::GET, Method::PUT],
            _ => Vec::new(),
        },
        headers: wanted(rng, &["x-a", "x-b"]),
        query: wanted(rng, &["p", "q"]),
        cookies: wanted(rng, &["c", "d"]),
        client: match rng.u8(..8) {
            0 => vec![pick(rng, &["10.0.0.0/8", "10.1.0.0/16", "::/0"]).parse().unwrap()],
            _ => Vec::new(),
        },
    }
}

#[test]
fn it_finds_what_a_plain_scan_finds() {
    let seed = std::env::var("EVENKEEL_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    println!("EVENKEEL_FUZZ_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (mut matches, mut router, mut found) = (Vec::new(), Router::default(), 0);
    for case in 0..CASES {
        if case % 50 == 0 {
            let number = rng.usize(1..40);
            matches = (0..number).map(|_| random_match(&mut rng)).collect();
            router = Router::new(&matches);
        }
        let (mut host, path) = (host(&mut rng), format!("{}{}", pick(&mut rng, &["/", "", "*"]), path(&mut rng)));
        if rng.bool() {
            host.make_ascii_uppercase();
        }
        let mut headers = HeaderMap::new();
        for name in ["x-a", "x-b", "x-a", "cookie", "cookie"] {
            let value = match name {
                "cookie" => pick(&mut rng, &["c=1", "c=2; d=1", "cc=1;d=3", "c"]),
                _ => pick(&mut rng, &["1", "2", "3", "12"]),
            };
            if rng.bool() {
                headers.append(name, value.parse().unwrap());
            }
        }
        let method = pick(&mut rng, &[&Method::GET, &Method::POST, &Method::PUT]);
        let query = pick(&mut rng, &[None, Some("p=1"), Some("p=2&q=1"), Some("q&p=3"), Some("pp=1&q=12")]);
        let client = pick(&mut rng, &[None, Some("10.1.2.3"), Some("10.2.0.1"), Some("fe80::1")]);
        let client: Option<IpAddr> = client.map(|text| text.parse().unwrap());
        let asked = Asked { host: &host, path: &path, query, method, headers: &headers, client };
        let expected = naive(&matches, &asked);
        assert_eq!(router.find(&asked), expected, "seed {seed}, case {case}: {asked:?} of {matches:#?}");
        found += usize::from(expected.is_some());
    }
    assert!((CASES / 10..CASES * 9 / 10).contains(&found), "{found} of {CASES} cases find a route");
}
