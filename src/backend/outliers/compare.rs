//! Whether one does worse than others: by what its answers took, and by how many of its attempts succeeded.

use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr;

use super::super::{Bins, Cause};
use super::PEERS;

/// Slow is what takes longer than so many times what half of the peers' answers take at most,
const TIMES: u32 = 3;
/// and so much longer at least: on a fast network a few times next to nothing is nothing.
const LEAST: Duration = Duration::from_millis(3);
/// Who has more slow answers than these, of its own and compared with the peers' share, is slow in this window.
const SLOW_SHARE: f64 = 0.1;
const SLOW_RATIO: f64 = 2.0;
/// How far a difference must be beyond what chance does.
const SIGNIFICANT: f64 = 3.0;

/// How far below the mean of the peers is too far: so many standard deviations of the peers (Envoy's factor), so many of
/// what chance does to such a number of attempts, and in any case this part of all attempts.
const DEVIATIONS: f64 = 1.9;
const CHANCES: f64 = 3.0;
const RATE_MARGIN: f64 = 0.05;

/// What is slow where half of the answers take at most `median`.
pub(in super::super) fn slow_beyond(median: Duration) -> Duration {
    (median * TIMES).max(median + LEAST)
}

/// Whether the answers of one are slow for its peers. More than a tenth of them must be beyond the limit, that is its 90th
/// percentile. That alone would not do: where answers differ much, it is so for everybody. So it must also have clearly more
/// of them than its peers.
pub(super) fn slow(own: &Bins, others: &Bins) -> Option<Cause> {
    let median = others.quantile(0.5)?;
    let limit = slow_beyond(median);
    let count = |bins: &Bins| (bins.above(limit) as f64, bins.total() as f64);
    let ((own_slow, own_all), (others_slow, others_all)) = (count(own), count(others));
    let (share, others_share) = (own_slow / own_all, others_slow / others_all);
    let both = (own_slow + others_slow) / (own_all + others_all);
    let chance = (both * (1.0 - both) * (1.0 / own_all + 1.0 / others_all)).sqrt();
    let is = share > SLOW_SHARE && share >= SLOW_RATIO * others_share && share - others_share > SIGNIFICANT * chance;
    let p90 = own.quantile(0.9)?;
    is.then_some(Cause::Latency { p90, median, limit })
}

/// Whose success rate is too far below the others'.
pub(super) fn low(rates: &[(SocketAddr, f64, f64)]) -> Vec<(SocketAddr, Cause)> {
    let peers = rates.len().saturating_sub(1);
    if peers < PEERS {
        return Vec::new();
    }
    let sum: f64 = rates.iter().map(|(_, _, rate)| rate).sum();
    let squares: f64 = rates.iter().map(|(_, _, rate)| rate * rate).sum();
    let judge = |(address, attempts, own): &(SocketAddr, f64, f64)| {
        let mean = (sum - own) / peers as f64;
        let deviation = ((squares - own * own) / peers as f64 - mean * mean).max(0.0).sqrt();
        let chance = (mean * (1.0 - mean) / attempts).max(0.0).sqrt();
        let margin = (DEVIATIONS * deviation).max(CHANCES * chance).max(RATE_MARGIN);
        (*own < mean - margin).then(|| (address.clone(), Cause::SuccessRate { own: *own, peers: mean }))
    };
    rates.iter().filter_map(judge).collect()
}
