//! One probe, and what it means to a pool.

use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use pingora_load_balancing::Backend;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Pool;
use super::prober::Checking;
use crate::backend::{BackendState, Change, Health, Member};
use crate::health::Check;

/// How a probe has ended; a failure with its reason, for people.
pub(super) type Outcome = Result<(), String>;

/// One probe, bounded as a whole: a backend that drips one byte a second passes every timeout between reads. In a task of its
/// own: a check that panics fails its backend, and does not silently end all probing of it. Dropped, the set ends the task.
pub(super) async fn probe(check: &Check, backend: &Arc<Backend>, limit: Duration) -> Outcome {
    let (check, backend) = (Arc::clone(check), Arc::clone(backend));
    let mut task = JoinSet::new();
    task.spawn(async move { check.check(&backend).await });
    match timeout(limit, task.join_next()).await {
        Ok(Some(Ok(Ok(())))) => Ok(()),
        Ok(Some(Ok(Err(e)))) => Err(reason(&e)),
        Ok(Some(Err(_)) | None) => Err("the check panicked".to_owned()),
        Err(_) => Err(format!("no answer within {}", humantime::format_duration(limit))),
    }
}

/// What went wrong, in few words. Where the system has a word for it, that is enough: pingora's context names the address
/// again, which stands before this in every line.
fn reason(error: &pingora_core::Error) -> String {
    let kind = match &error.etype {
        pingora_core::ErrorType::HTTPStatus(status) => return format!("status {status}"),
        other => other.as_str(),
    };
    match (&error.cause, &error.context) {
        (Some(_), _) => format!("{kind}: {}", error.root_cause()),
        (None, Some(context)) => format!("{kind}: {}", context.as_str()),
        (None, None) => kind.to_owned(),
    }
}

/// Let a pool know how a probe of one of its backends has ended.
pub(super) async fn take_in(pool: &Pool, member: &Member, result: Outcome) {
    let Some(Checking { thresholds, .. }) = pool.check else {
        return;
    };
    let state: &BackendState = &member.state;
    let (before, _) = state.health();
    let why = result.as_ref().err().cloned().unwrap_or_default();
    let Some(change) = state.observe(result, thresholds) else {
        return;
    };
    pool.refresh().await;
    pool.balancer.mark(&member.backend, change == Change::BecameHealthy);
    let (pool, backend) = (&pool.name, state.label());
    match (change, before) {
        (Change::BecameHealthy, Health::Unprobed) => {
            info!("pool {pool}: backend {backend} is healthy: first probe passed")
        }
        (Change::BecameHealthy, _) => {
            info!("pool {pool}: backend {backend} became healthy: {} probes passed in a row", thresholds.rise);
        }
        (Change::BecameUnhealthy, Health::Unprobed) => {
            warn!("pool {pool}: backend {backend} is unhealthy: first probe failed: {why}");
        }
        (Change::BecameUnhealthy, _) => warn!(
            "pool {pool}: backend {backend} became unhealthy: {} probes failed in a row, the last: {why}",
            thresholds.fall
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use async_trait::async_trait;
    use pingora_load_balancing::Backend;
    use pingora_load_balancing::health_check::HealthCheck;

    use super::*;
    use crate::backend::{Policy, Roster};

    /// A check that a library user got wrong.
    struct Wrong {
        panics: bool,
    }

    #[async_trait]
    impl HealthCheck for Wrong {
        async fn check(&self, _: &Backend) -> pingora_core::Result<()> {
            assert!(!self.panics, "on purpose");
            pending().await
        }

        fn health_threshold(&self, _: bool) -> usize {
            1
        }
    }

    #[tokio::test]
    async fn a_check_that_panics_or_hangs_is_a_failed_probe() {
        let roster = Roster::new(Policy { initial: Health::Unprobed, ..Policy::default() });
        roster.set_members(&[Backend::new("127.0.0.1:1").unwrap()]);
        let member = roster.load().members()[0].clone();
        for (panics, expected) in [(true, "the check panicked"), (false, "no answer within 50ms")] {
            let check: Check = Arc::new(Wrong { panics });
            let result = probe(&check, &member.backend, Duration::from_millis(50)).await;
            assert_eq!(result, Err(expected.to_owned()));
        }
    }
}
