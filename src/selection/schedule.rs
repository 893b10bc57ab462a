//! The order of a weighted round robin: one full cycle in which each backend has exactly its weight of places, spread out.
//!
//! Short cycles are nginx's smooth weighted round robin, written down in advance: 5, 1, 1 gives a a b a c a a. Writing it
//! down costs cycle × backends, so a long cycle (many backends of weights without a common divisor) is walked by a fixed
//! stride near the golden ratio instead. The stride shares no divisor with the cycle, so that it, too, visits each place
//! exactly once a cycle, and a backend's visits lie nearly evenly apart (the three-gap theorem). It needs no memory per place.

/// Above this many steps, [`Schedule::new`] takes a stride: some milliseconds of work, done aside when backends change.
const MAX_STEPS: u64 = 1 << 21;

/// One full cycle over backends with weights.
#[derive(Debug, PartialEq)]
pub enum Schedule {
    /// So many in turn, all of one weight.
    Even(u64),
    /// Which backend is picked at each place.
    Listed(Box<[u32]>),
    /// Place `p` is `p × stride` modulo the cycle's length, the last of `ends`; `ends[i]` is where backend `i`'s places end.
    Strided { ends: Box<[u64]>, stride: u64 },
}

impl Schedule {
    /// The cycle over these weights. A weight of 0 is never picked.
    pub(super) fn new(weights: &[u64]) -> Self {
        if weights.iter().all(|weight| *weight > 0 && Some(weight) == weights.first()) {
            return Schedule::Even(weights.len() as u64);
        }
        let divisor = weights.iter().fold(0, |a, &b| gcd(a, b)).max(1);
        let weights: Vec<u64> = weights.iter().map(|w| w / divisor).collect();
        let length: u64 = weights.iter().sum();
        if length.saturating_mul(weights.len() as u64) <= MAX_STEPS {
            Schedule::Listed(smooth(&weights, length))
        } else {
            let ends = weights.iter().scan(0, |end, w| {
                *end += w;
                Some(*end)
            });
            Schedule::Strided { ends: ends.collect(), stride: golden_stride(length) }
        }
    }

    /// The backend at a place, any number being one; `None` if there is nothing to pick.
    #[inline]
    pub(super) fn at(&self, place: u64) -> Option<usize> {
        match self {
            Schedule::Even(0) => None,
            Schedule::Even(count) => Some((place % count) as usize),
            Schedule::Listed(order) if order.is_empty() => None,
            Schedule::Listed(order) => Some(order[(place % order.len() as u64) as usize] as usize),
            Schedule::Strided { ends, stride } => {
                let length = *ends.last()?;
                let point = (u128::from(place % length) * u128::from(*stride) % u128::from(length)) as u64;
                Some(ends.partition_point(|&end| end <= point))
            }
        }
    }
}

/// nginx's smooth weighted round robin: at each place everybody gains its weight, the richest is picked and pays for all.
fn smooth(weights: &[u64], length: u64) -> Box<[u32]> {
    let mut current = vec![0i64; weights.len()];
    let place = |_| {
        let mut best = 0;
        for (i, weight) in weights.iter().enumerate() {
            current[i] += *weight as i64;
            if current[i] > current[best] {
                best = i;
            }
        }
        current[best] -= length as i64;
        best as u32
    };
    (0..length).map(place).collect()
}

/// A stride near `length / φ` that has no divisor in common with `length`.
fn golden_stride(length: u64) -> u64 {
    let golden = (length as f64 * 0.618_033_988_749_895) as u64;
    (golden.max(1)..).find(|&s| gcd(s, length) == 1).unwrap_or(1)
}

pub(super) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(weights: &[u64], places: u64) -> String {
        let schedule = Schedule::new(weights);
        let letter = |place| (b'a' + schedule.at(place).expect("not empty") as u8) as char;
        (0..places).map(letter).collect()
    }

    #[test]
    fn spreads_as_nginx_does() {
        assert_eq!(letters(&[5, 1, 1], 14), "aabacaaaabacaa");
        assert_eq!(letters(&[1, 1, 1], 6), "abcabc");
        assert_eq!(letters(&[2, 1], 6), "abaaba");
        assert_eq!(letters(&[1000, 500], 6), "abaaba");
    }

    #[test]
    fn nothing_to_pick_is_none() {
        assert_eq!(Schedule::new(&[]).at(7), None);
        assert_eq!(Schedule::new(&[0, 0]).at(7), None);
    }

    /// Each has exactly its weight of every cycle, and no window of the cycle strays far from the share, in either form.
    #[test]
    fn exact_over_a_cycle_and_even_within_it() {
        let mut random = fastrand::Rng::with_seed(0x5eed);
        for backends in [2, 3, 17, 300, 5000] {
            let weights: Vec<u64> = (0..backends).map(|_| random.u64(1..=1000)).collect();
            let length: u64 = weights.iter().sum();
            let schedule = Schedule::new(&weights);
            let mut seen = vec![0u64; backends];
            let mut worst = 0f64;
            for place in 0..length {
                seen[schedule.at(place).expect("not empty")] += 1;
                if place % (length / 64 + 1) == 0 {
                    let fair = weights[0] as f64 * (place + 1) as f64 / length as f64;
                    worst = worst.max((seen[0] as f64 - fair).abs());
                }
            }
            let divisor = weights.iter().fold(0, |a, &b| gcd(a, b));
            assert_eq!(divisor, 1, "seeded so that the cycle is the sum");
            assert_eq!(seen, weights, "{backends} backends");
            assert!(worst < 6.0, "{backends} backends stray by {worst}");
        }
    }

    #[test]
    fn long_cycles_take_a_stride() {
        let weights: Vec<u64> = (1..=5000).map(|i| i % 1000 + 1).collect();
        assert!(matches!(Schedule::new(&weights), Schedule::Strided { .. }));
    }
}
