//! Watching live traffic: who is ejected, who may try again, and what the answers of the pool took lately.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use pingora_core::protocols::l4::socket::SocketAddr;
use tokio::time::{Instant, timeout_at};

use super::Pool;
use crate::backend::{BackendState, Cause, EjectionChange, Outliers, Reading};
use crate::config::Ejection;

/// Watch a pool until this task is aborted: backends that fail in a row are ejected at once, the rest is done at the end of
/// each window.
pub(super) async fn observe_for_ever(pool: Arc<Pool>) {
    let rules = pool.ejection.clone();
    let window = rules.as_ref().map_or(Ejection::default().window, |rules| rules.window);
    let watch = &pool.roster.pool().watch;
    watch.begin(rules.clone());
    if rules.is_none() {
        pool.roster.readmit_all();
    }
    let mut observer = Observer::default();
    let mut next = Instant::now() + window;
    loop {
        let ended = timeout_at(next, watch.called()).await.is_err();
        if ended {
            say_cut(&pool, &pool.roster.cut_departed(pool.timeouts.drain));
            next = (next + window).max(Instant::now());
        }
        if observer.look(&pool, rules.as_ref(), ended) {
            // Aside: in a large pool it takes a while, in which others may have to be ejected.
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.refresh().await });
        }
    }
}

/// Cut off what is still under way on the backends of a pool that has been removed, when its time has passed.
pub(super) async fn cut_off_later(pool: Arc<Pool>) {
    tokio::time::sleep(pool.timeouts.drain).await;
    let snapshot = pool.roster.load_full();
    let mut cut: Vec<_> = snapshot.members().iter().map(|member| Arc::clone(&member.state)).collect();
    cut.retain(|state| state.cut_off());
    cut.extend(pool.roster.cut_departed(Duration::ZERO));
    say_cut(&pool, &cut);
}

fn say_cut(pool: &Pool, cut: &[Arc<BackendState>]) {
    for state in cut {
        let (pool, drain) = (pool.name(), humantime::format_duration(pool.timeouts.drain));
        warn!("pool {pool}: backend {} was removed {drain} ago: cutting {} off", state.label(), state.in_flight());
    }
}

/// What is kept between two looks.
#[derive(Default)]
pub(super) struct Observer {
    outliers: Outliers,
    /// Who should be ejected, and is not because the pool cannot spare it.
    spared: HashSet<SocketAddr>,
}

impl Observer {
    /// See who is to be ejected or put on trial; `ended` says whether a window is over. It holds for picks at once. Says
    /// whether the pool is to be refreshed.
    pub(super) fn look(&mut self, pool: &Pool, rules: Option<&Ejection>, ended: bool) -> bool {
        let roster = &pool.roster;
        let mut accused = Vec::new();
        if ended {
            let snapshot = roster.load();
            let outliers = self.outliers.end_window(snapshot.members().iter().map(Reading::of).collect(), rules);
            roster.pool().publish(&self.outliers.lately());
            let state = |(address, cause)| snapshot.find(&address).map(|state| (Arc::clone(state), cause));
            accused.extend(outliers.into_iter().filter_map(state));
        }
        let mut changed = false;
        if let Some(rules) = rules {
            changed = ended && roster.put_on_trial();
            accused.extend(roster.accused(rules));
            roster.eject(&mut accused, rules);
            self.tell_spared(pool, &accused, ended);
        }
        let news = roster.pool().watch.news();
        for news in &news {
            let (pool, backend, change) = (pool.name(), &news.backend, news.change);
            match change {
                EjectionChange::Ejected { .. } => warn!("pool {pool}: backend {backend} {change}"),
                _ => info!("pool {pool}: backend {backend} {change}"),
            }
        }
        changed || !news.is_empty()
    }

    /// Say once why a backend that is known to be bad gets requests all the same.
    fn tell_spared(&mut self, pool: &Pool, spared: &[(Arc<BackendState>, Cause)], ended: bool) {
        for (state, cause) in spared {
            if self.spared.insert(state.address().clone()) {
                let (pool, backend) = (pool.name(), state.label());
                warn!("pool {pool}: backend {backend} is not ejected, the pool cannot spare it: {cause}");
            }
        }
        if ended {
            self.spared.retain(|address| spared.iter().any(|(state, _)| state.address() == address));
        }
    }
}
