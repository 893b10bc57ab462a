//! Weighted round robin, spread smoothly, exact over each full cycle however many threads pick at once.
//!
//! For requests that cost about the same on backends that are about alike; it sees no load, and a slow backend gets its whole
//! share. A pick takes the next place of a cycle that was [written down](super::schedule) when the backends last changed: one
//! atomic addition, no lock. Dead backends are not in the cycle, so the rest share in proportion to their weights. The
//! place belongs to the pool and outlives every change, so that churn does not favour the first backend. All groups of a pool
//! share it: where priorities or zones split the requests, cycles are not exact.
//! Source: nginx's smooth weighted round robin (2012).
//! Cost: one counter that all threads write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Algorithm;
use super::schedule::Schedule;
use crate::backend::{Candidate, Group, PoolState};

/// Takes turns.
#[derive(Debug, Default)]
pub struct Turns {
    next: Arc<AtomicU64>,
}

impl Turns {
    /// Where the turns of this pool have got to.
    pub fn of(pool: &PoolState) -> Self {
        Turns { next: Arc::clone(pool.turns()) }
    }
}

impl Algorithm for Turns {
    type Table = Schedule;

    fn standard() -> Self {
        Turns::default()
    }

    fn table(&self, group: &Group) -> Schedule {
        let weights: Vec<u64> = group.candidates.iter().map(|candidate| candidate.weight).collect();
        Schedule::new(&weights)
    }

    #[inline]
    fn draw(&self, schedule: &Schedule, _: &[Candidate], _: u64, _: u32) -> usize {
        schedule.at(self.next.fetch_add(1, Relaxed)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc, Mutex};
    use std::thread;

    use pingora_load_balancing::Backend;
    use pingora_load_balancing::selection::{BackendIter, BackendSelection};

    use super::*;
    use crate::backend::{Policy, Roster, Thresholds};
    use crate::selection::{Following, RoundRobin};

    fn backends(weights: &[usize]) -> BTreeSet<Backend> {
        let backend = |(i, &weight)| Backend::new_with_weight(&format!("10.0.0.{}:80", i + 1), weight).unwrap();
        weights.iter().enumerate().map(backend).collect()
    }

    /// The last byte of each address picked, counted.
    fn pick(selection: &Arc<RoundRobin>, times: usize) -> BTreeMap<String, usize> {
        let mut picked = BTreeMap::new();
        for _ in 0..times {
            let address = selection.iter(b"").next().unwrap().addr.to_string();
            *picked.entry(address).or_default() += 1;
        }
        picked
    }

    #[test]
    fn every_thread_together_gets_exact_cycles() {
        let selection = Arc::new(RoundRobin::build(&backends(&[5, 1, 1])));
        let total = Mutex::new(BTreeMap::<String, usize>::new());
        thread::scope(|scope| {
            for _ in 0..7 {
                scope.spawn(|| {
                    for (address, times) in pick(&selection, 1000) {
                        *total.lock().unwrap().entry(address).or_default() += times;
                    }
                });
            }
        });
        let counts: Vec<usize> = total.into_inner().unwrap().into_values().collect();
        assert_eq!(counts, [5000, 1000, 1000]);
    }

    #[test]
    fn the_rest_share_what_a_dead_one_had_by_weight() {
        let roster = Roster::new(Policy::default());
        let set = backends(&[5, 3, 1]);
        let selection = Arc::new(RoundRobin::build_with_config(&set, &Following::roster(Turns::default(), &roster)));
        roster.set_members(&set);
        assert_eq!(pick(&selection, 90).into_values().collect::<Vec<_>>(), [50, 30, 10]);

        let first = Arc::clone(&roster.load().members()[0].state);
        first.observe(Err("refused".into()), Thresholds { rise: 1, fall: 1 });
        roster.refresh();
        assert_eq!(pick(&selection, 80).into_values().collect::<Vec<_>>(), [60, 20]);

        first.observe(Ok(()), Thresholds { rise: 1, fall: 1 });
        roster.refresh();
        assert_eq!(pick(&selection, 90).into_values().collect::<Vec<_>>(), [50, 30, 10]);
    }

    #[test]
    fn offers_every_candidate_to_one_pick() {
        let selection = Arc::new(RoundRobin::build(&backends(&[1000, 1, 1, 1, 1])));
        let mut draw = selection.iter(b"");
        let mut seen = BTreeSet::new();
        while let Some(backend) = draw.next() {
            seen.insert(backend.addr.to_string());
        }
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn nobody_is_none() {
        let selection = Arc::new(RoundRobin::build(&BTreeSet::new()));
        assert!(selection.iter(b"").next().is_none());
    }
}
