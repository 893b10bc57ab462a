//! What a lease remembers of its attempt, in one word.
//!
//! A lease is handed on five times before its request has it. Two words travel in registers; more are written to memory in
//! parts and read back whole at once, for which a processor waits each time.

use super::gate::Ticket;
use super::row::Count;
use super::{Failure, Outcome};

/// From below: what it was let through with, in 16 bits; whether the pool counts it, in one; how it goes, in three; the
/// failures in a row that its success ended, in 40.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notes(u64);

const COUNTED: u64 = 1 << 16;
const OUTCOME: u32 = 17;
const OUTCOME_MASK: u64 = 0b111 << OUTCOME;
const ENDED: u32 = 20;

impl Notes {
    #[inline]
    pub(super) fn new(ticket: Ticket, counted: bool) -> Self {
        Notes(u64::from(ticket.to_bits()) | if counted { COUNTED } else { 0 })
    }

    #[inline]
    pub(super) fn ticket(self) -> Ticket {
        Ticket::from_bits(self.0 as u16)
    }

    #[inline]
    pub(super) fn counted(self) -> bool {
        self.0 & COUNTED != 0
    }

    #[inline]
    pub(super) fn outcome(self) -> Outcome {
        match (self.0 & OUTCOME_MASK) >> OUTCOME {
            0 => Outcome::Cancelled,
            1 => Outcome::Succeeded,
            number => {
                Failure::ALL.get(number as usize - 2).map_or(Outcome::Cancelled, |failure| Outcome::Failed(*failure))
            }
        }
    }

    #[inline]
    pub(super) fn set_outcome(&mut self, outcome: Outcome) {
        let number = match outcome {
            Outcome::Cancelled => 0,
            Outcome::Succeeded => 1,
            Outcome::Failed(failure) => failure as u64 + 2,
        };
        self.0 = self.0 & !OUTCOME_MASK | number << OUTCOME;
    }

    #[inline]
    pub(super) fn ended(self) -> Count {
        Count::from_bits(self.0 >> ENDED)
    }

    #[inline]
    pub(super) fn set_ended(&mut self, count: Count) {
        self.0 = self.0 & ((1 << ENDED) - 1) | count.to_bits() << ENDED;
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::Row;
    use super::*;

    #[test]
    fn keeps_each_apart_from_the_others() {
        let row = Row::default();
        let counts = [Count::default(), row.failed(Failure::Status, Count::default())];
        let outcomes = Failure::ALL.map(Outcome::Failed).into_iter().chain([Outcome::Cancelled, Outcome::Succeeded]);
        for outcome in outcomes {
            for (bits, counted, count) in [(0, false, counts[1]), (u16::MAX, true, counts[0]), (7, true, counts[1])] {
                let mut notes = Notes::new(Ticket::from_bits(bits), counted);
                assert_eq!((notes.outcome(), notes.ended()), (Outcome::Cancelled, Count::default()));
                notes.set_ended(count);
                notes.set_outcome(outcome);
                assert_eq!((notes.ticket(), notes.counted()), (Ticket::from_bits(bits), counted));
                assert_eq!((notes.outcome(), notes.ended()), (outcome, count));
            }
        }
    }

    #[test]
    fn the_longest_row_fits() {
        let row = Row::default();
        for _ in 0..70_000 {
            row.failed(Failure::Connect, Count::default());
        }
        let mut notes = Notes::new(Ticket::from_bits(0), false);
        notes.set_ended(row.count());
        assert_eq!(notes.ended(), row.count());
    }
}
