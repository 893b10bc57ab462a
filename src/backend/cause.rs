//! What a backend was ejected for, and what has become of it, in words.

use std::fmt;
use std::time::Duration;

use super::Failure;

/// What a backend was ejected for.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Cause {
    /// So many failures of any kind, and no success between them.
    Failures {
        /// How many.
        row: u16,
        /// Of which kind the last was.
        last: Failure,
    },
    /// So many failures to connect, and nothing else between them.
    ConnectFailures {
        /// How many.
        row: u16,
    },
    /// Too few of its attempts succeeded.
    SuccessRate {
        /// The part of its attempts that succeeded.
        own: f64,
        /// The mean of its peers'.
        peers: f64,
    },
    /// Its answers took too long.
    Latency {
        /// Its 90th percentile.
        p90: Duration,
        /// The median of its peers.
        median: Duration,
        /// What is not too long.
        limit: Duration,
    },
    /// It takes requests, and answers none.
    Silence {
        /// How many have come and wait.
        waiting: u64,
        /// For how long it has said nothing.
        silent: Duration,
        /// The 99th percentile of its peers.
        p99: Duration,
    },
    /// The request that was to bring it back failed.
    TrialFailed(Failure),
    /// The request that was to bring it back took too long.
    TrialSlow {
        /// How long.
        took: Duration,
        /// What is not too long.
        limit: Duration,
    },
}

impl Cause {
    /// The words for causes in metrics.
    pub(crate) const WORDS: [&str; 6] = ["failures", "connect_failures", "success_rate", "latency", "silence", "trial"];

    /// The place of its word.
    pub(super) fn number(self) -> usize {
        match self {
            Cause::Failures { .. } => 0,
            Cause::ConnectFailures { .. } => 1,
            Cause::SuccessRate { .. } => 2,
            Cause::Latency { .. } => 3,
            Cause::Silence { .. } => 4,
            Cause::TrialFailed(_) | Cause::TrialSlow { .. } => 5,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Cause::Failures { row, last } => write!(f, "{row} failures in a row, the last: {last}"),
            Cause::ConnectFailures { row } => write!(f, "{row} connections in a row could not be made"),
            Cause::SuccessRate { own, peers } => {
                write!(f, "{:.1}% of its requests succeeded, {:.1}% of its peers'", own * 100.0, peers * 100.0)
            }
            Cause::Latency { p90, median, .. } => {
                let times = p90.as_secs_f64() / median.as_secs_f64().max(1e-6);
                write!(f, "p90 {} is {times:.0} times its peers' median {}", Short(p90), Short(median))
            }
            Cause::Silence { waiting, silent, p99 } => {
                write!(f, "no answer for {}, {waiting} requests wait; its peers' p99 is {}", Short(silent), Short(p99))
            }
            Cause::TrialFailed(failure) => write!(f, "its trial request failed: {failure}"),
            Cause::TrialSlow { took, limit } => {
                write!(f, "its trial request took {}, more than {}", Short(took), Short(limit))
            }
        }
    }
}

/// A duration in the unit that a person would take: `850us`, `61ms`, `2.5s`, `5m`.
pub(super) struct Short(pub(super) Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros {
            0..1_000 => write!(f, "{micros}us"),
            1_000..10_000 => write!(f, "{:.1}ms", micros as f64 / 1e3),
            10_000..1_000_000 => write!(f, "{}ms", micros / 1_000),
            _ if micros.is_multiple_of(60_000_000) => write!(f, "{}m", micros / 60_000_000),
            _ if micros.is_multiple_of(1_000_000) => write!(f, "{}s", micros / 1_000_000),
            _ => write!(f, "{:.1}s", micros as f64 / 1e6),
        }
    }
}

/// What has become of a backend, for the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    Ejected {
        time: Duration,
        cause: Cause,
    },
    /// Its trial request succeeded.
    Readmitted,
    /// Nobody else is left.
    Needed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Ejected { time, cause } => write!(f, "ejected for {}: {cause}", Short(*time)),
            Change::Readmitted => f.write_str("re-admitted after a successful request"),
            Change::Needed => f.write_str("re-admitted before its time: nobody else is left"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_happened_in_words() {
        let ms = Duration::from_millis;
        let cause = Cause::Failures { row: 5, last: Failure::Timeout };
        let ejected = Change::Ejected { time: ms(10_000), cause };
        assert_eq!(ejected.to_string(), "ejected for 10s: 5 failures in a row, the last: timeout");
        let slow = Cause::Latency { p90: ms(61), median: ms(5), limit: ms(15) };
        assert_eq!(slow.to_string(), "p90 61ms is 12 times its peers' median 5.0ms");
        let silence = Cause::Silence { waiting: 7, silent: ms(3000), p99: ms(23) };
        assert_eq!(silence.to_string(), "no answer for 3s, 7 requests wait; its peers' p99 is 23ms");
        let rate = Cause::SuccessRate { own: 0.712, peers: 0.999 };
        assert_eq!(rate.to_string(), "71.2% of its requests succeeded, 99.9% of its peers'");
        assert_eq!(Cause::ConnectFailures { row: 3 }.to_string(), "3 connections in a row could not be made");
        let trial = Cause::TrialSlow { took: ms(55), limit: ms(15) };
        assert_eq!(trial.to_string(), "its trial request took 55ms, more than 15ms");
        let micros = [850, 61_000, 2_500_000, 90_000_000, 300_000_000];
        let words = micros.map(|us| Short(Duration::from_micros(us)).to_string());
        assert_eq!(words, ["850us", "61ms", "2.5s", "90s", "5m"]);
    }
}
