//! Ejected or not, by what live traffic showed: a pure state machine.
//!
//! Who is ejected is out for a time that grows with each ejection that is not forgotten. Then it is on trial: one request at
//! a time is let through, and the first that ends decides, back into the pool or out again for longer.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::cause::{Change, Short};
use super::saved::SavedEjection;
use super::{Cause, Failure};
use crate::config::Ejection as Rules;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Admitted,
    Ejected { until: u64 },
    Trial,
}

/// Where a backend stands. Times are in milliseconds of one clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ejection {
    stage: Stage,
    /// Since when it is admitted.
    well_since: u64,
    /// Ejections that are not forgotten.
    recent: u32,
    /// Of the last ejection.
    cause: Option<Cause>,
    /// How long a trial request may take, if it was ejected because it was slow.
    limit: Option<Duration>,
}

impl Ejection {
    /// Never ejected.
    pub(super) const NONE: Ejection =
        Ejection { stage: Stage::Admitted, well_since: 0, recent: 0, cause: None, limit: None };

    /// Whether it may not be picked.
    pub(super) fn out(self) -> bool {
        matches!(self.stage, Stage::Ejected { .. })
    }

    /// Whether it is out, or on trial.
    pub(super) fn active(self) -> bool {
        self.stage != Stage::Admitted
    }

    /// Take it out, if it is in. Says for how long.
    pub(super) fn eject(&mut self, cause: Cause, now: u64, rules: &Rules) -> Option<Change> {
        if self.active() {
            return None;
        }
        self.recent = self.remembered(now, rules);
        self.limit = match cause {
            Cause::Latency { limit, .. } => Some(limit),
            _ => None,
        };
        Some(self.leave(cause, now, rules))
    }

    fn leave(&mut self, cause: Cause, now: u64, rules: &Rules) -> Change {
        self.recent = self.recent.saturating_add(1);
        let grown = rules.base_time.saturating_mul(self.recent);
        let time = grown.min(rules.max_time);
        if grown > rules.max_time {
            // More would not make it longer, only longer remembered.
            self.recent -= 1;
        }
        self.stage = Stage::Ejected { until: now.saturating_add(millis(time)) };
        self.cause = Some(cause);
        Change::Ejected { time, cause }
    }

    /// Put it on trial, if its time is over. Says whether that is so.
    pub(super) fn advance(&mut self, now: u64) -> bool {
        let over = matches!(self.stage, Stage::Ejected { until } if until <= now);
        if over {
            self.stage = Stage::Trial;
        }
        over
    }

    /// Take in how the request ended that it was tried with, and how long that took. `pace` is what would not be slow for
    /// the pool as it is now: all of it may have become slower.
    pub(super) fn tried(
        &mut self,
        result: Result<Duration, Failure>,
        pace: Option<Duration>,
        now: u64,
        rules: &Rules,
    ) -> Option<Change> {
        if self.stage != Stage::Trial {
            return None;
        }
        let limit = self.limit.map(|limit| limit.max(pace.unwrap_or_default()));
        Some(match (result, limit) {
            (Err(failure), _) => self.leave(Cause::TrialFailed(failure), now, rules),
            (Ok(took), Some(limit)) if took > limit => self.leave(Cause::TrialSlow { took, limit }, now, rules),
            (Ok(_), _) => {
                self.reinstate(now);
                Change::Readmitted
            }
        })
    }

    /// Take in that whoever it was tried with gave up after so long, without an answer, and longer than `patience`: a process
    /// that hangs would be on trial for ever, and each trial be a user who waits.
    pub(super) fn given_up(&mut self, after: Duration, patience: Duration, now: u64, rules: &Rules) -> Option<Change> {
        let limit = self.limit.unwrap_or_default().max(patience);
        let late = self.stage == Stage::Trial && after > limit;
        late.then(|| self.leave(Cause::TrialSlow { took: after, limit }, now, rules))
    }

    /// What a successor should know.
    pub(super) fn save(&self, now: u64, rules: &Rules) -> Option<SavedEjection> {
        let recent = self.remembered(now, rules);
        let left = match self.stage {
            Stage::Admitted => None,
            Stage::Ejected { until } => Some(until.saturating_sub(now)),
            Stage::Trial => Some(0),
        };
        let saved = SavedEjection { left_ms: left, recent, cause: self.cause, limit: self.limit };
        (left.is_some() || recent > 0).then_some(saved)
    }

    /// What a predecessor knew.
    pub(super) fn restored(saved: &SavedEjection, now: u64) -> Self {
        let stage = saved.left_ms.map_or(Stage::Admitted, |left| Stage::Ejected { until: now.saturating_add(left) });
        Ejection { stage, well_since: now, recent: saved.recent, cause: saved.cause, limit: saved.limit }
    }

    /// Half of what is held against it is forgotten for each `max_time` that it was well.
    fn remembered(&self, now: u64, rules: &Rules) -> u32 {
        if self.active() {
            return self.recent;
        }
        let well = now.saturating_sub(self.well_since) / millis(rules.max_time).max(1);
        self.recent.checked_shr(well.min(32) as u32).unwrap_or(0)
    }

    /// Let it in again, whatever its time. Says whether it was out or on trial. What is held against it is not forgotten.
    pub(super) fn reinstate(&mut self, now: u64) -> bool {
        let was = self.active();
        if was {
            (self.stage, self.well_since) = (Stage::Admitted, now);
        }
        was
    }

    /// Why it is not in as others are, for people.
    pub(super) fn reason(&self, now: u64) -> Option<String> {
        let cause = self.cause?;
        match self.stage {
            Stage::Admitted => None,
            Stage::Ejected { until } => {
                let left = Duration::from_secs(until.saturating_sub(now).div_ceil(1000));
                Some(format!("{cause}; for another {}", Short(left)))
            }
            Stage::Trial => Some(format!("{cause}; on trial, one request at a time until one succeeds")),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
