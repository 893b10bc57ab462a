//! What it costs to find the route of a request, by the number of routes.
//!
//! ```text
//! cargo bench --bench route                            # nanoseconds, the median of short rounds
//! cargo bench --bench route -- --finds=N --routes=M    # nothing but N finds among M: something for callgrind to count
//! ```
//!
//! Routes are of five kinds, mixed: by host, wildcard, prefix, exact path, and wildcard with a method and a header.
//! Requests take one after the other of them.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use evenkeel::config::{HostMatch, Match, PathMatch, ValueMatch};
use evenkeel::route::{Asked, Router};
use http::{HeaderMap, Method};

const SIZES: [usize; 5] = [1, 10, 100, 1000, 10_000];
const ROUNDS: usize = 51;
const FINDS: usize = 5000;

/// A request that takes a route.
struct Taker {
    host: String,
    path: String,
    headers: HeaderMap,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name)?.parse::<usize>().ok());
    if let Some(finds) = option("--finds=") {
        let (router, takers) = routes(option("--routes=").unwrap_or(1));
        find(&router, &takers, finds);
        return ExitCode::SUCCESS;
    }
    println!("{:>8}{:>12}", "routes", "ns/find");
    for size in SIZES {
        let (router, takers) = routes(size);
        let mut rounds = [(); ROUNDS].map(|()| {
            let began = Instant::now();
            find(&router, &takers, FINDS);
            began.elapsed().as_nanos() as f64 / FINDS as f64
        });
        rounds.sort_by(f64::total_cmp);
        println!("{size:>8}{:>12.1}", rounds[ROUNDS / 2]);
    }
    ExitCode::SUCCESS
}

fn find(router: &Router, takers: &[Taker], times: usize) {
    for taker in takers.iter().cycle().take(times) {
        let found = router.find(&Asked::get(&taker.host, &taker.path, &taker.headers));
        assert!(black_box(found).is_some());
    }
}

fn routes(size: usize) -> (Router, Vec<Taker>) {
    let (matches, takers): (Vec<_>, Vec<_>) = (0..size).map(route).unzip();
    (Router::new(&matches), takers)
}

fn route(number: usize) -> (Match, Taker) {
    let any = Match::default();
    let (m, host, path) = match number % 5 {
        0 => {
            let host = format!("h{number}.example.com");
            (Match { host: Some(HostMatch::Exact(host.clone())), ..any }, host, "/a/b".to_owned())
        }
        1 => {
            let suffix = format!(".t{number}.example.net");
            let host = format!("a.b{suffix}");
            (Match { host: Some(HostMatch::Suffix(suffix)), ..any }, host, "/a/b".to_owned())
        }
        2 => {
            let prefix = format!("/service/{number}");
            let path = format!("{prefix}/users/7/orders");
            (Match { path: Some(PathMatch::Prefix(prefix)), ..any }, "www.example".to_owned(), path)
        }
        3 => {
            let path = format!("/exact/{number}");
            (Match { path: Some(PathMatch::Exact(path.clone())), ..any }, "www.example".to_owned(), path)
        }
        _ => {
            let (host, path) = (HostMatch::Suffix(".example.edu".to_owned()), format!("/v/{number}"));
            let headers = vec![("x-canary".to_owned(), ValueMatch::Exact("1".to_owned()))];
            let (host, path) = (Some(host), Some(PathMatch::Prefix(path)));
            let m = Match { host, path, methods: vec![Method::GET], headers, ..any };
            (m, "www.example.edu".to_owned(), format!("/v/{number}/x"))
        }
    };
    let headers = [("accept", "*/*"), ("user-agent", "bench/1.0"), ("x-canary", "1")];
    let headers = headers
        .into_iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    (m, Taker { host, path, headers: headers.collect() })
}
