//! What a process tells its successor of a backend, so that the successor does not begin by sending requests to the dead.
//!
//! Plain data, every part of it optional: the two may be of different versions, and whoever reads it takes what it knows.
//! Times are ages, for the two have different clocks.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ejection::Ejection;
use super::{BackendState, Cause, Health, clock};
use crate::config::Ejection as Rules;

/// A backend of one pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedBackend {
    /// Its address as text.
    pub address: String,
    /// What active checks have shown.
    pub health: Option<Health>,
    /// Why it is not healthy.
    pub reason: Option<String>,
    /// What live traffic has shown.
    pub ejection: Option<SavedEjection>,
    /// Its average time to answer.
    pub latency: Option<SavedLatency>,
    /// For how long an operator has had it drain.
    pub drained_ms: Option<u64>,
    /// For how long it has been eligible: whether it has started slowly already.
    pub eligible_ms: u64,
}

/// An ejection, or what is left of the last ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedEjection {
    /// How much longer it is out; 0 if it is on trial.
    pub left_ms: Option<u64>,
    /// Ejections that are not forgotten.
    pub recent: u32,
    /// Of the last one.
    pub cause: Option<Cause>,
    /// How long a trial request may take.
    pub limit: Option<Duration>,
}

/// An average as it was so long ago.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedLatency {
    /// In microseconds.
    pub micros: f32,
    /// In milliseconds.
    pub age_ms: u32,
}

impl BackendState {
    /// What a successor should know.
    pub(crate) fn save(&self, rules: &Rules) -> SavedBackend {
        let now = clock::millis();
        let record = self.record();
        let latency = self.latency.save(clock::wrapped_millis());
        SavedBackend {
            address: self.label().to_owned(),
            health: Some(record.machine),
            reason: record.reason.clone(),
            ejection: record.ejection.save(now, rules),
            latency: latency.map(|(micros, age_ms)| SavedLatency { micros, age_ms }),
            drained_ms: record.drain.operator().map(|since| now.saturating_sub(since)),
            eligible_ms: now.wrapping_sub(self.eligible_since.load(Relaxed)),
        }
    }

    /// Know what a predecessor knew. For one that nothing has happened to yet.
    pub(super) fn restore(&self, saved: &SavedBackend) {
        let now = clock::millis();
        let mut record = self.record();
        if let Some(health) = saved.health {
            record.machine = health;
            record.reason.clone_from(&saved.reason);
        }
        if let Some(ejection) = &saved.ejection {
            record.ejection = Ejection::restored(ejection, now);
        }
        if let Some(age) = saved.drained_ms {
            record.drain.set_operator(true, now.saturating_sub(age));
        }
        if let Some(latency) = &saved.latency {
            self.latency.restore(latency.micros, latency.age_ms, clock::wrapped_millis());
        }
        self.begin_term(&record);
        self.eligible_since.store(now.wrapping_sub(saved.eligible_ms), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{PoolState, Thresholds};
    use super::*;

    fn state(initial: Health) -> BackendState {
        let pool = Arc::new(PoolState::new(None, None));
        BackendState::new("10.0.0.1:80".parse().unwrap(), initial, &pool)
    }

    /// What a successor that probes first makes of it, by way of the text between them.
    fn succeed(state: &BackendState) -> BackendState {
        let text = serde_json::to_string(&state.save(&Rules::default())).unwrap();
        let next = super::tests::state(Health::Unprobed);
        next.restore(&serde_json::from_str(&text).unwrap());
        next
    }

    #[test]
    fn who_was_healthy_is_picked_at_once_and_who_was_not_is_not() {
        let well = state(Health::Unprobed);
        well.observe(Ok(()), Thresholds { rise: 1, fall: 3 });
        well.observe(Err("late".to_owned()), Thresholds { rise: 1, fall: 3 });
        let next = succeed(&well);
        assert_eq!((next.admitted(), next.health().0), (true, Health::Healthy { failures: 1 }));
        let dead = state(Health::UP);
        dead.observe(Err("refused".to_owned()), Thresholds { rise: 1, fall: 1 });
        let next = succeed(&dead);
        assert_eq!((next.admitted(), next.health()), (false, (Health::DOWN, Some("refused".to_owned()))));
        assert_eq!(succeed(&state(Health::Unprobed)).standing(), "unprobed");
    }

    #[test]
    fn who_was_ejected_stays_out_for_the_rest_of_its_time_and_longer_the_next_time() {
        let ejected = state(Health::UP);
        let cause = Cause::ConnectFailures { row: 5 };
        assert!(ejected.eject(cause, clock::millis(), &Rules::default()));
        let next = succeed(&ejected);
        assert_eq!((next.standing(), next.admitted()), ("ejected", false));
        assert!(next.reason().unwrap().starts_with("5 connections in a row could not be made; for another "));
        let later = clock::millis() + Rules::default().base_time.as_millis() as u64;
        assert!(!next.put_on_trial(clock::millis()) && next.put_on_trial(later));
        assert_eq!(next.save(&Rules::default()).ejection.unwrap().recent, 1);
    }

    #[test]
    fn who_was_drained_stays_drained_from_the_beginning_of_the_draining() {
        let drained = state(Health::UP);
        drained.begin_drain();
        let mut saved = drained.save(&Rules::default());
        saved.drained_ms = Some(3_600_000);
        let next = state(Health::UP);
        next.restore(&saved);
        assert_eq!((next.standing(), next.admitted()), ("draining", false));
        assert!(next.drain().unwrap().operator.unwrap() >= Duration::from_secs(3600));
        assert_eq!(next.grace_left(Duration::from_secs(10)), None, "its grace was over long ago");
    }

    #[test]
    fn what_is_missing_or_unknown_is_as_if_nothing_were_known() {
        let saved: SavedBackend = serde_json::from_str("{\"address\":\"10.0.0.1:80\",\"new\":[1]}").unwrap();
        let next = state(Health::UP);
        next.restore(&saved);
        assert_eq!((next.standing(), next.admitted(), next.latency()), ("healthy", true, None));
        let wrong = SavedLatency { micros: f32::NAN, age_ms: 0 };
        next.restore(&SavedBackend { latency: Some(wrong), ..saved });
        assert_eq!(next.latency(), None);
    }
}
