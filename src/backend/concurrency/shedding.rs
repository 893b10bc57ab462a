//! When a pool began to send requests away, and when it is over: for the log, not more often than every few seconds.

use std::time::{Duration, Instant};

/// It is over when nobody has been sent away for so long. So there are at most two lines in that time.
const CALM: Duration = Duration::from_secs(10);

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The first are sent away.
    Began,
    /// Nobody is any more: so many were, over so long.
    Ended(u64, Duration),
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shedding(Option<Under>);

#[derive(Clone, Copy, Debug)]
struct Under {
    since: Instant,
    last: Instant,
    refused: u64,
}

impl Shedding {
    /// Take in how many were refused since the last call.
    pub(super) fn observe(&mut self, refused: u64, now: Instant) -> Option<Change> {
        match &mut self.0 {
            None if refused == 0 => None,
            None => {
                self.0 = Some(Under { since: now, last: now, refused });
                Some(Change::Began)
            }
            Some(under) if refused > 0 => {
                under.last = now;
                under.refused += refused;
                None
            }
            Some(under) if now - under.last < CALM => None,
            Some(under) => {
                let ended = Change::Ended(under.refused, under.last - under.since);
                self.0 = None;
                Some(ended)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_two_lines() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut shedding = Shedding::default();
        assert_eq!(shedding.observe(0, at(0)), None);
        assert_eq!(shedding.observe(3, at(1)), Some(Change::Began));
        // With pauses, but none that is long enough.
        for second in 2..30 {
            assert_eq!(shedding.observe(second % 9 / 8, at(second)), None, "{second}");
        }
        assert_eq!(shedding.observe(0, at(35)), None);
        assert_eq!(shedding.observe(0, at(36)), Some(Change::Ended(6, Duration::from_secs(25))));
        assert_eq!(shedding.observe(0, at(60)), None);
        assert_eq!(shedding.observe(1, at(61)), Some(Change::Began));
    }
}
