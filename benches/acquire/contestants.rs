//! What is measured: pools of every algorithm, pingora alone, and pingora's machinery with nothing in it.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use evenkeel::backend::{Outcome, Thresholds};
use evenkeel::config::{Choices, Decay, LeastTime, Percent, TableSize};
use evenkeel::metrics::Metrics;
use evenkeel::pool::{Pick, Pool, PoolBuilder};
use evenkeel::selection::{
    AtRandom, FewestInFlight, Hashed, LessLoaded, Maglev, Rendezvous, Ring, ShortestTime, Sooner, Turns,
};
use futures_util::FutureExt;
use pingora_core::Result;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::selection::{BackendIter, BackendSelection, RoundRobin};
use pingora_load_balancing::{Backend, Backends, LoadBalancer};

/// How many backends there are, and how many of them are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    Three,
    Hundred,
    TenThousand,
    TenThousandMostlyDead,
}

impl Size {
    pub(crate) const ALL: [Size; 4] = [Size::Three, Size::Hundred, Size::TenThousand, Size::TenThousandMostlyDead];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Size::Three => "3 backends",
            Size::Hundred => "100",
            Size::TenThousand => "10,000",
            Size::TenThousandMostlyDead => "10,000, 90 % dead",
        }
    }

    /// As `--size=` says it.
    pub(crate) fn named(name: &str) -> Option<Size> {
        let names = ["3", "100", "10000", "dead"];
        names.iter().zip(Size::ALL).find(|(known, _)| **known == name).map(|(_, size)| size)
    }

    fn count(self) -> usize {
        match self {
            Size::Three => 3,
            Size::Hundred => 100,
            Size::TenThousand | Size::TenThousandMostlyDead => 10_000,
        }
    }

    /// How much more than of three backends a pick may cost.
    pub(crate) fn may_grow(self) -> f64 {
        match self {
            Size::Three | Size::Hundred | Size::TenThousand => 1.5,
            Size::TenThousandMostlyDead => 2.0,
        }
    }
}

/// Something that picks a backend.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pick: PickFn,
}

type PickFn = Box<dyn Fn(&[u8]) -> bool + Sync>;

impl Contestant {
    /// One pick, and its end. By itself, so that callgrind can count what is in it.
    #[inline(never)]
    pub(crate) fn run(&self) -> bool {
        (self.pick)(&key())
    }

    /// Whether the others are measured against it.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self.name, "pingora" | "machinery")
    }
}

/// Another key each time.
fn key() -> [u8; 8] {
    thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
    NEXT.set(NEXT.get().wrapping_add(1));
    NEXT.get().to_be_bytes()
}

pub(crate) fn hashes(name: &str) -> bool {
    matches!(name, "consistent_hash" | "bounded_load" | "maglev" | "rendezvous")
}

/// Whether it may cost more: comparing all is allowed to grow up to 64 backends, where it ends.
pub(crate) fn may_be_slow(name: &str, size: Size) -> bool {
    matches!(name, "least_request" | "least_time") && size != Size::Three
}

/// Everybody, over backends of this number. Pingora alone never sees a dead one: it would walk over them.
pub(crate) fn contestants(size: Size) -> Vec<Contestant> {
    let metrics = Metrics::new().expect("the names of metrics are well-formed");
    let pool = |name, build: &dyn Fn(PoolBuilder, &Metrics) -> Pool| {
        let pool = build(PoolBuilder::new("web", Box::new(Fixed(backends(size)))), &metrics);
        pool.discover().now_or_never().expect("asks nobody").expect("never fails");
        kill(&pool, size);
        Contestant { name, pick: Box::new(move |key| acquire(&pool, key)) }
    };
    vec![
        pingora::<RoundRobin>("pingora", backends(size)),
        pingora::<Any>("machinery", backends(size)),
        pool("round_robin", &|b, m| b.algorithm(m, |_| Turns::default())),
        pool("random", &|b, m| b.algorithm(m, |_| AtRandom)),
        pool("p2c", &|b, m| b.algorithm(m, |_| LessLoaded)),
        pool("least_request:2", &|b, m| b.algorithm(m, |_| FewestInFlight { choices: Choices::Drawn(2) })),
        pool("least_request", &|b, m| b.algorithm(m, |_| FewestInFlight::default())),
        pool("peak_ewma", &|b, m| b.algorithm(m, |pool| Sooner::new(Decay::default(), pool))),
        pool("consistent_hash", &|b, m| b.algorithm(m, |pool| Hashed::<Ring>::new((), None, pool))),
        pool("bounded_load", &|b, m| b.algorithm(m, |pool| Hashed::<Ring>::new((), Some(Percent(125)), pool))),
        pool("maglev", &|b, m| b.algorithm(m, |pool| Hashed::<Maglev>::new(TableSize::default(), None, pool))),
        pool("rendezvous", &|b, m| b.algorithm(m, |pool| Hashed::<Rendezvous>::new((), None, pool))),
        pool("least_time", &|b, m| b.algorithm(m, |pool| ShortestTime::new(LeastTime::default(), pool))),
    ]
}

fn acquire(pool: &Pool, key: &[u8]) -> bool {
    let lease = pool.acquire(&Pick { key, ..Pick::default() });
    lease.map(|mut lease| lease.report(Outcome::Succeeded, Duration::from_millis(5))).is_ok()
}

fn backends(size: Size) -> BTreeSet<Backend> {
    let address = |i: usize| format!("10.{}.{}.{}:80", i >> 16, i >> 8 & 255, i & 255);
    (0..size.count()).filter_map(|i| Backend::new(&address(i)).ok()).collect()
}

/// Nine of ten fail a probe.
fn kill(pool: &Pool, size: Size) {
    if size != Size::TenThousandMostlyDead {
        return;
    }
    for (number, member) in pool.roster().load().members().iter().enumerate() {
        if number % 10 != 0 {
            member.state.observe(Err("killed".to_owned()), Thresholds { rise: 1, fall: 1 });
        }
    }
    pool.roster().refresh();
}

fn pingora<S>(name: &'static str, backends: BTreeSet<Backend>) -> Contestant
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let balancer = LoadBalancer::<S>::from_backends(Backends::new(Box::new(Fixed(backends))));
    balancer.update().now_or_never().expect("asks nobody").expect("never fails");
    Contestant { name, pick: Box::new(move |key| balancer.select(key, 256).is_some()) }
}

struct Fixed(BTreeSet<Backend>);

#[async_trait::async_trait]
impl ServiceDiscovery for Fixed {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        Ok((self.0.clone(), HashMap::new()))
    }
}

/// Any backend.
struct Any(Box<[Backend]>);

struct Same(Arc<Any>, usize);

impl BackendSelection for Any {
    type Iter = Same;
    type Config = ();

    fn build(backends: &BTreeSet<Backend>) -> Self {
        Any(backends.iter().cloned().collect())
    }

    fn iter(self: &Arc<Self>, _: &[u8]) -> Same {
        Same(Arc::clone(self), fastrand::usize(..self.0.len()))
    }
}

impl BackendIter for Same {
    fn next(&mut self) -> Option<&Backend> {
        self.0.0.get(self.1)
    }
}
