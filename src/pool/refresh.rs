//! Taking in what has changed: once for all changes that come at about the same time, and aside.
//!
//! What the algorithms derive from the backends costs up to a second for thousands of them. Were it made anew for each of them
//! as its first probe ends, and on the threads that probe, then probes would time out and healthy backends look dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use log::error;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::Pool;

/// Which changes have been taken in.
#[derive(Default)]
pub(super) struct Refreshes {
    asked: AtomicU64,
    /// How many of those that asked have been served. Who makes it more holds the lock.
    done: Mutex<u64>,
}

impl Pool {
    /// Take in that backends became eligible, or are not any more; that they are not holds for picks even before this ends.
    pub(super) async fn refresh(&self) {
        let mine = self.refreshes.asked.fetch_add(1, SeqCst) + 1;
        let mut done = self.refreshes.done.lock().await;
        if *done >= mine {
            return;
        }
        let asked = self.refreshes.asked.load(SeqCst);
        let roster = Arc::clone(&self.roster);
        match spawn_blocking(move || roster.refresh()).await {
            Ok(()) => *done = asked,
            Err(e) => error!("pool {}: changes of its backends could not be taken in: {e}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use pingora_load_balancing::discovery::Static;

    use super::*;
    use crate::backend::Thresholds;
    use crate::metrics::Metrics;
    use crate::pool::PoolBuilder;

    #[tokio::test]
    async fn many_changes_at_once_are_taken_in_together() {
        let addresses: Vec<String> = (1..=100).map(|i| format!("10.0.0.{i}:80")).collect();
        let source = Static::try_from_iter(addresses).unwrap();
        let pool = PoolBuilder::new("web", source).round_robin(&Metrics::new().unwrap());
        pool.discover().now_or_never().unwrap().unwrap();
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        pool.roster.subscribe(move |_| {
            counter.fetch_add(1, SeqCst);
            std::thread::sleep(Duration::from_millis(10));
        });
        made.store(0, SeqCst);
        let members = pool.roster.load().members().to_vec();
        let die = |member: &crate::backend::Member| {
            member.state.observe(Err("dead".to_owned()), Thresholds { rise: 1, fall: 1 });
            pool.refresh()
        };
        join_all(members[..99].iter().map(die)).await;
        assert_eq!(pool.roster.load().candidates().count(), 1, "each is taken in when its refresh ends");
        assert!(made.load(SeqCst) <= 2, "{} times", made.load(SeqCst));
    }
}
