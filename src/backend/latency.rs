//! How long a backend lately took, as a decaying average that fits one atomic word.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::config::Decay;

/// How latencies are averaged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Averaging {
    pub(crate) fading: Fading,
    /// Whether a measurement above the average replaces it at once. So trouble shows with the first slow answer, and trust
    /// comes back over the time constant (Finagle's peak EWMA).
    pub(crate) peak: bool,
}

/// How a measurement fades: by which part in each millisecond, at first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fading(f32);

impl Fading {
    /// Down to 1/e after `decay`.
    pub(crate) fn over(Decay(decay): Decay) -> Self {
        Fading(1.0 / (decay.as_secs_f32() * 1e3).max(1.0))
    }

    /// For an atomic word; never 0.
    pub(super) fn to_bits(self) -> u32 {
        self.0.to_bits()
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        Fading(f32::from_bits(bits))
    }

    /// What is left after this many milliseconds.
    #[inline]
    fn left(self, elapsed: u32) -> f32 {
        // A clock read just before another thread's measurement is not seven weeks late.
        if elapsed == 0 || elapsed > u32::MAX / 2 {
            return 1.0;
        }
        let part = elapsed as f32 * self.0;
        // Between two answers of a busy backend it is next to nothing, and the straight line is right to four digits.
        if part < 0.02 { 1.0 - part } else { (-part).exp() }
    }
}

/// A decaying average of latencies. Nothing at first.
///
/// The word holds microseconds as an `f32`, and below it when they were true in [`clock`](super::clock) milliseconds. Zero is
/// nothing: a real average is at least 1.
#[derive(Debug, Default)]
pub(crate) struct Latency(AtomicU64);

impl Latency {
    /// Take in a measurement.
    pub(crate) fn observe(&self, sample: Duration, now: u32, averaging: Averaging) {
        let sample = micros(sample).max(1.0);
        // Two at once: the later one sees what the earlier one made. It never fails, and so never gives up a peak.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let average = match unpack(word) {
                None => sample,
                Some((old, at)) => step(old, now.wrapping_sub(at), sample, averaging),
            };
            Some(pack(average, now))
        });
    }

    /// The average, and how long ago that was, in milliseconds.
    pub(super) fn save(&self, now: u32) -> Option<(f32, u32)> {
        unpack(self.0.load(Relaxed)).map(|(average, at)| (average, now.wrapping_sub(at)))
    }

    /// Know what was known so long ago.
    pub(super) fn restore(&self, average: f32, age: u32, now: u32) {
        if average.is_finite() && average >= 1.0 {
            self.0.store(pack(average, now.wrapping_sub(age)), Relaxed);
        }
    }

    /// Know nothing again.
    pub(super) fn forget(&self) {
        self.0.store(0, Relaxed);
    }

    /// The average in microseconds, less the longer ago the last measurement is: who has not been asked for long is given a
    /// chance to show that it has become better.
    #[inline]
    pub(crate) fn micros(&self, now: u32, fading: Fading) -> Option<f32> {
        let (average, at) = unpack(self.0.load(Relaxed))?;
        Some(average * fading.left(now.wrapping_sub(at)))
    }

    /// The average as it was last measured, in microseconds.
    #[inline]
    pub(crate) fn last_micros(&self) -> Option<f32> {
        unpack(self.0.load(Relaxed)).map(|(average, _)| average)
    }

    /// The average as it was last measured.
    pub(crate) fn last(&self) -> Option<Duration> {
        self.last_micros().map(|average| Duration::from_micros(average.round() as u64))
    }
}

/// Without the division by which `as_secs_f32` does it.
fn micros(duration: Duration) -> f32 {
    duration.as_secs() as f32 * 1e6 + duration.subsec_nanos() as f32 * 1e-3
}

fn pack(average: f32, at: u32) -> u64 {
    u64::from(average.to_bits()) << 32 | u64::from(at)
}

fn unpack(word: u64) -> Option<(f32, u32)> {
    (word != 0).then(|| (f32::from_bits((word >> 32) as u32), word as u32))
}

fn step(old: f32, elapsed: u32, sample: f32, averaging: Averaging) -> f32 {
    let kept = averaging.fading.left(elapsed);
    if averaging.peak && sample > old * kept { sample } else { old * kept + sample * (1.0 - kept) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten() -> Fading {
        Fading::over(Decay(Duration::from_secs(10)))
    }

    fn peak() -> Averaging {
        Averaging { fading: ten(), peak: true }
    }

    fn mean() -> Averaging {
        Averaging { fading: ten(), peak: false }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn after(samples: &[(u64, u32)], averaging: Averaging) -> f32 {
        let latency = Latency::default();
        for (sample, now) in samples {
            latency.observe(ms(*sample), *now, averaging);
        }
        latency.last().unwrap().as_secs_f32() * 1e3
    }

    #[test]
    fn nothing_is_known_at_first_and_the_first_measurement_counts_whole() {
        assert_eq!(Latency::default().micros(5, ten()), None);
        assert!((after(&[(20, 1)], peak()) - 20.0).abs() < 0.01);
        assert!((after(&[(20, 1)], mean()) - 20.0).abs() < 0.01);
    }

    #[test]
    fn a_peak_counts_at_once_and_fades_by_the_time_constant() {
        assert!((after(&[(10, 1), (500, 2)], peak()) - 500.0).abs() < 0.1);
        let faded = after(&[(10, 1), (500, 2), (10, 10_002)], peak());
        let expected = 500.0 / std::f32::consts::E + 10.0 * (1.0 - 1.0 / std::f32::consts::E);
        assert!((faded - expected).abs() < 0.5, "{faded}");
        assert!(after(&[(10, 1), (500, 2)], mean()) < 10.1, "one slow answer hardly moves the mean of ten seconds");
    }

    #[test]
    fn the_mean_of_a_steady_stream_is_its_mean() {
        let mut random = fastrand::Rng::with_seed(7);
        let samples: Vec<(u64, u32)> = (1..200_000).map(|now| (random.u64(5..=15), now)).collect();
        let mean = after(&samples, mean());
        assert!((mean - 10.0).abs() < 0.3, "{mean}");
    }

    #[test]
    fn fades_while_nobody_asks() {
        let latency = Latency::default();
        latency.observe(ms(100), 1, peak());
        let later = latency.micros(10_001, ten()).unwrap();
        assert!((later - 100_000.0 / std::f32::consts::E).abs() < 100.0, "{later}");
        assert!((latency.micros(0, ten()).unwrap() - 100_000.0).abs() < 1.0, "a clock that is behind");
    }
}
