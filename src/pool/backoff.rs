//! How long to wait before another attempt.

use std::time::Duration;

use crate::config::Backoff;

impl Backoff {
    /// How long to wait after so many attempts, 1 or more: at random up to a bound that doubles, so that those who failed
    /// together do not come back together.
    pub fn after(self, attempts: usize) -> Duration {
        let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let most = self.base.saturating_mul(2_u32.saturating_pow(doublings)).min(self.max);
        most.mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_are_spread_over_it() {
        let backoff = Backoff { base: Duration::from_millis(20), max: Duration::from_millis(100) };
        for (attempts, bound) in [(1, 20.0), (2, 40.0), (3, 80.0), (4, 100.0), (100, 100.0)] {
            let pauses: Vec<f64> = (0..2000).map(|_| backoff.after(attempts).as_secs_f64() * 1e3).collect();
            let (most, mean) = (pauses.iter().copied().fold(0.0, f64::max), pauses.iter().sum::<f64>() / 2000.0);
            assert!(most <= bound && most > 0.95 * bound, "after {attempts}: at most {most}");
            assert!((mean - bound / 2.0).abs() < 0.06 * bound, "after {attempts}: {mean} in the middle");
        }
    }
}
