//! Drawing at random in proportion to weights, in constant time: Walker's alias method, its tables built as Vose does
//! (A linear algorithm for generating random numbers with a given distribution, IEEE TSE 17(9), 1991).

use crate::backend::Candidate;

/// Who is drawn with which probability.
pub enum Drawing {
    /// Everybody alike, of so many.
    Even(usize),
    /// By weight.
    Weighted(Box<[Slot]>),
}

/// One slot of an alias table, all slots being equally likely: its own place below `own`, else the other's.
pub struct Slot {
    /// Of 2³².
    own: u32,
    other: u32,
}

impl Drawing {
    /// In proportion to the candidates' weights.
    pub(super) fn new(candidates: &[Candidate]) -> Self {
        let weights: Vec<u64> = candidates.iter().map(|candidate| candidate.weight).collect();
        Drawing::by(&weights)
    }

    fn by(weights: &[u64]) -> Self {
        match weights {
            [] => Drawing::Even(0),
            [first, rest @ ..] if rest.iter().all(|weight| weight == first) => Drawing::Even(weights.len()),
            _ => Drawing::Weighted(slots(weights)),
        }
    }

    /// Draw one.
    #[inline]
    pub(super) fn one(&self) -> usize {
        match self {
            Drawing::Even(count) => below(*count, fastrand::u32(..)),
            Drawing::Weighted(slots) => {
                let (upper, lower) = two_numbers();
                let place = below(slots.len(), upper);
                let slot = &slots[place];
                if lower < slot.own { place } else { slot.other as usize }
            }
        }
    }

    /// Draw two that differ, if there are two.
    #[inline]
    pub(super) fn two(&self) -> (usize, usize) {
        match self {
            Drawing::Even(count) => {
                let (upper, lower) = two_numbers();
                let first = below(*count, upper);
                (first, another(first, *count, lower))
            }
            Drawing::Weighted(slots) => {
                let first = self.one();
                // Weights may leave hardly anything but the first; a few tries keep the proportions of the others.
                let drawn = (0..4).map(|_| self.one()).find(|second| *second != first);
                (first, drawn.unwrap_or_else(|| another(first, slots.len(), fastrand::u32(..))))
            }
        }
    }
}

/// The halves of one random number: the generator belongs to the thread, and to ask it costs more than a draw.
#[inline]
fn two_numbers() -> (u32, u32) {
    let number = fastrand::u64(..);
    ((number >> 32) as u32, number as u32)
}

/// The number below `count` that a random number stands for; 0 if there is none.
#[inline]
fn below(count: usize, random: u32) -> usize {
    // The error of multiplying instead of rejecting is below one in 2³² for each.
    ((u64::from(random) * count as u64) >> 32) as usize
}

/// Any place but the first one's.
#[inline]
fn another(first: usize, count: usize, random: u32) -> usize {
    let place = below(count.saturating_sub(1), random);
    if place >= first && count > 1 { place + 1 } else { place }
}

fn slots(weights: &[u64]) -> Box<[Slot]> {
    let total: u64 = weights.iter().sum();
    let fair = total as f64 / weights.len() as f64;
    let mut left: Vec<f64> = weights.iter().map(|weight| *weight as f64 / fair).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..left.len()).partition(|i| left[*i] < 1.0);
    // What rounding leaves over keeps its own slot.
    let mut slots: Vec<Slot> = (0..left.len()).map(|i| Slot { own: u32::MAX, other: i as u32 }).collect();
    while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
        slots[poor] = Slot { own: (left[poor] * 2f64.powi(32)) as u32, other: rich as u32 };
        left[rich] -= 1.0 - left[poor];
        if left[rich] < 1.0 {
            large.pop();
            small.push(rich);
        }
    }
    slots.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::testing::chi_square;

    #[test]
    fn draws_by_weight() {
        let seed = 11;
        println!("seed {seed}");
        fastrand::seed(seed);
        for weights in [vec![1, 1, 1, 1], vec![5, 1, 1], vec![1000, 1], vec![3, 1, 4, 1, 5, 9, 2, 6]] {
            let drawing = Drawing::by(&weights);
            let mut drawn = vec![0u64; weights.len()];
            for _ in 0..200_000 {
                drawn[drawing.one()] += 1;
            }
            chi_square(&drawn, &weights);
        }
    }

    #[test]
    fn two_differ_wherever_they_can() {
        for weights in [vec![1, 1], vec![1_000_000, 1], vec![1, 1, 1], vec![7, 1, 1_000_000]] {
            let drawing = Drawing::by(&weights);
            for _ in 0..1000 {
                let (a, b) = drawing.two();
                assert!(a != b && a < weights.len() && b < weights.len(), "{a} {b} of {weights:?}");
            }
        }
        assert_eq!(Drawing::by(&[4]).two(), (0, 0));
    }
}
