//! Who of a pool can be ejected: never so many that the rest could not carry it, and never the last one.

use std::sync::Arc;

use super::{BackendState, Cause, Member, Roster, clock};
use crate::config::Ejection as Rules;

/// How many more a pool can do without.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spare {
    /// That are admitted.
    admitted: usize,
    /// That are ejected or on trial, and how many may be.
    ejected: usize,
    allowed: usize,
}

impl Spare {
    fn new(backends: usize, admitted: usize, ejected: usize, max_percent: u8) -> Self {
        // One at least: half of three is one, a tenth of three would be nobody.
        let allowed = (backends * usize::from(max_percent) / 100).max(1);
        Spare { admitted, ejected, allowed }
    }

    fn of(members: &[Member], max_percent: u8) -> Self {
        let count = |which: fn(&BackendState) -> bool| members.iter().filter(|member| which(&member.state)).count();
        let backends = count(|state| !state.draining());
        Spare::new(backends, count(admitted), count(|state| !state.draining() && state.ejected()), max_percent)
    }

    /// Whether one more can be spared.
    fn any(self) -> bool {
        self.admitted > 1 && self.ejected < self.allowed
    }

    fn take(&mut self) {
        self.admitted -= 1;
        self.ejected += 1;
    }
}

/// Whether it gets requests as others do.
fn admitted(state: &BackendState) -> bool {
    state.eligible() && !state.ejected()
}

/// Let everybody in who is ejected, if nobody else is admitted: to be judged bad is better than to be nobody.
pub(super) fn readmit_if_needed(members: &[Member]) {
    if !members.iter().any(|member| admitted(&member.state)) {
        members.iter().filter(|member| member.state.ejected()).for_each(|member| member.state.need());
    }
}

impl Roster {
    /// Who has failed so often in a row that it should be ejected.
    pub(crate) fn accused(&self, rules: &Rules) -> Vec<(Arc<BackendState>, Cause)> {
        let snapshot = self.load();
        let accused = snapshot.members().iter().filter(|member| admitted(&member.state));
        accused.filter_map(|member| Some((Arc::clone(&member.state), member.state.accused(rules)?))).collect()
    }

    /// Eject these in this order, as long as the pool can spare somebody; who is admitted nevertheless is left in the list.
    /// It holds for picks at once; the caller refreshes the roster. To be called by one task at a time.
    pub(crate) fn eject(&self, accused: &mut Vec<(Arc<BackendState>, Cause)>, rules: &Rules) {
        let mut spare = Spare::of(self.load().members(), rules.max_percent);
        let now = clock::millis();
        accused.retain(|(state, cause)| {
            if spare.any() && state.eject(*cause, now, rules) {
                spare.take();
            }
            admitted(state)
        });
    }

    /// Put those on trial whose time is over. Says whether there are any.
    pub(crate) fn put_on_trial(&self) -> bool {
        let now = clock::millis();
        self.load().members().iter().filter(|member| member.state.put_on_trial(now)).count() > 0
    }

    /// Let everybody in: the pool does not eject any more.
    pub(crate) fn readmit_all(&self) {
        self.load().members().iter().for_each(|member| member.state.need());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many can be ejected one after the other.
    fn most(backends: usize, admitted: usize, max_percent: u8) -> usize {
        let mut spare = Spare::new(backends, admitted, 0, max_percent);
        let mut taken = 0;
        while spare.any() {
            spare.take();
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_part_of_the_pool_one_at_least_and_never_the_last() {
        assert_eq!([1, 2, 3, 4, 5, 10].map(|n| most(n, n, 50)), [0, 1, 1, 2, 2, 5]);
        assert_eq!([1, 2, 3, 10].map(|n| most(n, n, 100)), [0, 1, 2, 9]);
        assert_eq!([2, 5, 10, 20].map(|n| most(n, n, 10)), [1, 1, 1, 2]);
        assert_eq!(most(10, 3, 50), 2, "the sick count as backends, and not as admitted");
        assert_eq!(most(10, 0, 50), 0);
    }
}
