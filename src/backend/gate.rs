//! Who may pass to a backend that is or was ejected: while it is on trial, one attempt at a time.

use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

const OPEN: u16 = 0;
const EJECTED: u16 = 1;
const TRIAL: u16 = 2;
const TRIED: u16 = 3;
const MASK: u16 = 3;
const TERM: u16 = 4;

/// A word of two parts: below, who may pass; above, the number of the term. A term ends with every ejection, trial and
/// re-admission: what an attempt says of a term that is over is old news.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicU16);

/// What an attempt was let through with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ticket(u16);

impl Ticket {
    #[inline]
    pub(super) fn to_bits(self) -> u16 {
        self.0
    }

    #[inline]
    pub(super) fn from_bits(bits: u16) -> Self {
        Ticket(bits)
    }

    /// Whether it is the attempt that a trial is decided by.
    #[inline]
    pub(super) fn trial(self) -> bool {
        self.0 & MASK == TRIED
    }
}

impl Gate {
    /// Whether [`Self::pass`] may succeed.
    #[inline]
    pub(super) fn passable(&self) -> bool {
        self.0.load(SeqCst) & MASK != TRIED
    }

    /// Pass; `None` if it is on trial and being tried. One read, unless it is on trial.
    #[inline]
    pub(super) fn pass(&self) -> Option<Ticket> {
        let word = self.0.load(SeqCst);
        if word & MASK < TRIAL { Some(Ticket(word)) } else { self.try_it() }
    }

    #[cold]
    fn try_it(&self) -> Option<Ticket> {
        let next = |word| match word & MASK {
            TRIED => None,
            TRIAL => Some(word - TRIAL + TRIED),
            _ => Some(word),
        };
        let passed = self.0.fetch_update(SeqCst, SeqCst, next).ok()?;
        next(passed).map(Ticket)
    }

    /// The attempt is over and has decided nothing: the next may try.
    pub(super) fn give_back(&self, ticket: Ticket) {
        if ticket.trial() {
            let _ = self.0.compare_exchange(ticket.0, ticket.0 - TRIED + TRIAL, SeqCst, SeqCst);
        }
    }

    /// Whether the term in which this attempt began is not over.
    #[inline]
    pub(super) fn current(&self, ticket: Ticket) -> bool {
        self.0.load(SeqCst) / TERM == ticket.0 / TERM
    }

    /// Whether it is ejected or on trial.
    #[inline]
    pub(super) fn ejected(&self) -> bool {
        self.0.load(SeqCst) & MASK != OPEN
    }

    /// Begin a term. One at a time: callers hold the lock of the backend's record.
    pub(super) fn begin(&self, out: bool, on_trial: bool) {
        let who = match (out, on_trial) {
            (true, _) => EJECTED,
            (false, true) => TRIAL,
            (false, false) => OPEN,
        };
        let _ = self.0.fetch_update(SeqCst, SeqCst, |word| Some((word & !MASK).wrapping_add(TERM) | who));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_while_it_is_on_trial() {
        let gate = Gate::default();
        let early = gate.pass().unwrap();
        assert!(!early.trial() && gate.current(early) && gate.pass().is_some());
        gate.begin(true, false);
        assert!(
            gate.ejected() && !gate.current(early) && !gate.pass().unwrap().trial(),
            "a pool that fails open asks it"
        );
        gate.begin(false, true);
        let trial = gate.pass().unwrap();
        assert!(trial.trial() && gate.current(trial));
        assert!(!gate.passable() && gate.pass().is_none());
        gate.give_back(early);
        assert!(!gate.passable(), "it was not its to give");
        gate.give_back(trial);
        let second = gate.pass().unwrap();
        assert!(second.trial());
        gate.begin(false, false);
        gate.give_back(second);
        assert!(!gate.ejected() && !gate.current(second) && !gate.pass().unwrap().trial());
    }

    #[test]
    fn terms_wrap() {
        let gate = Gate::default();
        for _ in 0..100_000 {
            gate.begin(false, true);
            let ticket = gate.pass().unwrap();
            assert!(ticket.trial() && gate.current(ticket) && gate.pass().is_none());
        }
    }

    #[test]
    fn of_many_threads_one_tries() {
        let gate = Gate::default();
        gate.begin(false, true);
        let passed = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| gate.pass().is_some())).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!(passed, 1);
    }
}
