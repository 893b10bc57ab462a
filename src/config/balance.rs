//! The algorithm that picks a backend, and what each is told.

use std::time::Duration;

use super::{Extension, Percent};

/// The algorithm that picks a backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Balance {
    /// `round_robin`: weighted, spread smoothly.
    #[default]
    RoundRobin,
    /// `random`: weighted.
    Random,
    /// `least_request`: the fewest requests in flight for each unit of weight.
    LeastRequest(Choices),
    /// `p2c`: of two drawn at random, the one with fewer requests in flight for each unit of weight.
    P2c,
    /// `peak_ewma`: of two drawn at random, the one that lately answered sooner for the load that it has.
    PeakEwma(Decay),
    /// `least_time`: the shortest average time to the first byte, times the load.
    LeastTime(LeastTime),
    /// `consistent_hash`: a ketama ring.
    ConsistentHash(Hashing),
    /// `maglev`: a Maglev table.
    Maglev(Hashing, TableSize),
    /// `rendezvous`: the highest random weight.
    Rendezvous(Hashing),
    /// `NAME` or `{ NAME: … }`: an algorithm that a library user registered under that name.
    Extension(Extension),
}

/// How many backends are compared for one pick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choices {
    /// `all`: every one, of at most [`Choices::MAX_COMPARED`]; of more [`Choices::SAMPLE`], drawn at random.
    #[default]
    All,
    /// That many, drawn at random, 2 to [`Choices::MAX_COMPARED`].
    Drawn(u8),
}

impl Choices {
    /// The most backends that are compared for one pick: beyond that the comparing costs more than it gains.
    pub const MAX_COMPARED: u8 = 64;
    /// How many of a larger number are compared: the best of eight is among the best ninth on average.
    pub const SAMPLE: u8 = 8;
}

/// How long a latency is remembered: the time constant of the decay, after which a measurement counts for 1/e.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decay(pub Duration);

impl Default for Decay {
    /// Finagle's 10 s.
    fn default() -> Self {
        Decay(Duration::from_secs(10))
    }
}

/// What `least_time` is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeastTime {
    /// `choices`. Default [`Choices::All`].
    pub choices: Choices,
    /// `decay`. Default 10 s.
    pub decay: Decay,
}

/// What every hashing algorithm is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// What of a request is hashed: the first of these that it has. One that has none of them goes anywhere. Default the
    /// client's address. Never empty.
    pub key: Vec<KeySource>,
    /// How much of the average load, for its weight, a backend may have before its keys go on to the next; above 100 %.
    /// Default: any.
    pub bounded_load: Option<Percent>,
}

impl Default for Hashing {
    fn default() -> Self {
        Hashing { key: vec![KeySource::ClientIp], bounded_load: None }
    }
}

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// `{ header: NAME }`: the first value of a header, its name in lower case.
    Header(String),
    /// `{ cookie: NAME }`: the value of a cookie.
    Cookie(String),
    /// `{ query: NAME }`: the value of a query parameter, as it was sent.
    Query(String),
    /// `path`: without the query.
    Path,
    /// `client_ip`: as far as `trusted_proxies` let it be known.
    ClientIp,
}

/// The number of places in a Maglev table: a prime, so that every step of every backend visits all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize(pub u32);

impl TableSize {
    /// The largest: 20 MB, for 50,000 backends at a hundred places each.
    pub const MAX: u32 = 5_000_011;
}

impl Default for TableSize {
    /// The paper's small one: enough for some six hundred backends at a hundred places each.
    fn default() -> Self {
        TableSize(65_537)
    }
}
