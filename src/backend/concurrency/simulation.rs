//! The limiter in front of simulated pools, over minutes of simulated time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::{Limiter, Sample, TICK};

/// Nanoseconds since the beginning.
type Time = u64;

fn nanos(seconds: f64) -> Time {
    (seconds * 1e9) as Time
}

/// A pool of workers behind one queue, and the limiter in front of it.
struct Simulation {
    limiter: Limiter,
    random: fastrand::Rng,
    start: Instant,
    now: Time,
    next: Time,
    /// When each worker has finished what it was given so far.
    workers: BinaryHeap<Reverse<Time>>,
    /// When each request will be done, and when it came.
    under_way: BinaryHeap<Reverse<(Time, Time)>>,
    /// Seconds that a worker takes, on average or always.
    service: f64,
    constant: bool,
}

/// What was seen over some time.
#[derive(Debug, Default)]
struct Seen {
    latencies: Vec<f64>,
    limits: Vec<usize>,
    refused: u64,
    seconds: f64,
}

impl Seen {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    fn mean(&self) -> f64 {
        self.latencies.iter().sum::<f64>() / self.latencies.len() as f64
    }

    fn p99(&self) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() * 99 / 100]
    }

    fn limit(&self) -> f64 {
        self.limits.iter().sum::<usize>() as f64 / self.limits.len() as f64
    }
}

impl Simulation {
    fn new(workers: usize, service: f64, seed: u64) -> Self {
        let start = Instant::now();
        Simulation {
            limiter: Limiter::new(4, 1000, start),
            random: fastrand::Rng::with_seed(seed),
            start,
            now: 0,
            next: 0,
            workers: vec![Reverse(0); workers].into(),
            under_way: BinaryHeap::new(),
            service,
            constant: false,
        }
    }

    /// Requests per second that it can serve.
    fn capacity(&self) -> f64 {
        self.workers.len() as f64 / self.service
    }

    fn resize(&mut self, workers: usize) {
        while self.workers.len() > workers {
            self.workers.pop();
        }
        while self.workers.len() < workers {
            self.workers.push(Reverse(self.now));
        }
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.random.f64()).ln()
    }

    /// So many times what it can serve is asked of it.
    fn run(&mut self, load: f64, seconds: f64) -> Seen {
        let rate = load * self.capacity();
        let (mut seen, end) = (Seen { seconds, ..Seen::default() }, self.now + nanos(seconds));
        self.next = self.now;
        while self.now < end {
            let tick = self.now + TICK.as_nanos() as Time;
            let mut sample = Sample::default();
            while self.next < tick {
                self.finish(self.next, &mut sample, &mut seen);
                self.arrive(self.next, &mut sample);
                self.next += nanos(self.exponential() / rate);
            }
            self.finish(tick, &mut sample, &mut seen);
            self.now = tick;
            sample.in_flight = self.under_way.len();
            seen.refused += sample.refused;
            self.limiter.tick(sample, self.start + Duration::from_nanos(tick));
            seen.limits.push(self.limiter.limit());
        }
        seen
    }

    fn arrive(&mut self, at: Time, sample: &mut Sample) {
        if self.under_way.len() < self.limiter.limit() {
            self.begin(at);
        } else {
            sample.refused += 1;
        }
    }

    fn begin(&mut self, at: Time) {
        let factor = if self.constant { 1.0 } else { self.exponential() };
        let Reverse(free) = self.workers.pop().unwrap();
        let done = free.max(at) + nanos(self.service * factor);
        self.workers.push(Reverse(done));
        self.under_way.push(Reverse((done, at)));
    }

    fn finish(&mut self, by: Time, sample: &mut Sample, seen: &mut Seen) {
        while let Some(Reverse((done, came))) = self.under_way.peek().copied().filter(|Reverse((done, _))| *done <= by)
        {
            self.under_way.pop();
            let took = (done - came) as f64 / 1e9;
            sample.answered += 1;
            sample.seconds += took;
            seen.latencies.push(took);
        }
    }
}

/// Workers, seconds that each takes, and whether always the same.
const POOLS: [(usize, f64, bool); 8] = [
    (4, 0.05, false),
    (16, 0.001, false),
    (16, 0.025, false),
    (16, 0.025, true),
    (16, 0.5, false),
    (64, 0.5, true),
    (100, 0.01, false),
    (400, 0.1, false),
];

#[test]
fn under_three_times_the_load_a_pool_does_what_it_can_and_hardly_slower() {
    for (workers, service, constant) in POOLS {
        let mut pool = Simulation { constant, ..Simulation::new(workers, service, 1) };
        let light = pool.run(0.3, 30.0);
        pool.run(3.0, 30_f64.max(60.0 * service));
        let seen = pool.run(3.0, 120.0);
        let (rate, mean, p99) = (seen.rate() / pool.capacity(), seen.mean() / service, seen.p99() / light.p99());
        let facts = format!("{workers} x {service} {constant}: {rate:.3} {mean:.2} {p99:.2} {:.1}", seen.limit());
        assert!(rate > 0.93 && mean < 2.4 && p99 < 2.0, "{facts}");
        let limit = seen.limit() / workers as f64;
        assert!((1.0..2.5).contains(&limit), "{facts}");
    }
}

#[test]
fn nobody_is_sent_away_from_a_pool_that_has_enough_workers() {
    for (workers, service, constant) in POOLS.into_iter().filter(|(workers, ..)| *workers <= 64) {
        for load in [0.1, 0.5, 0.8] {
            let mut pool = Simulation { constant, ..Simulation::new(workers, service, 2) };
            let seen = pool.run(load, 120.0);
            assert_eq!(seen.refused, 0, "{workers} x {service}, {load}");
        }
    }
}

/// More than it begins with: it has to grow first.
#[test]
fn a_large_pool_is_let_in_within_seconds() {
    let mut pool = Simulation::new(800, 0.1, 3);
    let seen = pool.run(0.9, 5.0);
    assert!((seen.refused as f64) < pool.capacity(), "at most one second of five: {}", seen.refused);
    assert_eq!(pool.run(0.9, 300.0).refused, 0);
}

#[test]
fn an_overload_that_was_there_before_does_not_pass_for_normal() {
    for (workers, service) in [(4, 0.05), (16, 0.025), (100, 0.01)] {
        let mut pool = Simulation::new(workers, service, 4);
        // Somebody else has filled its queue: ten seconds of it.
        for _ in 0..(10.0 * pool.capacity()) as usize {
            pool.begin(0);
        }
        pool.under_way.clear();
        // What takes long is each look: half of the queue has to be served first.
        pool.run(3.0, 180.0);
        let seen = pool.run(3.0, 60.0);
        assert!(seen.mean() < 2.4 * service, "{workers} x {service}: {} {}", seen.mean() / service, seen.limit());
    }
}

#[test]
fn follows_a_pool_that_becomes_slower_faster_larger_and_smaller() {
    let mut pool = Simulation::new(16, 0.025, 5);
    pool.run(3.0, 30.0);
    for (workers, service) in [(16, 0.1), (16, 0.01), (64, 0.01), (8, 0.01), (16, 0.025)] {
        pool.resize(workers);
        pool.service = service;
        let (at_first, later) = (pool.run(3.0, 20.0), pool.run(3.0, 20.0));
        let rate = |seen: &Seen| seen.rate() / pool.capacity();
        assert!(rate(&at_first) > 0.8, "{workers} x {service}: {}", rate(&at_first));
        assert!(rate(&later) > 0.93, "{workers} x {service}: {}", rate(&later));
        assert!(later.mean() < 2.4 * service, "{workers} x {service}: {}", later.mean() / service);
    }
}

/// As when a database behind all of them has become slow: with enough workers it is no overload.
#[test]
fn a_pool_that_is_slow_by_itself_is_not_taken_for_overloaded() {
    let mut pool = Simulation::new(1000, 0.025, 6);
    pool.run(0.025, 30.0);
    pool.service = 0.25;
    // The same requests per second, ten times as many of them under way at once.
    pool.run(0.25, 5.0);
    let seen = pool.run(0.25, 60.0);
    assert_eq!(seen.refused, 0);
}

/// A limiter that averages takes it for normal in the end, and lets the queue grow.
#[test]
fn a_slight_overload_does_not_raise_the_baseline_however_long_it_lasts() {
    for (load, constant) in [(1.001, true), (1.01, false), (1.05, false)] {
        let mut pool = Simulation { constant, ..Simulation::new(16, 0.025, 7) };
        pool.run(0.5, 30.0);
        for minute in 0..20 {
            let seen = pool.run(load, 60.0);
            assert!(seen.mean() < 4.0 * pool.service, "{load}, minute {minute}: {}", seen.mean() / pool.service);
        }
    }
}

/// Over a day in which the answers become larger, say. What it takes to be sure are dips.
#[test]
fn a_slow_change_of_the_pool_itself_sends_hardly_anybody_away() {
    let mut pool = Simulation::new(64, 0.01, 8);
    let (mut refused, mut served) = (0, 0);
    for _ in 0..180 {
        pool.service *= 1.0163;
        let seen = pool.run(0.5, 20.0);
        refused += seen.refused;
        served += seen.latencies.len() as u64;
    }
    assert!(pool.service > 0.18, "{}", pool.service);
    assert!(refused * 1000 < served * 2, "{refused} of {served}");
}
