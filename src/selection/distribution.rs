//! Who is picked how often: the algorithms over one group of backends whose load the test sets.

use std::sync::Arc;
use std::time::Duration;

use pingora_load_balancing::Backend;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};

use super::testing::chi_square;
use super::{Algorithm, AtRandom, FewestInFlight, Following, LessLoaded, Selection, ShortestTime, Sooner, Turns};
use crate::backend::{Failure, Lease, Outcome, Policy, PoolState, Roster};
use crate::config::{Choices, Decay, LeastTime};

/// A roster of backends of these weights, and an algorithm over it.
struct Bench<A: Algorithm> {
    roster: Arc<Roster>,
    selection: Arc<Selection<A>>,
}

impl<A: Algorithm> Bench<A> {
    fn new(weights: &[usize], make: impl FnOnce(&Arc<PoolState>) -> A) -> Self {
        let seed = 20;
        println!("seed {seed}");
        fastrand::seed(seed);
        let roster = Roster::new(Policy::default());
        let backend = |(i, weight): (usize, &usize)| Backend::new_with_weight(&address(i), *weight).unwrap();
        let backends: Vec<Backend> = weights.iter().enumerate().map(backend).collect();
        roster.set_members(&backends);
        let following = Following::roster(make(roster.pool()), &roster);
        let selection = Arc::new(Selection::build_with_config(&backends.into_iter().collect(), &following));
        Bench { roster, selection }
    }

    fn lease(&self, place: usize) -> Lease {
        Lease::begin(Arc::clone(&self.roster.load().members()[place].state)).unwrap()
    }

    /// So many requests under way on each.
    fn load(&self, in_flight: &[usize]) -> Vec<Lease> {
        in_flight.iter().enumerate().flat_map(|(place, n)| vec![place; *n]).map(|place| self.lease(place)).collect()
    }

    /// Each has lately answered in so many milliseconds.
    fn answered(&self, millis: &[u64]) {
        for (place, millis) in millis.iter().enumerate() {
            self.lease(place).report(Outcome::Succeeded, Duration::from_millis(*millis));
        }
    }

    fn pick(&self) -> usize {
        let snapshot = self.roster.load();
        let mut offers = self.selection.iter(b"");
        let picked = offers.next().unwrap();
        snapshot.members().iter().position(|member| *member.backend == *picked).unwrap()
    }

    /// How often each is picked while the load stays as it is.
    fn picked(&self, times: usize) -> Vec<u64> {
        let mut counts = vec![0; self.roster.load().members().len()];
        (0..times).for_each(|_| counts[self.pick()] += 1);
        counts
    }

    /// How many requests each has when so many have come and none has ended.
    fn filled(&self, requests: usize) -> Vec<u32> {
        let leases: Vec<Lease> = (0..requests).map(|_| self.lease(self.pick())).collect();
        let in_flight = self.roster.load().members().iter().map(|member| member.state.in_flight()).collect();
        drop(leases);
        in_flight
    }
}

fn address(i: usize) -> String {
    format!("10.0.{}.{}:80", i / 250, i % 250 + 1)
}

#[test]
fn random_goes_by_weight() {
    for weights in [vec![1; 10], vec![5, 1, 1], vec![1000, 1, 500, 20]] {
        let expected: Vec<u64> = weights.iter().map(|weight| *weight as u64).collect();
        chi_square(&Bench::new(&weights, |_| AtRandom).picked(100_000), &expected);
    }
}

#[test]
fn idle_equals_are_picked_by_weight() {
    for weights in [vec![1; 7], vec![5, 3, 1]] {
        let expected: Vec<u64> = weights.iter().map(|weight| *weight as u64).collect();
        chi_square(&Bench::new(&weights, |_| LessLoaded).picked(100_000), &expected);
        chi_square(&Bench::new(&weights, |_| FewestInFlight::default()).picked(100_000), &expected);
        let two = FewestInFlight { choices: Choices::Drawn(2) };
        chi_square(&Bench::new(&weights, |_| two).picked(100_000), &expected);
    }
    let many = vec![1; 100];
    let counts = Bench::new(&many, |_| FewestInFlight::default()).picked(100_000);
    chi_square(&counts, &[1; 100]);
    let equals = Bench::new(&[1; 7], |pool| Sooner::new(Decay::default(), pool));
    chi_square(&equals.picked(100_000), &[1; 7]);
}

/// Of n backends with loads 0, 1, 2, … the one in place k (from 0, the least loaded first) is the lesser of two with
/// probability 2 (n - 1 - k) / (n (n - 1)).
#[test]
fn p2c_picks_the_lesser_of_two() {
    let bench = Bench::new(&[1; 5], |_| LessLoaded);
    let _load = bench.load(&[0, 1, 2, 3, 4]);
    let counts = bench.picked(100_000);
    assert_eq!(counts[4], 0, "the most loaded never wins");
    chi_square(&counts[..4], &[4, 3, 2, 1]);
}

#[test]
fn least_request_picks_the_least_loaded_for_its_weight() {
    let bench = Bench::new(&[1; 5], |_| FewestInFlight::default());
    let _load = bench.load(&[3, 1, 2, 1, 4]);
    let counts = bench.picked(10_000);
    chi_square(&[counts[1], counts[3]], &[1, 1]);
    assert_eq!(counts[1] + counts[3], 10_000);
    assert_eq!(Bench::new(&[5, 3, 1], |_| FewestInFlight::default()).filled(90), [50, 30, 10], "exact where it can be");
}

/// With requests that do not end, two choices stay within some of the even number where one strays by the square root.
#[test]
fn two_choices_are_more_even_than_one() {
    let most = |in_flight: Vec<u32>| in_flight.into_iter().max().unwrap();
    let (one, two) = (Bench::new(&[1; 50], |_| AtRandom), Bench::new(&[1; 50], |_| LessLoaded));
    let (one, two) = (most(one.filled(5000)), most(two.filled(5000)));
    println!("the most on one of 50, 100 being even: {one} by one choice, {two} by two");
    assert!(two <= 104 && one >= 115);
}

#[test]
fn latency_counts_times_load() {
    let bench = Bench::new(&[1, 1], |pool| Sooner::new(Decay::default(), pool));
    bench.answered(&[10, 35]);
    assert_eq!(bench.picked(1000), [1000, 0]);
    let _three = bench.load(&[3, 0]);
    assert_eq!(bench.picked(1000), [0, 1000], "four times 10 ms are more than 35 ms");

    let bench = Bench::new(&[1; 4], |pool| ShortestTime::new(LeastTime::default(), pool));
    bench.answered(&[10, 30, 20, 11]);
    assert_eq!(bench.picked(1000), [1000, 0, 0, 0]);
    let _one = bench.load(&[1, 0, 0, 0]);
    assert_eq!(bench.picked(1000), [0, 0, 0, 1000]);
}

#[test]
fn one_that_fails_fast_does_not_attract() {
    let bench = Bench::new(&[1; 2], |pool| Sooner::new(Decay::default(), pool));
    bench.answered(&[10, 10]);
    bench.lease(1).report(Outcome::Failed(Failure::Connect), Duration::from_micros(50));
    assert_eq!(bench.picked(1000), [1000, 0]);
    let _ten = bench.load(&[10, 0]);
    assert_eq!(bench.picked(1000), [0, 1000], "eleven times 10 ms are more than the ten that a failure counts as");
}

#[test]
fn the_place_in_the_cycle_outlives_a_change() {
    let bench = Bench::new(&[1; 4], |_| Turns::default());
    let first: Vec<usize> = (0..2).map(|_| bench.pick()).collect();
    bench.roster.refresh();
    let rest: Vec<usize> = (0..2).map(|_| bench.pick()).collect();
    assert_eq!([first, rest].concat(), [0, 1, 2, 3]);
}
