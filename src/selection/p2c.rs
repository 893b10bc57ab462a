//! The power of two choices: of two backends drawn at random, the one with fewer requests in flight for its weight.
//!
//! Nearly as even as comparing all, at a cost that does not depend on their number, and without the stampede that comparing
//! all makes when many balancers see the same idle backend. The draw is by weight, and decides among equals.
//! Each thread of each instance draws from a generator that is seeded apart, so that instances do not pick in step.
//! Source: M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, IEEE TPDS 12(10), 2001.
//! Cost: two or four random numbers, two counters read.

use super::Algorithm;
use super::drawing::Drawing;
use super::load::fewer;
use crate::backend::{Candidate, Group};

/// Draws two and takes the one with fewer requests in flight.
#[derive(Debug)]
pub struct LessLoaded;

impl Algorithm for LessLoaded {
    type Table = Drawing;

    fn standard() -> Self {
        LessLoaded
    }

    fn table(&self, group: &Group) -> Drawing {
        Drawing::new(&group.candidates)
    }

    #[inline]
    fn draw(&self, drawing: &Drawing, candidates: &[Candidate], _: u64, _: u32) -> usize {
        let (first, second) = drawing.two();
        let load = |place: usize| candidates.get(place).map(|c| (c.state.in_flight(), c.weight));
        match (load(first), load(second)) {
            (Some(a), Some(b)) if fewer(b, a) => second,
            _ => first,
        }
    }
}
