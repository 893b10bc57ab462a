//! Whether one takes requests and answers none: a process that hangs, whose kernel takes connections all the same. Its failures
//! would be known when `timeouts.read` has passed, and its answers, which none of the other judgements can see, never.

use std::time::Duration;

use super::super::{Bins, Cause};

/// Silent for so many windows,
const WINDOWS: u64 = 3;
/// with so many requests more than when it last said something. An algorithm that goes by load or latency sends it few. That
/// just these are slow ones, where nearly none is, and no other request came to it, hardly happens.
const REQUESTS: u64 = 3;
/// So many answers of its peers show that the silence is its own.
const ANSWERS: u64 = 20;

/// When a backend last said something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// The number of the window.
    since: u64,
    /// What it had been asked by then, among it what has had an answer's beginning, like a download.
    asked: u64,
}

impl Silence {
    /// It has said something, or is not to be judged by what was before.
    pub(super) fn broken(window: u64, asked: u64) -> Self {
        Silence { since: window, asked }
    }

    /// Whether it was asked more than when it last said something: without that, it has nothing to say.
    pub(super) fn is_waited_for(self, asked: u64) -> bool {
        asked > self.asked
    }

    /// What it is to be ejected for in this window, each of which takes `length`, beside peers who lately answered so.
    pub(super) fn judge(self, window: u64, length: Duration, asked: u64, peers: &Bins) -> Option<Cause> {
        let windows = window.saturating_sub(self.since);
        let waiting = asked.saturating_sub(self.asked);
        if windows < WINDOWS || waiting < REQUESTS || peers.total() < ANSWERS {
            return None;
        }
        let p99 = peers.quantile(0.99)?;
        let silent = length * u32::try_from(windows).unwrap_or(u32::MAX);
        // Where answers take as long as that, as those of long polls, there is nothing odd about it.
        (p99 * 3 <= silent).then_some(Cause::Silence { waiting, silent, p99 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::histogram::Histogram;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn peers(answers: u64, millis: u64) -> Bins {
        let took = Histogram::default();
        (0..answers).for_each(|_| took.record(Duration::from_millis(millis)));
        took.read()
    }

    #[test]
    fn who_takes_three_and_answers_none_in_three_windows_is_silent() {
        let silence = Silence::broken(10, 2);
        let cause = silence.judge(13, SECOND, 5, &peers(100, 20)).unwrap();
        let Cause::Silence { waiting, silent, p99 } = cause else { panic!("{cause:?}") };
        assert_eq!((waiting, silent), (3, 3 * SECOND));
        assert!((18..=22).contains(&p99.as_millis()), "{p99:?}");
    }

    #[test]
    fn and_nobody_else() {
        let silence = Silence::broken(10, 2);
        for (window, asked, peers, why) in [
            (12, 50, peers(100, 20), "it may be a pause"),
            (13, 4, peers(100, 20), "two more than it had are few"),
            (13, 50, peers(19, 20), "nobody else was asked much"),
            (13, 50, peers(100, 1500), "its peers take long, too"),
        ] {
            assert_eq!(silence.judge(window, SECOND, asked, &peers), None, "{why}");
        }
    }
}
