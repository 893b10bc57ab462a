//! What must hold whatever happens: every algorithm, with and without policies, through a hundred thousand random steps.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use pingora_core::Result;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::{Backend, Extensions};

use super::observer::Observer;
use super::{Pick, Pool, PoolBuilder, Unavailable};
use crate::backend::{Attributes, Failure, Lease, Member, Outcome, Policy, PoolState, Thresholds};
use crate::config::{self, Choices, Decay, Ejection, LeastTime, Percent, TableSize, Zone};
use crate::metrics::Metrics;
use crate::selection::{
    Algorithm, AtRandom, FewestInFlight, Hashed, LessLoaded, Maglev, Rendezvous, Ring, ShortestTime, Sooner, Turns,
};

const SEED: u64 = 0x5eed;
const ONCE: Thresholds = Thresholds { rise: 1, fall: 1 };

/// A source that says what the test wants.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<BTreeSet<Backend>>>);

#[async_trait]
impl ServiceDiscovery for Scripted {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        Ok((self.0.lock().unwrap().clone(), HashMap::new()))
    }
}

/// A pool under random events.
struct World<'a> {
    pool: Arc<Pool>,
    /// The next generation's pool, in the place of this one if there is one.
    build: Box<dyn Fn(PoolBuilder) -> Pool + 'a>,
    source: Scripted,
    random: fastrand::Rng,
    leases: Vec<Lease>,
    policies: bool,
    observer: Observer,
    trials: usize,
}

impl<'a> World<'a> {
    fn new<A: Algorithm>(policies: bool, make: impl Fn(&Arc<PoolState>) -> A + 'a) -> Self {
        let (source, metrics) = (Scripted::default(), Metrics::new().unwrap());
        let build = Box::new(move |builder: PoolBuilder| builder.algorithm(&metrics, &make));
        let pool = Arc::new(build(builder(&source, policies)));
        let (random, observer) = (fastrand::Rng::with_seed(SEED), Observer::default());
        let mut world = World { pool, build, source, random, leases: Vec::new(), policies, observer, trials: 0 };
        world.pool.roster().pool().watch.begin(world.rules());
        (0..4).for_each(|_| world.change_backends());
        world
    }

    /// Run so many steps, of which one in `changes` changes the backends or their health.
    fn run(mut self, steps: usize, changes: usize) {
        for step in 0..steps {
            match self.random.usize(..changes) {
                0 if self.random.u8(..8) == 0 => self.reload(),
                0 if self.random.bool() => self.change_backends(),
                0 => self.change_health(),
                // More often than others: who is ejected is not left for long.
                1 if self.policies => self.observe(),
                n if n % 2 == 0 || self.leases.is_empty() => self.acquire(step),
                _ => self.end_one(),
            }
            if step % 1000 == 0 {
                self.check_counts();
            }
            if step % 20 == 0 {
                self.check_admitted();
            }
        }
        if self.policies {
            let ejections: u64 = self.members().iter().flat_map(|m| m.state.ejections()).map(|(_, count)| count).sum();
            assert!(ejections > 0 && self.trials > 0, "{ejections} ejections and {} trials", self.trials);
        }
        self.leases.clear();
        self.check_counts();
    }

    /// Another generation, which knows what the one before knew: leases of that go on.
    fn reload(&mut self) {
        let checked = PoolBuilder::health_check(
            builder(&self.source, self.policies).succeed(&self.pool),
            Arc::new(crate::health::TcpCheck),
            &config::HealthCheck { initial: config::Initial::Up, ..config::HealthCheck::default() },
        );
        let known = self.members();
        self.pool = Arc::new((self.build)(checked));
        self.pool.discover().now_or_never().unwrap().unwrap();
        let now = self.members();
        assert_eq!(known.len(), now.len());
        assert!(known.iter().zip(&now).all(|(before, after)| Arc::ptr_eq(&before.state, &after.state)));
        self.check_counts();
    }

    /// Somebody appears, vanishes, or has another weight, 0 among them.
    fn change_backends(&mut self) {
        let number = self.random.u8(1..=12);
        let addr: SocketAddr = format!("10.0.0.{number}:80").parse().unwrap();
        let weight = self.random.usize(0..=5);
        let mut ext = Extensions::new();
        if self.policies {
            let zone = Some(if number.is_multiple_of(3) { "a" } else { "b" }.into());
            ext.insert(Attributes {
                zone,
                priority: number % 2,
                max_in_flight: Some(u32::from(number % 4) + 1),
                ..Attributes::default()
            });
        }
        let mut backends = self.source.0.lock().unwrap();
        backends.retain(|backend| backend.addr != addr);
        if self.random.u8(..3) > 0 || backends.is_empty() {
            backends.insert(Backend { addr, weight, ext });
        }
        drop(backends);
        self.pool.discover().now_or_never().unwrap().unwrap();
    }

    fn change_health(&mut self) {
        let members = self.members();
        if let Some(member) = self.random.choice(&members) {
            let result = if self.random.bool() { Ok(()) } else { Err("dead".to_owned()) };
            member.state.observe(result, ONCE);
            self.pool.roster().refresh();
        }
    }

    /// Two failures in a row, for a short time.
    fn rules(&self) -> Option<Ejection> {
        let (consecutive_failures, base_time) = (Some(2), Duration::from_millis(1));
        let rules = Ejection { consecutive_failures, base_time, max_time: 8 * base_time, ..Ejection::default() };
        self.policies.then_some(rules)
    }

    fn observe(&mut self) {
        let ended = self.random.bool();
        if self.observer.look(&self.pool, self.rules().as_ref(), ended) {
            self.pool.roster().refresh();
        }
    }

    /// Ejection leaves somebody of those who are fit, and lets one attempt at a time try.
    fn check_admitted(&mut self) {
        let members = self.members();
        let fit = |member: &&Member| !member.state.draining() && member.state.health().0.healthy();
        let admitted = members.iter().any(|member| member.state.eligible() && !member.state.ejected());
        assert!(admitted || !members.iter().any(|member| fit(&member)), "{members:?}");
        let trials: Vec<_> = self.leases.iter().filter(|lease| lease.on_trial()).collect();
        for (place, lease) in trials.iter().enumerate() {
            let again = trials[..place].iter().any(|other| Arc::ptr_eq(other.backend(), lease.backend()));
            assert!(!again, "two try {:?}", lease.backend());
            assert!(!lease.backend().admitted(), "a second may try {:?}", lease.backend());
        }
    }

    fn acquire(&mut self, step: usize) {
        let members = self.members();
        let tried: Vec<SocketAddr> = (0..self.random.usize(..3))
            .filter_map(|_| self.random.choice(&members).map(|member| member.backend.addr.clone()))
            .collect();
        let key = self.random.u64(..).to_be_bytes();
        let left = |member: &&Member| member.state.admitted() && !tried.contains(&member.backend.addr);
        let left = members.iter().filter(left).count();
        let full = self.policies && self.pool.roster().pool().in_flight() >= 20;
        let key = if step.is_multiple_of(5) { &[][..] } else { &key };
        match self.pool.acquire(&Pick { key, tried: &tried, ..Pick::default() }) {
            Ok(lease) => {
                let state = lease.backend();
                assert!(state.eligible(), "step {step}: {state:?} is not eligible, {members:?}");
                assert!(!tried.contains(state.address()), "step {step}: {state:?} was tried");
                assert!(!state.draining() && !full && left > 0, "step {step}");
                assert!(state.max_in_flight().is_none_or(|max| state.in_flight() <= max), "step {step}: {state:?}");
                self.trials += usize::from(lease.on_trial());
                self.leases.push(lease);
            }
            Err(why) => {
                assert!(left == 0 || full, "step {step}: {why:?} with {left} left of {members:?}");
                assert!(!full || why != Unavailable::NoneAdmitted || !members.iter().any(|m| m.state.eligible()));
            }
        }
    }

    fn end_one(&mut self) {
        let mut lease = self.leases.swap_remove(self.random.usize(..self.leases.len()));
        match self.random.u8(..3) {
            0 => lease.report(Outcome::Succeeded, Duration::from_micros(self.random.u64(..10_000))),
            1 => lease.report(Outcome::Failed(Failure::Broken), Duration::ZERO),
            // The client left.
            _ => {}
        }
    }

    fn members(&self) -> Vec<Member> {
        self.pool.roster().load().members().to_vec()
    }

    /// What is in flight is what is leased, on everybody who is there.
    fn check_counts(&self) {
        for member in self.members() {
            let leased = self.leases.iter().filter(|lease| Arc::ptr_eq(lease.backend(), &member.state)).count();
            assert_eq!(member.state.in_flight() as usize, leased, "{member:?}");
        }
        if self.policies {
            assert_eq!(self.pool.roster().pool().in_flight(), self.leases.len());
        }
    }
}

fn builder(source: &Scripted, policies: bool) -> PoolBuilder {
    let builder = PoolBuilder::new("web", Box::new(source.clone()));
    if !policies {
        return builder;
    }
    builder.policy(Policy {
        zone: Some(Zone { name: "a".into(), minimum: Percent(70) }),
        overflow: Percent(70),
        slow_start: Some(Duration::from_millis(50)),
        max_in_flight: Some(20),
        ..Policy::default()
    })
}

/// With and without policies. `changes` is how many steps there are for each change, by how long the table takes to build.
fn holds<A: Algorithm>(changes: usize, make: impl Fn(&Arc<PoolState>) -> A) {
    println!("seed {SEED:#x}");
    for policies in [false, true] {
        World::new(policies, &make).run(100_000, changes);
    }
}

#[test]
fn of_round_robin() {
    holds(20, |_| Turns::default());
}

#[test]
fn of_random() {
    holds(20, |_| AtRandom);
}

#[test]
fn of_least_request() {
    holds(20, |_| FewestInFlight::default());
    holds(20, |_| FewestInFlight { choices: Choices::Drawn(2) });
}

#[test]
fn of_p2c() {
    holds(20, |_| LessLoaded);
}

#[test]
fn of_peak_ewma() {
    holds(20, |pool| Sooner::new(Decay::default(), pool));
}

#[test]
fn of_least_time() {
    holds(20, |pool| ShortestTime::new(LeastTime::default(), pool));
}

#[test]
fn of_consistent_hash() {
    holds(1000, |pool| Hashed::<Ring>::new((), None, pool));
    holds(1000, |pool| Hashed::<Ring>::new((), Some(Percent(125)), pool));
}

#[test]
fn of_maglev() {
    holds(200, |pool| Hashed::<Maglev>::new(TableSize(251), None, pool));
}

#[test]
fn of_rendezvous() {
    holds(2000, |pool| Hashed::<Rendezvous>::new((), None, pool));
}
