//! When a backend is probed: each has a moment of its own in every interval, so that a thousand are not probed at once.
//!
//! The moment comes from a hash, and stays: no probe is nearer to the one before, nor farther from it, than the interval. Only
//! where the interval changes, because the backend did, is the first step a shorter one.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

/// Where in each interval the moment of this backend is, as a share of it: 0 to 1.
pub(super) fn phase(check: &str, backend: &str) -> f64 {
    let hash = xxh3_64(format!("{check}\0{backend}").as_bytes());
    // As many bits as a `f64` holds.
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// The first moment after `now`, both counted from the same beginning.
pub(super) fn next(phase: f64, interval: Duration, now: Duration) -> Duration {
    let interval = interval.max(Duration::from_nanos(1));
    let offset = interval.mul_f64(phase);
    let past = now.saturating_sub(offset).as_nanos() / interval.as_nanos();
    let steps = if now < offset { 0 } else { past + 1 };
    let nanos = offset.as_nanos() + steps * interval.as_nanos();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    #[test]
    fn a_thousand_backends_are_spread_over_the_interval() {
        for check in ["web", "api", "a pool"] {
            let mut moments: Vec<f64> =
                (0..1000).map(|i| phase(check, &format!("10.0.{}.{}:80", i / 250, i % 250))).collect();
            moments.sort_by(f64::total_cmp);
            // The busiest twentieth of the interval, wherever it begins, its end and the next one's beginning included.
            let within = |from: f64| moments.iter().filter(|m| (**m - from).rem_euclid(1.0) < 0.05).count();
            let most = moments.iter().map(|from| within(*from)).max().unwrap();
            // 50 on average; a hash that spreads at random has 75 or so in the busiest.
            assert!((50..=80).contains(&most), "{check}: {most}");
            let least = (0..20).map(|i| within(f64::from(i) / 20.0)).min().unwrap();
            assert!(least >= 30, "{check}: {least}");
        }
    }

    #[test]
    fn two_checks_of_one_backend_have_each_their_moment() {
        assert_ne!(phase("web", "10.0.0.1:80"), phase("api", "10.0.0.1:80"));
        assert_eq!(phase("web", "10.0.0.1:80"), phase("web", "10.0.0.1:80"));
    }

    #[test]
    fn from_moment_to_moment_it_is_one_interval() {
        for phase in [0.0, 0.3, 0.999_999] {
            let mut now = Duration::ZERO;
            for step in 0..100 {
                let moment = next(phase, INTERVAL, now);
                let expected = if step == 0 { INTERVAL.mul_f64(phase).max(moment) } else { now + INTERVAL };
                assert_eq!(moment, expected, "{phase} {step}");
                assert!(moment > now && moment - now <= INTERVAL);
                now = moment;
            }
        }
    }

    #[test]
    fn what_has_been_missed_is_left_out() {
        assert_eq!(next(0.5, INTERVAL, Duration::from_secs(61)), Duration::from_millis(62_500));
        assert_eq!(next(0.5, INTERVAL, Duration::from_millis(62_500)), Duration::from_millis(67_500));
        assert_eq!(next(0.5, Duration::from_secs(1), Duration::from_millis(62_500)), Duration::from_millis(63_500));
    }
}
