//! Slow start: the share of a backend that appeared or recovered grows to its weight.

use std::time::Duration;

/// In how many steps a backend comes to its full share. Each rebuilds what the algorithms derived from weights.
pub(crate) const STEPS: u64 = 20;

/// How many of [`STEPS`] a backend has gone, from 1.
pub(super) type Step = u64;

/// The step this many milliseconds after the backend became eligible: linear, and never nothing, or it would get no request
/// that warms it up.
pub(super) fn step(elapsed: u64, slow_start: Option<Duration>) -> Step {
    let Some(length) = slow_start.map(|length| length.as_millis() as u64).filter(|length| *length > 0) else {
        return STEPS;
    };
    (elapsed.saturating_mul(STEPS) / length).clamp(1, STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_linearly_from_one_step_to_all() {
        let at = |millis| step(millis, Some(Duration::from_secs(30)));
        assert_eq!([at(0), at(1_500), at(3_000), at(15_000), at(29_999)], [1, 1, 2, 10, 19]);
        assert_eq!([at(30_000), at(u64::MAX)], [STEPS, STEPS]);
        assert_eq!(step(0, None), STEPS);
        assert_eq!(step(0, Some(Duration::ZERO)), STEPS);
    }
}
