//! A pick allocates nothing beyond what pingora's own `select()` does, and to find a route nothing at all. A binary of its own: the counting allocator is global.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use evenkeel::backend::{Outcome, PoolState};
use evenkeel::config::{Choices, Decay, HostMatch, LeastTime, Match, PathMatch, Percent, Regex, TableSize, ValueMatch};
use evenkeel::metrics::Metrics;
use evenkeel::pool::{Pick, PoolBuilder, Secret};
use evenkeel::route::{Asked, Router};
use evenkeel::selection::{
    Algorithm, AtRandom, FewestInFlight, Hashed, LessLoaded, Maglev, Rendezvous, Ring, ShortestTime, Sooner, Turns,
};
use futures_util::FutureExt;
use pingora_core::Result;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::selection::RoundRobin;
use pingora_load_balancing::{Backend, Backends, LoadBalancer};

const PICKS: u64 = 1000;

struct Fixed;

#[async_trait::async_trait]
impl ServiceDiscovery for Fixed {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let backend = |i: usize| Backend::new_with_weight(&format!("10.0.0.{i}:80"), i % 3 + 1).unwrap();
        Ok(((1..=100).map(backend).collect(), HashMap::new()))
    }
}

/// Allocations of so many runs, after some that warm up.
fn allocations(run: impl Fn(u64)) -> u64 {
    (0..PICKS).for_each(&run);
    allocation_counter::measure(|| (0..PICKS).for_each(&run)).count_total
}

fn of_pingora() -> u64 {
    let balancer = LoadBalancer::<RoundRobin>::from_backends(Backends::new(Box::new(Fixed)));
    balancer.update().now_or_never().unwrap().unwrap();
    allocations(|_| assert!(balancer.select(b"key", 256).is_some()))
}

fn of_pool<A: Algorithm>(make: impl FnOnce(&Arc<PoolState>) -> A) -> u64 {
    let builder = PoolBuilder::new("web", Box::new(Fixed)).sticky("lb", None, Secret::of_process());
    let pool = builder.algorithm(&Metrics::new().unwrap(), make);
    pool.discover().now_or_never().unwrap().unwrap();
    allocations(|number| {
        let key = number.to_be_bytes();
        let pick = Pick { key: &key, cookie: Some(b"of somebody else's"), ..Pick::default() };
        let mut lease = pool.acquire(&pick).unwrap();
        lease.report(Outcome::Succeeded, Duration::from_millis(1));
    })
}

#[test]
fn a_pick_allocates_what_pingora_does_and_nothing_more() {
    let pingora = of_pingora();
    assert!(pingora > 0, "pingora has learnt to pick without: so should this test");
    for (name, ours) in [
        ("round_robin", of_pool(|_| Turns::default())),
        ("random", of_pool(|_| AtRandom)),
        ("least_request", of_pool(|_| FewestInFlight::default())),
        ("least_request of two", of_pool(|_| FewestInFlight { choices: Choices::Drawn(2) })),
        ("p2c", of_pool(|_| LessLoaded)),
        ("peak_ewma", of_pool(|pool| Sooner::new(Decay::default(), pool))),
        ("least_time", of_pool(|pool| ShortestTime::new(LeastTime::default(), pool))),
        ("consistent_hash", of_pool(|pool| Hashed::<Ring>::new((), None, pool))),
        ("bounded load", of_pool(|pool| Hashed::<Ring>::new((), Some(Percent(125)), pool))),
        ("maglev", of_pool(|pool| Hashed::<Maglev>::new(TableSize::default(), None, pool))),
        ("rendezvous", of_pool(|pool| Hashed::<Rendezvous>::new((), None, pool))),
    ] {
        println!("{name}: {ours} allocations for {PICKS} picks, pingora's select() {pingora}");
        assert_eq!(ours, pingora, "{name}");
    }
}

#[test]
fn to_find_a_route_allocates_nothing() {
    let any = Match::default;
    let one = |name: &str| vec![(name.to_owned(), ValueMatch::Exact("1".to_owned()))];
    let routes = [
        Match { host: Some(HostMatch::Exact("api.example.com".into())), path: prefix("/v1"), ..any() },
        Match { host: Some(HostMatch::Suffix(".example.com".into())), headers: one("x-canary"), ..any() },
        Match { path: Some(PathMatch::Regex(Regex::new("^/users/[0-9]+$").unwrap())), ..any() },
        Match { path: prefix("/a/b"), query: one("q"), cookies: one("c"), ..any() },
        any(),
    ];
    let router = Router::new(&routes);
    let mut headers = http::HeaderMap::new();
    headers.insert("x-canary", "2".parse().unwrap());
    headers.insert("cookie", "a=1; c=1".parse().unwrap());
    let allocated = allocations(|number| {
        let (host, path) = [("API.example.com", "/v1/x"), ("a.b.example.com", "/users/7"), ("other", "/a/b/c/d")]
            [usize::try_from(number % 3).unwrap()];
        let asked = Asked { query: Some("p=1&q=1"), ..Asked::get(host, path, &headers) };
        assert!(router.find(&asked).is_some_and(|found| found < 4));
    });
    assert_eq!(allocated, 0);
}

fn prefix(text: &str) -> Option<PathMatch> {
    Some(PathMatch::Prefix(text.to_owned()))
}
