//! Weighted random choice.
//!
//! The simplest that needs no state at all; many balancers in front of the same backends do not fall into step. Its loads
//! stray more than round robin's: of n requests a backend gets its share give or take the square root of it.
//! Cost: one random number; with different weights two, and a look into a table.

use super::Algorithm;
use super::drawing::Drawing;
use crate::backend::{Candidate, Group};

/// Draws by weight.
#[derive(Debug)]
pub struct AtRandom;

impl Algorithm for AtRandom {
    type Table = Drawing;

    fn standard() -> Self {
        AtRandom
    }

    fn table(&self, group: &Group) -> Drawing {
        Drawing::new(&group.candidates)
    }

    #[inline]
    fn draw(&self, drawing: &Drawing, _: &[Candidate], _: u64, _: u32) -> usize {
        drawing.one()
    }
}
