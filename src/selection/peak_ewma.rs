//! The power of two choices, by latency and load: (in flight + 1) × decaying latency / weight.
//!
//! The latency is peak-sensitive: one slow answer counts at once, and fades with the time constant. So a backend that begins
//! to struggle loses its traffic within one answer, and gets it back slowly. A failure counts as ten times what the pool
//! typically takes, or a backend that fails fast would attract everything. Who has not answered yet is taken for typical.
//! Weights say how much a backend can take at once; idle backends of equal latency are picked the heavier first.
//! Source: Finagle's `peakEwma` (Twitter, 2016); Mitzenmacher for the two choices.
//! Cost: as `p2c`, a clock and two exponentials; a latency is written once for each answer.

use super::Algorithm;
use super::drawing::Drawing;
use crate::backend::{Averaging, Candidate, Fading, Group, PoolState, wrapped_millis};
use crate::config::Decay;

/// Draws two and takes the one that can be expected to answer sooner.
#[derive(Debug)]
pub struct Sooner {
    fading: Fading,
}

impl Sooner {
    /// With latencies that fade over `decay`; those of `pool` are measured so from now on.
    pub fn new(decay: Decay, pool: &PoolState) -> Self {
        let fading = Fading::over(decay);
        pool.measure(Averaging { fading, peak: true });
        Sooner { fading }
    }
}

impl Algorithm for Sooner {
    type Table = Drawing;

    fn standard() -> Self {
        Sooner { fading: Fading::over(Decay::default()) }
    }

    fn table(&self, group: &Group) -> Drawing {
        Drawing::new(&group.candidates)
    }

    #[inline]
    fn draw(&self, drawing: &Drawing, candidates: &[Candidate], _: u64, _: u32) -> usize {
        let (first, second) = drawing.two();
        let now = wrapped_millis();
        let cost = |place: usize| candidates.get(place).map(|c| c.cost(now, self.fading));
        match (cost(first), cost(second)) {
            (Some(a), Some(b)) if b < a => second,
            _ => first,
        }
    }
}

impl Candidate {
    /// What a request more would cost it, in microseconds for each unit of weight.
    #[inline]
    pub(super) fn cost(&self, now: u32, fading: Fading) -> f32 {
        self.state.expected_micros(now, fading) * (self.state.in_flight() + 1) as f32 / self.weight as f32
    }
}
