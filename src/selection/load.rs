//! How loaded a candidate is, and who is the least loaded of some.

use crate::backend::Candidate;
use crate::config::Choices;

use super::drawing::Drawing;

/// The requests in flight for each unit of weight, compared without division: whether `a` has fewer than `b`.
#[inline]
pub(super) fn fewer(a: (u32, u64), b: (u32, u64)) -> bool {
    u128::from(a.0) * u128::from(b.1) < u128::from(b.0) * u128::from(a.1)
}

/// How many are compared of so many: those that are drawn, or `None` for all.
pub(super) fn compared(choices: Choices, candidates: usize) -> Option<u8> {
    match choices {
        Choices::Drawn(number) if usize::from(number) < candidates => Some(number),
        Choices::All if candidates > usize::from(Choices::MAX_COMPARED) => Some(Choices::SAMPLE),
        _ => None,
    }
}

/// The place of the candidate with the least load. Among equals each is as likely as its weight says, wherever they stand.
#[inline]
pub(super) fn least<T: Copy>(
    candidates: &[Candidate],
    drawing: &Drawing,
    choices: Choices,
    load: impl Fn(&Candidate) -> T,
    less: impl Fn(T, T) -> bool,
) -> usize {
    match compared(choices, candidates.len()) {
        Some(number) => least_of_drawn(candidates, drawing, number, load, less),
        None => least_of_all(candidates, load, less),
    }
}

fn least_of_all<T: Copy>(
    candidates: &[Candidate],
    load: impl Fn(&Candidate) -> T,
    less: impl Fn(T, T) -> bool,
) -> usize {
    let mut best: Option<(usize, T)> = None;
    let mut equals = 0;
    for (place, candidate) in candidates.iter().enumerate() {
        let load = load(candidate);
        match best {
            Some((_, least)) if less(least, load) => continue,
            Some((_, least)) if !less(load, least) => equals += candidate.weight,
            _ => equals = candidate.weight,
        }
        // Each newcomer among equals takes over with its part of their weight, which leaves every one its part.
        if equals == candidate.weight || fastrand::u64(..equals) < candidate.weight {
            best = Some((place, load));
        }
    }
    best.map_or(0, |(place, _)| place)
}

fn least_of_drawn<T: Copy>(
    candidates: &[Candidate],
    drawing: &Drawing,
    number: u8,
    load: impl Fn(&Candidate) -> T,
    less: impl Fn(T, T) -> bool,
) -> usize {
    // Drawn by weight, so that the first among equals is one by weight, too.
    let (mut chosen, mut second) = drawing.two();
    for drawn in 1..number {
        if let (Some(a), Some(b)) = (candidates.get(second), candidates.get(chosen))
            && less(load(a), load(b))
        {
            chosen = second;
        }
        if drawn + 1 < number {
            second = drawing.one();
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_for_each_unit_of_weight() {
        assert!(fewer((2, 3), (1, 1)));
        assert!(!fewer((1, 1), (2, 3)));
        assert!(!fewer((0, 1), (0, 1000)), "nothing is nothing, whatever the weight");
        assert!(fewer((u32::MAX - 1, u64::MAX), (u32::MAX, u64::MAX)));
    }

    #[test]
    fn comparing_all_ends_at_64() {
        assert_eq!(compared(Choices::All, 64), None);
        assert_eq!(compared(Choices::All, 65), Some(8));
        assert_eq!(compared(Choices::Drawn(2), 3), Some(2));
        assert_eq!(compared(Choices::Drawn(5), 4), None);
    }
}
