//! How long answers took, counted in buckets: cheap enough for every attempt, and exact enough to compare backends by.
//!
//! A bucket is an eighth of a power of two wide, so that its middle is within a sixteenth of every value in it, from 8 µs to
//! two minutes. Counts only grow: who wants those of a period takes the difference of two readings.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Eight for each power of two from 2³ µs to 2²⁶, and one for each microsecond below.
const BUCKETS: usize = 200;

/// About two minutes; what took longer counts as that.
const LONGEST: u64 = (1 << 27) - 1;

/// Counted by leases, on any thread.
pub(super) struct Histogram([AtomicU32; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Histogram([const { AtomicU32::new(0) }; BUCKETS])
    }
}

impl Histogram {
    /// Count an answer that took so long.
    #[inline]
    pub(super) fn record(&self, took: Duration) {
        if let Some(bucket) = self.0.get(bucket(micros(took))) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    /// All that was ever counted, modulo 2³².
    pub(super) fn read(&self) -> Bins {
        let mut bins = Bins::default();
        for (bin, bucket) in bins.0.iter_mut().zip(&self.0) {
            *bin = bucket.load(Relaxed);
        }
        bins
    }
}

#[inline]
pub(super) fn micros(took: Duration) -> u64 {
    took.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(took.subsec_micros()))
}

#[inline]
fn bucket(micros: u64) -> usize {
    let micros = micros.min(LONGEST) as u32;
    if micros < 8 {
        return micros as usize;
    }
    let exponent = 31 - micros.leading_zeros();
    let eighth = micros >> (exponent - 3) & 7;
    ((exponent - 2) * 8 + eighth) as usize
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: usize) -> u64 {
    match (bucket / 8, bucket as u64 % 8) {
        (0, micros) => micros,
        (octave, eighth) => {
            let width = 1u64 << (octave - 1);
            (8 + eighth) * width + width / 2
        }
    }
}

/// What a [`Histogram`] counted in some period, or several together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bins([u32; BUCKETS]);

impl Default for Bins {
    fn default() -> Self {
        Bins([0; BUCKETS])
    }
}

impl Bins {
    /// Those that were counted since an `earlier` reading.
    pub(crate) fn since(&self, earlier: &Bins) -> Bins {
        let mut bins = self.clone();
        bins.0.iter_mut().zip(&earlier.0).for_each(|(bin, earlier)| *bin = bin.wrapping_sub(*earlier));
        bins
    }

    pub(crate) fn add(&mut self, other: &Bins) {
        self.0.iter_mut().zip(&other.0).for_each(|(bin, other)| *bin = bin.saturating_add(*other));
    }

    /// Without those of `part`, which are among them.
    pub(crate) fn without(&self, part: &Bins) -> Bins {
        let mut bins = self.clone();
        bins.0.iter_mut().zip(&part.0).for_each(|(bin, part)| *bin = bin.saturating_sub(*part));
        bins
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// How many took longer than this.
    pub(crate) fn above(&self, limit: Duration) -> u64 {
        let limit = micros(limit);
        let slow = self.0.iter().enumerate().filter(|(bucket, _)| middle(*bucket) > limit);
        slow.map(|(_, count)| u64::from(*count)).sum()
    }

    /// What the part `q` of them took at most; `None` of none.
    pub(crate) fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((self.total() as f64 * q).ceil() as u64).max(1);
        let mut passed = 0;
        let reached = self.0.iter().position(|count| {
            passed += u64::from(*count);
            passed >= rank
        });
        reached.map(|bucket| Duration::from_micros(middle(bucket)))
    }
}

/// Percentiles for whoever asks on the request path: worked out in the background, a load to read.
pub(super) struct Quantiles([AtomicU32; 99]);

/// Fewer answers have no percentiles.
const FEWEST: u64 = 20;

impl Default for Quantiles {
    fn default() -> Self {
        Quantiles([const { AtomicU32::new(0) }; 99])
    }
}

impl Quantiles {
    /// Make these the ones that are read.
    pub(super) fn publish(&self, bins: &Bins) {
        let enough = bins.total() >= FEWEST;
        for (place, percent) in self.0.iter().zip(1u32..) {
            let took = enough.then(|| bins.quantile(f64::from(percent) / 100.0)).flatten();
            // 0 is for none.
            place.store(took.map_or(0, |took| micros(took).max(1) as u32), Relaxed);
        }
    }

    pub(super) fn get(&self, q: f64) -> Option<Duration> {
        let percent = ((q * 100.0).round() as usize).clamp(1, self.0.len());
        let micros = self.0.get(percent - 1)?.load(Relaxed);
        (micros > 0).then(|| Duration::from_micros(u64::from(micros)))
    }
}

impl std::fmt::Debug for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "median {:?}, p99 {:?}", self.get(0.5), self.get(0.99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn of(micros: impl IntoIterator<Item = u64>) -> Bins {
        let histogram = Histogram::default();
        micros.into_iter().for_each(|micros| histogram.record(us(micros)));
        histogram.read()
    }

    #[test]
    fn buckets_are_in_order_and_their_middle_is_within_a_sixteenth() {
        let mut last = 0;
        for micros in (0..100_000).chain((100_000..LONGEST).step_by(9_973)) {
            let bucket = bucket(micros);
            assert!(bucket == last || bucket == last + 1, "{micros}");
            last = bucket;
            let error = middle(bucket).abs_diff(micros) as f64;
            assert!(error <= micros as f64 / 16.0, "{micros} counts as {}", middle(bucket));
        }
        assert_eq!(last, BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_ranks() {
        let bins = of((1..=100).map(|n| n * 1000));
        let near = |q: f64, millis: f64| {
            let took = bins.quantile(q).unwrap().as_secs_f64() * 1e3;
            assert!((took - millis).abs() <= millis / 16.0, "{q}: {took}");
        };
        let _ = [(0.01, 1.0), (0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (1.0, 100.0)].map(|(q, millis)| near(q, millis));
        assert_eq!(Bins::default().quantile(0.5), None);
        assert_eq!((bins.total(), bins.above(us(1_000_000)), bins.above(Duration::ZERO)), (100, 0, 100));
        assert!((45..=55).contains(&bins.above(us(50_000))));
    }

    #[test]
    fn a_period_is_the_difference_of_two_readings() {
        let histogram = Histogram::default();
        histogram.0[bucket(500)].store(u32::MAX, Relaxed);
        let before = histogram.read();
        let _ = [500, 500, 7000].map(|micros| histogram.record(us(micros)));
        let period = histogram.read().since(&before);
        assert_eq!(period, of([500, 500, 7000]), "though the count has wrapped");
        let mut both = period.clone();
        both.add(&of([9]));
        assert_eq!(both.without(&period), of([9]));
    }

    #[test]
    fn percentiles_are_published_once_there_are_enough() {
        let quantiles = Quantiles::default();
        quantiles.publish(&of([100; 19]));
        assert_eq!(quantiles.get(0.5), None);
        quantiles.publish(&of((1..=1000).map(|n| n * 10)));
        let at = |q| quantiles.get(q).unwrap().as_micros();
        assert!((4700..=5300).contains(&at(0.5)) && (8900..=10_100).contains(&at(0.95)));
        assert_eq!((at(0.0), at(7.0)), (at(0.01), at(0.99)), "out of range is the nearest");
        quantiles.publish(&Bins::default());
        assert_eq!(quantiles.get(0.5), None, "nothing is known of a pool that has fallen silent");
    }
}
