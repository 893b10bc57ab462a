//! Weighted round robin, spread smoothly, exact over each full cycle however many threads pick at once.
//!
//! A pick takes the next place of a cycle that was [written down](super::schedule) when the backends last changed: one
//! atomic addition, no lock. Dead backends are not in the cycle, so the rest share in proportion to their weights. The
//! place belongs to the pool and outlives every change, so that churn does not favour the first backend.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::{ArcSwap, Guard};
use pingora_load_balancing::Backend;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};

use super::schedule::Schedule;
use crate::backend::{Member, Roster};

/// How often a refused pick asks the cycle again before it walks the candidates one by one. The cycle keeps proportions;
/// the walk misses nobody.
const DRAWS: u32 = 8;

/// Smooth weighted round robin over a [`Roster`], or over a fixed set of backends when it is built without one.
pub struct RoundRobin(Arc<Turns>);

/// What outlives a change of the backends: pass one to each pool's `LoadBalancer` as the selection's configuration.
pub struct Turns {
    cycle: ArcSwap<Cycle>,
    next: AtomicU64,
}

struct Cycle {
    candidates: Vec<Backend>,
    schedule: Schedule,
}

impl Cycle {
    fn new(candidates: Vec<Backend>) -> Self {
        let weights: Vec<u64> = candidates.iter().map(|b| b.weight as u64).collect();
        Cycle { schedule: Schedule::new(&weights), candidates }
    }
}

impl Turns {
    fn over(candidates: Vec<Backend>) -> Self {
        Turns { cycle: ArcSwap::from_pointee(Cycle::new(candidates)), next: AtomicU64::new(0) }
    }

    /// Turns over the candidates of a roster, rewritten with every change of it.
    pub fn of(roster: &Roster) -> Arc<Self> {
        let turns = Arc::new(Turns::over(Vec::new()));
        let weak = Arc::downgrade(&turns);
        roster.subscribe(move |snapshot| {
            if let Some(turns) = weak.upgrade() {
                let backend = |m: &Member| m.backend.clone();
                let candidates = snapshot.candidates().iter().map(backend).collect();
                turns.cycle.store(Arc::new(Cycle::new(candidates)));
            }
        });
        turns
    }
}

impl BackendSelection for RoundRobin {
    type Iter = Draw;
    type Config = Arc<Turns>;

    fn build_with_config(_: &BTreeSet<Backend>, turns: &Arc<Turns>) -> Self {
        RoundRobin(Arc::clone(turns))
    }

    fn build(backends: &BTreeSet<Backend>) -> Self {
        RoundRobin(Arc::new(Turns::over(backends.iter().cloned().collect())))
    }

    fn iter(self: &Arc<Self>, _key: &[u8]) -> Draw {
        Draw { cycle: self.0.cycle.load(), selection: Arc::clone(self), drawn: 0, start: 0, walked: 0 }
    }
}

/// The backends in the order of one pick: some draws from the cycle, then everybody once.
pub struct Draw {
    selection: Arc<RoundRobin>,
    cycle: Guard<Arc<Cycle>>,
    drawn: u32,
    /// Where the walk begins: elsewhere for every request, or one candidate would inherit all that another refuses.
    start: usize,
    walked: usize,
}

impl BackendIter for Draw {
    fn next(&mut self) -> Option<&Backend> {
        let candidates = &self.cycle.candidates;
        if self.drawn < DRAWS {
            self.drawn += 1;
            let place = self.selection.0.next.fetch_add(1, Relaxed);
            self.start = place as usize;
            return candidates.get(self.cycle.schedule.at(place)?);
        }
        if self.walked == candidates.len() {
            return None;
        }
        self.walked += 1;
        candidates.get(self.start.wrapping_add(self.walked) % candidates.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::thread;

    use super::*;
    use crate::backend::{Health, Thresholds};

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
        let roster = Roster::new(Health::UP);
        let set = backends(&[5, 3, 1]);
        let selection = Arc::new(RoundRobin::build_with_config(&set, &Turns::of(&roster)));
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
