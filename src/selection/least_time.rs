//! The shortest average time to the first byte, times the load: (in flight + 1) × average / weight.
//!
//! For backends that differ in speed for good: other hardware, another site. The average forgets with a time constant, and
//! counts for less the longer nobody asked, so that a backend that was slow once is tried again. It follows trouble more
//! slowly than `peak_ewma`, and with many balancers all prefer the same backend. Idle backends are picked the quickest for
//! its weight first.
//! Source: nginx's `least_time header` (2026), whose average goes by the number of answers, and which takes times within
//! 20 ms for equal.
//! Cost: as `least_request`, and an exponential for each backend compared.

use super::Algorithm;
use super::drawing::Drawing;
use super::load::least;
use crate::backend::{Averaging, Candidate, Fading, Group, PoolState, wrapped_millis};
use crate::config::{Choices, LeastTime};

/// Compares average times.
#[derive(Debug)]
pub struct ShortestTime {
    choices: Choices,
    fading: Fading,
}

impl ShortestTime {
    /// With these options; the latencies of `pool` are measured so from now on.
    pub fn new(options: LeastTime, pool: &PoolState) -> Self {
        let fading = Fading::over(options.decay);
        pool.measure(Averaging { fading, peak: false });
        ShortestTime { choices: options.choices, fading }
    }
}

impl Algorithm for ShortestTime {
    type Table = Drawing;

    fn standard() -> Self {
        let LeastTime { choices, decay } = LeastTime::default();
        ShortestTime { choices, fading: Fading::over(decay) }
    }

    fn table(&self, group: &Group) -> Drawing {
        Drawing::new(&group.candidates)
    }

    #[inline]
    fn draw(&self, drawing: &Drawing, candidates: &[Candidate], _: u64, _: u32) -> usize {
        let now = wrapped_millis();
        let cost = |c: &Candidate| c.cost(now, self.fading);
        least(candidates, drawing, self.choices, cost, |a, b| a < b)
    }
}
