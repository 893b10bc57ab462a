//! Who does worse than its peers: a pure judgement of what was counted, window by window.
//!
//! Backends are compared over the same stretch of time and with the others of their priority and zone only: if all become
//! slow nobody is an outlier, and who is far away is not taken for ill.

mod compare;
mod silence;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr;

use super::{Bins, Cause, Member};
use crate::config::Ejection as Rules;
use compare::{low, slow};
use silence::Silence;

pub(super) use compare::slow_beyond;

/// So many slow windows in a row eject: shorter may be a pause to collect garbage.
const SLOW_WINDOWS: u32 = 3;
/// The fewest answers to judge by, of the backend and of its peers. Who has fewer is judged by more windows together,
const ANSWERS: u64 = 10;
const PEERS_ANSWERS: u64 = 20;
/// so many at most: what is older is not now.
const LONGEST: usize = 10;
/// The fewest peers. Of two that differ nobody knows which one is odd.
const PEERS: usize = 2;

/// Success rates are compared each time so many windows have ended, of those that had so many attempts in them.
const RATE_WINDOWS: u64 = 10;
const RATE_ATTEMPTS: f64 = 100.0;
/// Those who are compared: of the same priority and zone.
type Peers = (u8, Option<Arc<str>>);

/// What a backend has counted so far.
pub(crate) struct Reading {
    address: SocketAddr,
    peers: Peers,
    took: Bins,
    succeeded: u64,
    failed: u64,
    in_flight: u32,
    /// How many of `took` are no answers, but what some attempts would have taken at least.
    overtaken: u64,
    /// Whether it gets requests as others do.
    judged: bool,
}

impl Reading {
    /// The counts of a backend now.
    pub(crate) fn of(member: &Member) -> Self {
        let (state, counts) = (&member.state, member.state.counts());
        Reading {
            address: state.address().clone(),
            peers: (member.attributes.priority, member.attributes.zone.clone()),
            took: state.took(),
            succeeded: counts.succeeded,
            failed: counts.failed,
            in_flight: state.in_flight(),
            overtaken: state.overtaken(),
            judged: state.eligible() && !state.ejected(),
        }
    }
}

impl Reading {
    /// How many requests have come to it that it has not answered yet, or not before they were cut off, more or less a constant.
    fn asked(&self) -> u64 {
        u64::from(self.in_flight) + self.overtaken
    }
}

/// What is remembered between two windows.
#[derive(Default)]
pub(crate) struct Outliers {
    /// How many windows have ended.
    number: u64,
    backends: HashMap<SocketAddr, Watched>,
    peers: HashMap<Peers, Recent>,
    all: Recent,
}

/// One backend.
struct Watched {
    last: Reading,
    /// Its answers in the windows by which it is judged next, and how many windows that are.
    answers: Bins,
    windows: usize,
    /// Slow ones in a row.
    slow: u32,
    silence: Silence,
    /// The last window in which it has answered.
    active: u64,
    /// Since which window it is judged, and what it had counted when rates were last compared.
    since: u64,
    rated: (u64, u64),
}

/// Answers of the last windows, the last one first.
#[derive(Default)]
struct Recent {
    windows: VecDeque<Bins>,
    /// How many backends have answered within the last window, the last two, and so on.
    active: [usize; LONGEST],
}

impl Recent {
    fn begin(&mut self) {
        self.windows.truncate(LONGEST - 1);
        self.windows.push_front(Bins::default());
        self.active = [0; LONGEST];
    }

    fn add(&mut self, bins: &Bins) {
        if let Some(window) = self.windows.front_mut() {
            window.add(bins);
        }
    }

    fn last(&self, windows: usize) -> Bins {
        let mut all = Bins::default();
        self.windows.iter().take(windows).for_each(|window| all.add(window));
        all
    }
}

impl Outliers {
    /// Take in what was counted until the end of a window. Says who is an outlier.
    pub(crate) fn end_window(&mut self, readings: Vec<Reading>, rules: Option<&Rules>) -> Vec<(SocketAddr, Cause)> {
        self.number += 1;
        self.read(readings);
        let mut outliers = Vec::new();
        for watched in self.backends.values_mut().filter(|watched| watched.last.judged) {
            let Some(peers) = self.peers.get(&watched.last.peers) else { continue };
            let window = rules.map(|rules| rules.window).unwrap_or_default();
            let cause = watched.judge(peers);
            let cause = cause.or_else(|| watched.judge_silence(peers, self.number, window));
            if let Some(cause) = cause.filter(|_| rules.is_some_and(|rules| rules.latency)) {
                outliers.push((watched.last.address.clone(), cause));
            }
        }
        if self.number.is_multiple_of(RATE_WINDOWS) {
            let rates = self.rates();
            if rules.is_some_and(|rules| rules.success_rate) {
                outliers.extend(low(&rates));
            }
        }
        outliers
    }

    /// What the answers of all backends took in the last windows.
    pub(crate) fn lately(&self) -> Bins {
        self.all.last(LONGEST)
    }

    fn read(&mut self, readings: Vec<Reading>) {
        let mut before = std::mem::take(&mut self.backends);
        self.peers.retain(|peers, _| readings.iter().any(|reading| reading.peers == *peers));
        self.peers.values_mut().for_each(Recent::begin);
        self.all.begin();
        for reading in readings {
            let peers = self.peers.entry(reading.peers.clone()).or_insert_with(|| {
                let mut recent = Recent::default();
                recent.begin();
                recent
            });
            let address = reading.address.clone();
            let watched = match before.remove(&address) {
                // Of one that comes back, what it did before it left is not news.
                None => Watched::new(reading, self.number),
                Some(mut watched) => {
                    self.all.add(&watched.take_in(reading, self.number, peers));
                    watched
                }
            };
            self.backends.insert(address, watched);
        }
    }

    /// The attempts of those who were judged all the while since rates were last compared, and the part that succeeded.
    fn rates(&mut self) -> Vec<(SocketAddr, f64, f64)> {
        let mut rates = Vec::new();
        for watched in self.backends.values_mut() {
            let now = (watched.last.succeeded, watched.last.failed);
            let before = std::mem::replace(&mut watched.rated, now);
            let succeeded = now.0.saturating_sub(before.0) as f64;
            let attempts = succeeded + now.1.saturating_sub(before.1) as f64;
            let all_the_while = watched.last.judged && watched.since + RATE_WINDOWS <= self.number;
            if all_the_while && attempts >= RATE_ATTEMPTS {
                rates.push((watched.last.address.clone(), attempts, succeeded / attempts));
            }
        }
        rates
    }
}

impl Watched {
    fn new(reading: Reading, number: u64) -> Self {
        let rated = (reading.succeeded, reading.failed);
        let silence = Silence::broken(number, reading.asked());
        let answers = Bins::default();
        Watched { last: reading, answers, windows: 0, slow: 0, silence, active: 0, since: number, rated }
    }

    /// Take in a reading. Gives the answers since the last one.
    fn take_in(&mut self, reading: Reading, number: u64, peers: &mut Recent) -> Bins {
        let answers = reading.took.since(&self.last.took);
        let same = reading.judged && self.last.judged && reading.peers == self.last.peers;
        let overtaken = reading.overtaken.saturating_sub(self.last.overtaken);
        let speaks = answers.total() > overtaken || reading.failed != self.last.failed;
        if !same || speaks || !self.silence.is_waited_for(reading.asked()) {
            self.silence = Silence::broken(number, reading.asked());
        }
        self.last = reading;
        if !same {
            (self.slow, self.since) = (0, number);
            self.begin();
            return answers;
        }
        if answers.total() > 0 {
            self.active = number;
        }
        peers.add(&answers);
        let age = number.saturating_sub(self.active);
        peers.active.iter_mut().skip(usize::try_from(age).unwrap_or(LONGEST)).for_each(|active| *active += 1);
        self.answers.add(&answers);
        self.windows += 1;
        answers
    }

    fn begin(&mut self) {
        (self.answers, self.windows) = (Bins::default(), 0);
    }

    fn judge_silence(&self, peers: &Recent, number: u64, window: Duration) -> Option<Cause> {
        self.silence.judge(number, window, self.last.asked(), &peers.last(SLOW_WINDOWS as usize))
    }

    /// Whether it is slow, and has been for long enough.
    fn judge(&mut self, peers: &Recent) -> Option<Cause> {
        if self.windows == 0 || (self.answers.total() < ANSWERS && self.windows < LONGEST) {
            return None;
        }
        let others = peers.last(self.windows).without(&self.answers);
        let enough = self.answers.total() >= ANSWERS && others.total() >= PEERS_ANSWERS;
        // It is one of them.
        let peers = peers.active.get(self.windows - 1).is_some_and(|active| *active > PEERS);
        let cause = if enough && peers { slow(&self.answers, &others) } else { None };
        self.slow = if cause.is_some() { self.slow + 1 } else { 0 };
        self.begin();
        cause.filter(|_| self.slow >= SLOW_WINDOWS)
    }
}
