//! Lets the limit of a pool follow its latencies, and says when requests are sent away.

use std::sync::Arc;
use std::time::Instant;

use log::{info, warn};
use tokio::time::{MissedTickBehavior, interval};

use super::Pool;
use crate::backend::{Notice, SheddingChange, TICK};

/// Let the limit of a pool follow its latencies, until this task is aborted.
pub(super) async fn adapt_for_ever(pool: Arc<Pool>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Some(notice) = pool.roster.pool().adapt(Instant::now()) {
            say(&pool.name, &notice);
        }
    }
}

fn say(pool: &str, notice: &Notice) {
    let Notice { change, limit, latency, baseline } = notice;
    match change {
        SheddingChange::Began => warn!(
            "pool {pool}: overloaded: requests are sent away; the limit is {limit} in flight, answers take {latency:.1?}, \
             {baseline:.1?} without a queue"
        ),
        SheddingChange::Ended(refused, lasted) => info!(
            "pool {pool}: not overloaded any more: {refused} requests were sent away in {lasted:.0?}; the limit is {limit} in \
             flight, answers take {latency:.1?}, {baseline:.1?} without a queue"
        ),
    }
}
