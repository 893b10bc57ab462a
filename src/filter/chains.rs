//! The chains of one place in the configuration: for each listener that has filters of its own, and for all others.

use std::sync::Arc;

use super::{Chain, Filter};

/// The chains of one place, by the number of the listener: 0 for those without filters of their own.
#[derive(Clone)]
pub struct Chains(Vec<Arc<Chain>>);

impl Chains {
    /// The filters of the whole, and of each listener that has some.
    pub(crate) fn outer(whole: &[Arc<dyn Filter>], listeners: &[Vec<Arc<dyn Filter>>]) -> Self {
        let common = Arc::new(Chain::new(whole));
        let own = listeners.iter().map(|own| Arc::new(Chain::new(whole.iter().chain(own))));
        Chains(std::iter::once(common).chain(own).collect())
    }

    /// These, and those of a route after them. The same if there are none.
    pub(crate) fn with(&self, filters: &[Arc<dyn Filter>]) -> Self {
        if filters.is_empty() {
            return self.clone();
        }
        Chains(self.0.iter().map(|outer| Arc::new(outer.longer(filters))).collect())
    }

    /// The chain of a listener; `None` if it has none.
    #[inline]
    pub(crate) fn of(&self, listener: usize) -> Option<&Arc<Chain>> {
        self.0.get(listener).filter(|chain| !chain.is_empty())
    }
}
