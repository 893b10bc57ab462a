//! How many attempts a pool takes before it gets slow, found from its latencies: a pure state machine.
//!
//! It is a gradient limiter: `limit × gradient + √limit`, where the gradient is how much slower the pool is than it is
//! without a queue. Gradient, headroom and tolerance are those of Envoy's adaptive concurrency (envoyproxy/envoy#7908,
//! #9038), which has them from Netflix' Gradient2. What the pool takes without a queue is the hard part. Gradient2 averages
//! over the last minutes, and so takes a long overload for normal: its limit grows without bound (Netflix/concurrency-limits
//! #134, #137). Envoy lets but three requests in for a while, every minute, and sends the others away, however idle the pool.
//!
//! Here it is measured as TCP BBR does (Cardwell et al., ACM Queue 14, 2016): by doing with less for a moment. In a *dip* the
//! limit is halved. If that makes the pool faster, then there was a queue, and what the dip took is the new baseline; if it
//! does not, then the pool is slow by itself, and so is the new baseline. It takes a dip to raise the baseline for good, and
//! nothing but a slow pool to have one: whoever is not overloaded is never sent away for the sake of a measurement, unless
//! the pool has become much slower by itself. As a baseline is what half the limit takes and the limit allows less than double
//! the baseline, no overload can keep itself up.

use std::time::{Duration, Instant};

/// How often the limiter is fed.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// The limit to begin with, as a share of the largest: a restart sends nobody away, and an overload is soon found out.
const INITIAL: f64 = 0.1;
/// How much slower than the baseline is not slow: less than that is noise.
const TOLERANCE: f64 = 1.25;
/// The share of the limit that is left in a dip.
const DIP: f64 = 0.5;
/// How far the baseline may rise without a dip that confirms it.
const BELIEVED: f64 = 1.5;
/// A window has as many samples as make its mean good to a tenth, unless that takes too long.
const ENOUGH: u32 = 100;
const AT_LEAST: u32 = 10;
/// The shortest and the longest window; either way it is some latencies long, or it would tell of the limit before.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(1);
const PATIENCE: u32 = 8;
/// Those who leave while nobody comes took longer than others, because long ones are more likely to be under way.
const LEAVING: f64 = 0.8;
/// With half as much under way, less than this share of the latency is left: most of it was waiting, and maybe still is. So it
/// is with more, if that is more than was known.
const WAITED: f64 = 0.6;
/// From one dip to the next, and not less than so many times what a dip takes; unless the limit has come down to this share
/// of what it was then.
const BETWEEN_DIPS: Duration = Duration::from_secs(10);
const SELDOM: u32 = 20;
const CAME_DOWN: f64 = 0.7;

/// What happened from one tick to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// How many attempts were answered, and how long they took together, in seconds.
    pub(crate) answered: u32,
    pub(crate) seconds: f64,
    /// How many attempts are under way at its end.
    pub(crate) in_flight: usize,
    /// How many were refused because of the limit.
    pub(crate) refused: u64,
}

/// Several of them.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    total: Sample,
    ticks: u32,
}

/// A dip that is under way.
#[derive(Debug)]
struct Dip {
    limit: f64,
    /// What the limit was before it, or how much was under way, and how long an answer took then, in seconds.
    from: f64,
    before: f64,
    /// When it began, and when it came to this limit.
    began: Instant,
    since: Instant,
    /// Whether no more are under way than it allows.
    reached: bool,
}

/// Finds the limit of one pool.
#[derive(Debug)]
pub(crate) struct Limiter {
    min: f64,
    max: f64,
    limit: f64,
    /// Seconds that an answer takes without a queue, and as a dip or less work has confirmed it.
    baseline: Option<f64>,
    confirmed: Option<f64>,
    /// Seconds that an answer took in the last window.
    mean: f64,
    window: Window,
    /// When the window began, or will: what is answered before that was begun under another limit.
    since: Instant,
    /// Grow in leaps, as long as it costs nothing.
    leaping: bool,
    dip: Option<Dip>,
    next_dip: Instant,
    /// The limit after the last dip.
    dipped_to: f64,
}

impl Limiter {
    pub(crate) fn new(min: u32, max: u32, now: Instant) -> Self {
        let (min, max) = (f64::from(min), f64::from(max.max(min)));
        Limiter {
            min,
            max,
            limit: (INITIAL * max).clamp(min, max),
            baseline: None,
            confirmed: None,
            mean: 0.0,
            window: Window::default(),
            since: now,
            leaping: true,
            dip: None,
            next_dip: now,
            dipped_to: 0.0,
        }
    }

    /// How many attempts there may be now.
    pub(crate) fn limit(&self) -> usize {
        let limit = self.dip.as_ref().map_or(self.limit, |dip| dip.limit);
        limit as usize
    }

    /// How long an answer took lately, and how long it takes without a queue.
    pub(crate) fn latencies(&self) -> (Duration, Duration) {
        (seconds(self.mean), seconds(self.baseline.unwrap_or_default()))
    }

    /// Take in what happened since the last tick.
    pub(crate) fn tick(&mut self, sample: Sample, now: Instant) {
        if !self.reached(sample, now) || now <= self.since {
            return;
        }
        self.window.add(sample);
        let (age, latency) = (now - self.since, seconds(self.mean));
        let answered = self.window.total.answered;
        // The very first says what the pool takes without a queue, if there is none yet: soon there may be one.
        let first = self.baseline.is_none() && answered >= AT_LEAST;
        let full = first || answered >= ENOUGH && age >= SHORTEST.max(2 * latency);
        let late = age >= LONGEST.max(PATIENCE * latency);
        if late
            && answered < AT_LEAST
            && let Some(dip) = self.dip.take()
        {
            // There is too little to do to learn from it.
            self.end_dip(dip.began, dip.before, now);
        } else if full || late && answered >= AT_LEAST {
            let window = std::mem::take(&mut self.window);
            self.since = now;
            self.decide(&window, now);
        }
    }

    /// Whether what is answered from now on tells of the limit that there is. Those who have been under way since before a dip
    /// have to leave first, and tell how long it really took until then.
    fn reached(&mut self, sample: Sample, now: Instant) -> bool {
        let Some(dip) = self.dip.as_mut().filter(|dip| !dip.reached) else {
            return true;
        };
        self.window.add(sample);
        if self.window.total.answered >= AT_LEAST {
            dip.before = dip.before.max(LEAVING * self.window.mean());
        }
        let (began, since, before) = (dip.began, dip.since, dip.before);
        dip.reached = sample.in_flight as f64 <= dip.limit;
        if dip.reached {
            self.settle(before, now);
        } else if now - since >= LONGEST.max(PATIENCE * seconds(before)) {
            // Tunnels and long downloads do not make room for anybody.
            self.dip = None;
            self.end_dip(began, before, now);
        }
        false
    }

    fn decide(&mut self, window: &Window, now: Instant) {
        let mean = window.mean();
        if let Some(dip) = self.dip.take() {
            self.learn(&dip, mean, now);
            return;
        }
        self.mean = mean;
        let held_back = window.total.refused > 0;
        let baseline = self.follow(mean, held_back);
        let slow = mean > TOLERANCE * baseline;
        let doubtful = match self.confirmed {
            None => held_back && (slow || self.limit >= self.max),
            Some(confirmed) => slow && held_back || baseline > BELIEVED * confirmed,
        };
        if doubtful && (now >= self.next_dip || self.limit < CAME_DOWN * self.dipped_to) {
            let used = if held_back { self.limit } else { window.in_flight().min(self.limit) };
            self.begin_dip(used, mean, now, now);
        } else if held_back || window.in_flight() > self.limit / 2.0 && !slow {
            self.steer(mean, baseline, now);
        }
    }

    /// Let the baseline follow a window, and return it. Faster is always good news; slower is none while there may be a queue.
    fn follow(&mut self, mean: f64, held_back: bool) -> f64 {
        let baseline = self.baseline.unwrap_or(mean);
        let part = match mean < baseline {
            true if mean * TOLERANCE < baseline => 0.5,
            false if held_back => 0.0,
            _ => 0.05,
        };
        let baseline = baseline + part * (mean - baseline);
        self.confirmed = self.confirmed.map(|confirmed| confirmed.min(baseline));
        *self.baseline.insert(baseline)
    }

    fn steer(&mut self, mean: f64, baseline: f64, now: Instant) {
        self.leaping &= mean <= TOLERANCE * baseline;
        // Of a pool that has become faster the baseline has to come down first, or the leap would be to a queue.
        if self.leaping && mean * TOLERANCE >= baseline {
            self.set(self.limit * 2.0);
            self.settle(2.0 * mean, now);
        } else {
            let gradient = (TOLERANCE * baseline / mean).clamp(0.5, 1.0);
            self.set(self.limit * gradient + self.limit.sqrt());
        }
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(self.min, self.max);
    }

    fn begin_dip(&mut self, from: f64, before: f64, began: Instant, now: Instant) {
        self.window = Window::default();
        self.dip = Some(Dip { limit: (from * DIP).floor().max(1.0), from, before, began, since: now, reached: false });
    }

    /// What is under way was begun under another limit: leave it out of account.
    fn settle(&mut self, latency: f64, now: Instant) {
        self.window = Window::default();
        self.since = now + seconds(latency);
    }

    /// The dip has told what the pool takes with less to do.
    fn learn(&mut self, dip: &Dip, mean: f64, now: Instant) {
        let known = self.baseline.unwrap_or(mean);
        let waited = mean < WAITED * dip.before || mean * TOLERANCE < dip.before && mean > TOLERANCE * known;
        if waited && dip.limit > self.min {
            self.begin_dip(dip.limit, mean, dip.began, now);
            return;
        }
        let surprising = mean > TOLERANCE * known || mean * TOLERANCE < known;
        let baseline = if surprising { mean } else { known + 0.3 * (mean - known) };
        self.baseline = Some(baseline);
        self.confirmed = Some(baseline);
        // As fast with half as much to do: nothing waited for anything.
        self.leaping = dip.from >= self.limit && mean * TOLERANCE > dip.before;
        if !self.leaping {
            self.set(self.limit.min(dip.from * (TOLERANCE * baseline / dip.before).min(1.0) + dip.from.sqrt()));
        }
        self.end_dip(dip.began, mean, now);
    }

    fn end_dip(&mut self, began: Instant, latency: f64, now: Instant) {
        self.next_dip = now + BETWEEN_DIPS.max(SELDOM * (now - began));
        self.dipped_to = self.limit;
        self.settle(2.0 * latency, now);
    }
}

impl Window {
    fn add(&mut self, sample: Sample) {
        self.total.answered += sample.answered;
        self.total.seconds += sample.seconds;
        self.total.in_flight += sample.in_flight;
        self.total.refused += sample.refused;
        self.ticks += 1;
    }

    fn mean(&self) -> f64 {
        self.total.seconds / f64::from(self.total.answered.max(1))
    }

    fn in_flight(&self) -> f64 {
        self.total.in_flight as f64 / f64::from(self.ticks.max(1))
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
#[path = "simulation.rs"]
mod simulation;
#[cfg(test)]
#[path = "ticks.rs"]
mod ticks;
