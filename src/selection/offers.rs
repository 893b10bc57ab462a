//! What one pick is offered: first what the algorithm draws, then everybody.

use std::sync::Arc;

use arc_swap::Guard;
use pingora_load_balancing::Backend;
use pingora_load_balancing::selection::BackendIter;

use super::{Algorithm, Current, offered};
use crate::backend::Group;

/// The backends in the order of one pick: of the group that the request belongs to, some that the algorithm draws, then
/// everybody once; after that the other groups likewise, the preferred first.
pub struct Offers<A: Algorithm> {
    current: Guard<Arc<Current<A>>>,
    hash: u64,
    /// The group that comes first, and how many groups are behind us.
    first: usize,
    done: usize,
    /// Within the group.
    drawn: u32,
    walked: usize,
    /// The place of the last offer. The walk goes on from the last draw, or one candidate would inherit all that another
    /// refuses.
    place: usize,
}

impl<A: Algorithm> Offers<A> {
    #[inline]
    pub(super) fn new(current: Guard<Arc<Current<A>>>, key: &[u8]) -> Self {
        let hash = current.algorithm.hash(key);
        let first = match current.snapshot.groups() {
            [] => 0,
            [group, ..] if group.end >= 1.0 => 0,
            groups => group_of(groups, current.algorithm.spread(hash)),
        };
        Offers { current, hash, first, done: 0, drawn: 0, walked: 0, place: 0 }
    }

    /// The group to offer from: the first one that has not been offered whole.
    #[inline]
    fn group(&mut self) -> Option<usize> {
        loop {
            let at = in_order(self.first, self.done);
            let group = self.current.snapshot.groups().get(at)?;
            if self.drawn < A::DRAWS || self.walked < group.candidates.len() {
                return Some(at);
            }
            self.done += 1;
            (self.drawn, self.walked) = (0, 0);
        }
    }
}

/// The group to which this place from 0 to 1 belongs.
fn group_of(groups: &[Group], place: f64) -> usize {
    let found = groups.iter().position(|group| place < group.end);
    // The shares add up to nearly one.
    found.unwrap_or_else(|| groups.iter().rposition(|group| group.end > 0.0).unwrap_or(0))
}

/// Which group is the `nth` in the order of a pick that begins with `first`.
fn in_order(first: usize, nth: usize) -> usize {
    match nth {
        0 => first,
        n if n <= first => n - 1,
        n => n,
    }
}

impl<A: Algorithm> BackendIter for Offers<A> {
    #[inline]
    fn next(&mut self) -> Option<&Backend> {
        let at = self.group()?;
        let candidates = &self.current.snapshot.groups().get(at)?.candidates;
        if self.drawn < A::DRAWS {
            let table = self.current.tables.get(at)?;
            self.place = self.current.algorithm.draw(table, candidates, self.hash, self.drawn);
            self.drawn += 1;
        } else {
            self.place = (self.place + 1) % candidates.len();
            self.walked += 1;
        }
        let candidate = candidates.get(self.place)?;
        offered::offer(candidate);
        Some(&candidate.backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_group_comes_first_and_the_rest_in_order() {
        assert_eq!([0, 1, 2, 3].map(|nth| in_order(0, nth)), [0, 1, 2, 3]);
        assert_eq!([0, 1, 2, 3].map(|nth| in_order(2, nth)), [2, 0, 1, 3]);
        assert_eq!([0, 1, 2, 3].map(|nth| in_order(3, nth)), [3, 0, 1, 2]);
    }

    #[test]
    fn a_place_belongs_to_the_group_whose_share_it_falls_in() {
        let group = |end| Group { candidates: Box::default(), scale: 1, pool_weight: 1, end };
        let groups = [group(0.5), group(0.5), group(0.999_999), group(0.999_999)];
        assert_eq!([0.0, 0.49, 0.5, 0.99].map(|place| group_of(&groups, place)), [0, 0, 2, 2]);
        assert_eq!(group_of(&groups, 0.999_999_9), 3, "the last group takes what rounding left");
    }
}
