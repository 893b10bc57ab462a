//! Who is an outlier, of backends whose answers are drawn.

use std::sync::Arc;
use std::time::Duration;

use super::super::histogram::Histogram;
use super::compare::slow_beyond;
use super::*;

/// How a backend answers: milliseconds of the next answer, by chance.
type Pace<'a> = &'a dyn Fn(&mut fastrand::Rng) -> f64;

/// Backends that count as real ones do.
struct Bench {
    outliers: Outliers,
    took: Vec<Histogram>,
    attempts: Vec<(u64, u64)>,
    in_flight: Vec<u32>,
    judged: Vec<bool>,
    zones: Vec<Option<Arc<str>>>,
    random: fastrand::Rng,
}

impl Bench {
    fn new(backends: usize) -> Self {
        let mut bench = Bench {
            outliers: Outliers::default(),
            took: (0..backends).map(|_| Histogram::default()).collect(),
            attempts: vec![(0, 0); backends],
            in_flight: vec![0; backends],
            judged: vec![true; backends],
            zones: vec![None; backends],
            random: fastrand::Rng::with_seed(7),
        };
        bench.end();
        bench
    }

    fn end(&mut self) -> Vec<(usize, Cause)> {
        let reading = |number: usize| Reading {
            address: format!("10.0.0.{number}:80").parse().unwrap(),
            peers: (0, self.zones[number].clone()),
            took: self.took[number].read(),
            succeeded: self.attempts[number].0,
            failed: self.attempts[number].1,
            in_flight: self.in_flight[number],
            overtaken: 0,
            judged: self.judged[number],
        };
        let readings: Vec<Reading> = (0..self.took.len()).map(reading).collect();
        let addresses: Vec<_> = readings.iter().map(|reading| reading.address.clone()).collect();
        let found = self.outliers.end_window(readings, Some(&Rules::default()));
        found.into_iter().map(|(at, cause)| (addresses.iter().position(|a| *a == at).unwrap(), cause)).collect()
    }

    /// A window in which each answers so often and so slowly.
    fn window(&mut self, answers: &[usize], paces: &[Pace<'_>]) -> Vec<usize> {
        for (number, took) in self.took.iter().enumerate() {
            for _ in 0..answers[number] {
                took.record(Duration::from_secs_f64(paces[number](&mut self.random) / 1e3));
                self.attempts[number].0 += 1;
            }
        }
        self.end().into_iter().map(|(number, _)| number).collect()
    }

    /// In which window of so many somebody is an outlier first, and who.
    fn first(&mut self, windows: usize, answers: &[usize], paces: &[Pace<'_>]) -> Option<(usize, Vec<usize>)> {
        (1..=windows).find_map(|number| {
            let found = self.window(answers, paces);
            (!found.is_empty()).then_some((number, found))
        })
    }
}

fn exponential(mean: f64) -> impl Fn(&mut fastrand::Rng) -> f64 {
    move |random| -mean * (1.0 - random.f64()).ln()
}

/// One in `slow` takes a second, the others a millisecond.
fn two_kinds(slow: u32) -> impl Fn(&mut fastrand::Rng) -> f64 {
    move |random| if random.u32(..slow) == 0 { 1000.0 } else { 1.0 }
}

#[test]
fn who_hangs_is_out_in_three_windows_and_who_sends_for_long_is_not() {
    let normal = |_: &mut _| 10.0;
    let paces: [Pace<'_>; 3] = [&normal, &normal, &normal];
    let mut bench = Bench::new(3);
    // Downloads: their answers have begun.
    bench.in_flight = vec![100; 3];
    let answers = [40, 0, 40];
    bench.window(&[40; 3], &paces);
    let mut out = Vec::new();
    for window in 1..=5 {
        bench.in_flight[1] += 3;
        out.extend(bench.window(&answers, &paces).into_iter().map(|number| (window, number)));
    }
    assert_eq!(out.first(), Some(&(3, 1)));
    let mut bench = Bench::new(3);
    bench.in_flight = vec![100; 3];
    bench.window(&[40; 3], &paces);
    assert_eq!((0..9).flat_map(|_| bench.window(&answers, &paces)).next(), None, "nobody asks it");
    bench.in_flight[1] += 50;
    assert_eq!(bench.window(&answers, &paces), [0; 0], "it has been silent for long, but nobody has waited");
}

#[test]
fn one_of_five_that_is_five_times_slower_is_out_in_three_windows() {
    let (normal, slow) = (|_: &mut _| 10.0, |_: &mut _| 50.0);
    let paces: [Pace<'_>; 5] = [&normal, &slow, &normal, &normal, &normal];
    assert_eq!(Bench::new(5).first(9, &[40; 5], &paces), Some((3, vec![1])));
    let (normal, slow) = (exponential(4.0), exponential(20.0));
    let paces: [Pace<'_>; 5] = [&normal, &normal, &normal, &normal, &slow];
    assert_eq!(Bench::new(5).first(9, &[40; 5], &paces), Some((3, vec![4])), "where answers differ much, too");
    let paces: [Pace<'_>; 3] = [&normal, &normal, &slow];
    assert_eq!(Bench::new(3).first(9, &[40; 3], &paces), Some((3, vec![2])));
}

#[test]
fn where_all_become_slow_nobody_is_an_outlier() {
    let mut bench = Bench::new(5);
    let (normal, slow) = (exponential(4.0), exponential(20.0));
    assert_eq!(bench.first(20, &[40; 5], &[&normal as Pace<'_>; 5]), None);
    assert_eq!(bench.first(50, &[40; 5], &[&slow as Pace<'_>; 5]), None);
    assert_eq!(bench.first(50, &[3, 5, 8, 13, 21], &[&normal as Pace<'_>; 5]), None, "at other rates of requests");
}

#[test]
fn answers_that_differ_make_no_outlier() {
    // The tenth that is slow is a tenth by chance: somebody's 90th percentile is a second in nearly every window.
    for (slow, seed) in [2, 5, 9, 10, 11, 15].into_iter().flat_map(|slow| [(slow, 1), (slow, 2)]) {
        let mut bench = Bench::new(6);
        bench.random = fastrand::Rng::with_seed(seed);
        let pace = two_kinds(slow);
        assert_eq!(bench.first(60, &[30; 6], &[&pace as Pace<'_>; 6]), None, "one of {slow}, seed {seed}");
    }
    let mut bench = Bench::new(6);
    let heavy = |random: &mut fastrand::Rng| (1.0 - random.f64()).powi(-2);
    assert_eq!(bench.first(200, &[15; 6], &[&heavy as Pace<'_>; 6]), None);
}

#[test]
fn a_pause_is_no_illness() {
    let mut bench = Bench::new(4);
    let (normal, slow) = (|_: &mut _| 5.0, |_: &mut _| 100.0);
    for _ in 0..20 {
        assert_eq!(bench.first(2, &[20; 4], &[&slow, &normal, &normal, &normal]), None);
        assert_eq!(bench.first(1, &[20; 4], &[&normal as Pace<'_>; 4]), None);
    }
}

#[test]
fn few_answers_are_judged_by_more_windows_and_too_few_not() {
    let (normal, slow) = (|_: &mut _| 10.0, |_: &mut _| 50.0);
    let paces: [Pace<'_>; 5] = [&slow, &normal, &normal, &normal, &normal];
    assert_eq!(Bench::new(5).first(50, &[5, 40, 40, 40, 40], &paces), Some((6, vec![0])));
    assert_eq!(Bench::new(5).first(50, &[1, 40, 40, 40, 40], &paces), Some((30, vec![0])));
    assert_eq!(Bench::new(5).first(50, &[0, 40, 40, 40, 40], &paces), None);
    assert_eq!(Bench::new(5).first(50, &[40, 1, 1, 1, 1], &paces), None, "twenty of the peers are needed");
}

#[test]
fn two_have_too_few_peers_and_a_silent_one_is_none() {
    let (normal, slow) = (|_: &mut _| 10.0, |_: &mut _| 50.0);
    assert_eq!(Bench::new(2).first(50, &[40; 2], &[&slow, &normal]), None);
    assert_eq!(Bench::new(3).first(50, &[40, 40, 0], &[&slow, &normal, &normal]), None);
}

#[test]
fn a_few_times_next_to_nothing_is_nothing() {
    let (normal, slow) = (|_: &mut _| 0.2, |_: &mut _| 1.0);
    assert_eq!(Bench::new(3).first(50, &[40; 3], &[&slow, &normal, &normal]), None);
    assert_eq!(slow_beyond(Duration::from_millis(1)), Duration::from_millis(4));
    assert_eq!(slow_beyond(Duration::from_millis(10)), Duration::from_millis(30));
}

#[test]
fn who_is_far_away_is_compared_with_those_who_are_too() {
    let (near, far) = (|_: &mut _| 2.0, |_: &mut _| 30.0);
    let slow = |_: &mut _| 150.0;
    let mut bench = Bench::new(6);
    (3..6).for_each(|number| bench.zones[number] = Some("b".into()));
    let paces: [Pace<'_>; 6] = [&near, &near, &near, &far, &far, &far];
    // Their zones have just been told: from here on they are compared.
    bench.end();
    assert_eq!(bench.first(50, &[40; 6], &paces), None);
    let paces: [Pace<'_>; 6] = [&near, &near, &near, &far, &far, &slow];
    assert_eq!(bench.first(50, &[40; 6], &paces), Some((3, vec![5])));
}

#[test]
fn who_comes_back_begins_anew() {
    let (normal, slow) = (|_: &mut _| 10.0, |_: &mut _| 50.0);
    let paces: [Pace<'_>; 5] = [&slow, &normal, &normal, &normal, &normal];
    let mut bench = Bench::new(5);
    assert_eq!(bench.first(3, &[40; 5], &paces), Some((3, vec![0])));
    bench.judged[0] = false;
    assert_eq!(bench.first(20, &[40; 5], &paces), None, "it is out, and not judged");
    bench.judged[0] = true;
    assert_eq!(bench.first(9, &[40; 5], &paces), Some((4, vec![0])), "the first window it was not in whole");
}

#[test]
fn what_the_pool_took_lately() {
    let mut bench = Bench::new(2);
    let (early, late) = (|_: &mut _| 10.0, |_: &mut _| 100.0);
    bench.first(5, &[10; 2], &[&early as Pace<'_>; 2]);
    bench.first(5, &[10; 2], &[&late as Pace<'_>; 2]);
    assert_eq!((bench.outliers.lately().total(), bench.outliers.lately().above(Duration::from_millis(50))), (200, 100));
    bench.first(5, &[10; 2], &[&late as Pace<'_>; 2]);
    assert_eq!(bench.outliers.lately().above(Duration::from_millis(50)), 200, "ten windows are lately");
}

/// After ten windows in which each had so many attempts, of which so many failed, who is an outlier.
fn rated(attempts: &[(u64, u64)]) -> Vec<(usize, Cause)> {
    let mut bench = Bench::new(attempts.len());
    let mut found = Vec::new();
    for window in 2..=20 {
        if window > 10 {
            for (counted, (all, failed)) in bench.attempts.iter_mut().zip(attempts) {
                *counted = (counted.0 + (all - failed) / 10, counted.1 + failed / 10);
            }
        }
        found.extend(bench.end());
    }
    found
}

#[test]
fn a_success_rate_far_below_the_peers_is_an_outlier() {
    let who = |attempts: &[(u64, u64)]| {
        let mut who: Vec<usize> = rated(attempts).into_iter().map(|(number, _)| number).collect();
        who.sort_unstable();
        who
    };
    let well = (1000, 0);
    assert_eq!(who(&[well, well, (1000, 200), well]), [2]);
    assert_eq!(who(&[well, (1000, 500), (1000, 500), well, well, well]), [1, 2], "two do not hide each other");
    assert_eq!(who(&[well, well, (1000, 40)]), [0; 0], "four percent are not far");
    assert_eq!(who(&[(1000, 300); 5]), [0; 0], "all are as bad");
    assert_eq!(
        who(&[(1000, 300), (1000, 280), (1000, 340), (1000, 290), (1000, 320)]),
        [0; 0],
        "as far as that is chance"
    );
    assert_eq!(who(&[well, (1000, 500)]), [0; 0], "one peer is too few");
    assert_eq!(who(&[well, well, (90, 90)]), [0; 0], "too few attempts");
    assert_eq!(who(&[well, (90, 0), (1000, 500)]), [0; 0], "of a peer, too");
}

#[test]
fn the_cause_says_by_how_much() {
    let (normal, slow) = (|_: &mut _| 10.0, |_: &mut _| 50.0);
    let mut bench = Bench::new(3);
    for _ in 0..2 {
        bench.window(&[40; 3], &[&slow, &normal, &normal]);
    }
    (0..3).for_each(|number| {
        (0..40).for_each(|_| bench.took[number].record(Duration::from_millis([50, 10, 10][number])))
    });
    let found = bench.end();
    let Cause::Latency { p90, median, limit } = found[0].1 else { panic!("{found:?}") };
    let near = |took: Duration, millis: f64| (took.as_secs_f64() * 1e3 - millis).abs() <= millis / 16.0;
    assert!(near(p90, 50.0) && near(median, 10.0) && near(limit, 30.0), "{found:?}");
    let found = rated(&[(1000, 0), (1000, 0), (1000, 250)]);
    assert_eq!(found, [(2, Cause::SuccessRate { own: 0.75, peers: 1.0 })]);
}
