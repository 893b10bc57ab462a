//! Healthy or unhealthy, by active checks: a pure state machine.

/// How many probes in a row it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Passes that make an unhealthy backend healthy, at least 1.
    pub rise: u16,
    /// Failures that make a healthy backend unhealthy, at least 1.
    pub fall: u16,
}

/// What active checks have shown of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Health {
    /// Not probed yet: not admitted, and the first probe alone decides.
    Unprobed,
    /// Healthy, with this many failures since the last pass.
    Healthy {
        /// Consecutive failures.
        failures: u16,
    },
    /// Unhealthy, with this many passes since the last failure.
    Unhealthy {
        /// Consecutive passes.
        passes: u16,
    },
}

/// A change that a probe made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It may be picked from now on.
    BecameHealthy,
    /// It may not be picked any more.
    BecameUnhealthy,
}

impl Health {
    /// Healthy, with nothing held against it.
    pub const UP: Health = Health::Healthy { failures: 0 };
    /// Unhealthy, with nothing in its favour.
    pub const DOWN: Health = Health::Unhealthy { passes: 0 };

    /// Whether it may be picked.
    pub fn healthy(self) -> bool {
        matches!(self, Health::Healthy { .. })
    }

    /// The word for it in logs, metrics and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unprobed => "unprobed",
            Health::Healthy { .. } => "healthy",
            Health::Unhealthy { .. } => "unhealthy",
        }
    }

    /// Take in one probe.
    pub fn observe(&mut self, passed: bool, thresholds: Thresholds) -> Option<Change> {
        let (next, change) = match (*self, passed) {
            (Health::Unprobed, true) => (Health::UP, Some(Change::BecameHealthy)),
            (Health::Unprobed, false) => (Health::DOWN, Some(Change::BecameUnhealthy)),
            (Health::Healthy { .. }, true) => (Health::UP, None),
            (Health::Unhealthy { .. }, false) => (Health::DOWN, None),
            (Health::Healthy { failures }, false) if failures + 1 >= thresholds.fall => {
                (Health::DOWN, Some(Change::BecameUnhealthy))
            }
            (Health::Healthy { failures }, false) => (Health::Healthy { failures: failures + 1 }, None),
            (Health::Unhealthy { passes }, true) if passes + 1 >= thresholds.rise => {
                (Health::UP, Some(Change::BecameHealthy))
            }
            (Health::Unhealthy { passes }, true) => (Health::Unhealthy { passes: passes + 1 }, None),
        };
        *self = next;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { rise: 2, fall: 3 };

    /// Feed a string of probes, `+` a pass and `-` a failure; what changed at each.
    fn run(mut health: Health, probes: &str) -> String {
        probes
            .chars()
            .map(|probe| match health.observe(probe == '+', THRESHOLDS) {
                Some(Change::BecameHealthy) => 'U',
                Some(Change::BecameUnhealthy) => 'D',
                None => '.',
            })
            .collect()
    }

    #[test]
    fn first_probe_alone_decides_an_unprobed_backend() {
        assert_eq!(run(Health::Unprobed, "+"), "U");
        assert_eq!(run(Health::Unprobed, "-"), "D");
        assert_eq!(run(Health::Unprobed, "+--"), "U..");
    }

    #[test]
    fn falls_after_fall_failures_in_a_row() {
        assert_eq!(run(Health::UP, "---"), "..D");
        assert_eq!(run(Health::UP, "--+--+---"), "........D");
        assert_eq!(run(Health::UP, "-----"), "..D..");
    }

    #[test]
    fn rises_after_rise_passes_in_a_row() {
        assert_eq!(run(Health::DOWN, "++"), ".U");
        assert_eq!(run(Health::DOWN, "+-+-++"), ".....U");
    }

    /// Every sequence of ten probes against the definition: a change comes exactly with the `fall`-th or `rise`-th in a row.
    #[test]
    fn every_short_sequence_follows_the_definition() {
        for bits in 0..1u32 << 10 {
            let (mut health, mut healthy, mut row) = (Health::UP, true, 0);
            for i in 0..10 {
                let passed = bits >> i & 1 == 1;
                row = if passed == healthy { 0 } else { row + 1 };
                let expected = row >= if healthy { 3 } else { 2 };
                assert_eq!(health.observe(passed, THRESHOLDS).is_some(), expected);
                if expected {
                    (healthy, row) = (passed, 0);
                }
                assert_eq!(health.healthy(), healthy);
            }
        }
    }
}
