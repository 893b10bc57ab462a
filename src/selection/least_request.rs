//! The fewest requests in flight for each unit of weight; among equals, by weight.
//!
//! The most even when requests differ much in what they cost, and there is one balancer. With many balancers each sees its
//! own requests only, and all send to the same idle backend at once: there `p2c` is better.
//! Cost: every backend's counter is read, of 64 at most. Of more, eight are drawn at random and compared: the best of eight
//! is among the best ninth on average, and the cost does not grow. With `choices: N`, always N.

use super::Algorithm;
use super::drawing::Drawing;
use super::load::{fewer, least};
use crate::backend::{Candidate, Group};
use crate::config::Choices;

/// Compares requests in flight.
#[derive(Debug, Default)]
pub struct FewestInFlight {
    /// How many are compared.
    pub choices: Choices,
}

impl Algorithm for FewestInFlight {
    type Table = Drawing;

    fn standard() -> Self {
        FewestInFlight::default()
    }

    fn table(&self, group: &Group) -> Drawing {
        Drawing::new(&group.candidates)
    }

    #[inline]
    fn draw(&self, drawing: &Drawing, candidates: &[Candidate], _: u64, _: u32) -> usize {
        least(candidates, drawing, self.choices, |c| (c.state.in_flight(), c.weight), fewer)
    }
}
