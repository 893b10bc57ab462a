//! Draining by an operator: a backend gets no new work until an operator says otherwise.

use std::time::Duration;

use log::info;

use super::Pool;
use crate::backend::{BackendState, Member};

impl Pool {
    /// Have a backend of this pool drain. Says whether that is news; from then on nobody new is sent to it, but for clients that
    /// are [bound](Pool::grace_left) to it.
    pub async fn drain(&self, member: &Member) -> bool {
        let news = member.state.begin_drain();
        if news {
            let (backend, in_flight) = (member.state.label(), member.state.in_flight());
            info!("pool {}: backend {backend} drains: an operator wants it to; {in_flight} in flight", self.name);
            self.take_in(member).await;
        }
        news
    }

    /// Take back an operator's drain of a backend of this pool. Its health begins anew; it is picked when it is healthy and has no
    /// weight of 0, and starts slowly where that is set. Says whether it had been drained so.
    pub async fn undrain(&self, member: &Member) -> bool {
        let news = self.roster.end_drain(&member.state);
        if news {
            let (backend, standing) = (member.state.label(), member.state.standing());
            info!("pool {}: backend {backend} is undrained by an operator, and {standing}", self.name);
            self.take_in(member).await;
        }
        news
    }

    async fn take_in(&self, member: &Member) {
        self.refresh().await;
        self.balancer.mark(&member.backend, member.state.eligible());
    }

    /// How long clients whose cookie names a backend that drains still reach it; `None` if not (any longer).
    pub fn grace_left(&self, state: &BackendState) -> Option<Duration> {
        self.sticky.as_ref()?;
        state.grace_left(self.drain_grace)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use pingora_load_balancing::discovery::Static;

    use super::*;
    use crate::backend::{Lease, Thresholds};
    use crate::metrics::Metrics;
    use crate::pool::{Pick, PoolBuilder, Secret};

    const LONG: Duration = Duration::from_secs(3600);

    fn pool(backends: &[&str], grace: Duration) -> Pool {
        let builder = PoolBuilder::new("web", Static::try_from_iter(backends).unwrap());
        let builder = builder.sticky("lb", None, Secret::of_process()).drain_grace(grace);
        let pool = builder.round_robin(&Metrics::new().unwrap());
        pool.discover().now_or_never().unwrap().unwrap();
        pool
    }

    fn member(pool: &Pool, label: &str) -> Member {
        pool.roster().find_known(label).unwrap()
    }

    fn cookie(pool: &Pool, lease: &Lease) -> Option<Vec<u8>> {
        let set = pool.sticky().unwrap().set_cookie(lease, None, &[], false)?;
        Some(set.split(['=', ';']).nth(1)?.as_bytes().to_vec())
    }

    fn served_by(pool: &Pool, cookie: Option<&[u8]>) -> String {
        pool.acquire(&Pick { cookie, ..Pick::default() }).unwrap().backend().label().to_owned()
    }

    #[tokio::test]
    async fn in_grace_the_bound_come_and_nobody_else() {
        for (grace, stays) in [(LONG, true), (Duration::ZERO, false)] {
            let pool = pool(&["10.0.0.1:80", "10.0.0.2:80"], grace);
            let lease = pool.acquire(&Pick::default()).unwrap();
            let (home, cookie) = (lease.backend().label().to_owned(), cookie(&pool, &lease).unwrap());
            let drained = member(&pool, &home);
            assert!(pool.drain(&drained).await && !pool.drain(&drained).await);
            assert_eq!(pool.grace_left(&drained.state).is_some(), stays);
            for _ in 0..10 {
                assert_ne!(served_by(&pool, None), home);
                assert_eq!(served_by(&pool, Some(&cookie)) == home, stays);
            }
            let tried = [drained.backend.addr.clone()];
            let again = Pick { cookie: Some(&cookie), tried: &tried, ..Pick::default() };
            assert_ne!(pool.acquire(&again).unwrap().backend().label(), home, "not where it has failed");
            drained.state.observe(Err("dead".to_owned()), Thresholds { rise: 1, fall: 1 });
            assert_ne!(served_by(&pool, Some(&cookie)), home, "not to the dead");
        }
    }

    #[tokio::test]
    async fn who_goes_elsewhere_gets_another_cookie_but_not_in_grace() {
        for (grace, another) in [(LONG, false), (Duration::ZERO, true)] {
            let pool = pool(&["10.0.0.1:80", "10.0.0.2:80"], grace);
            let lease = pool.acquire(&Pick::default()).unwrap();
            let old = cookie(&pool, &lease).unwrap();
            pool.drain(&member(&pool, lease.backend().label())).await;
            let next = pool.acquire(&Pick { cookie: Some(&old), ..Pick::default() }).unwrap();
            assert_eq!(pool.sticky().unwrap().set_cookie(&next, Some(&old), &[], false).is_some(), another);
        }
    }

    #[tokio::test]
    async fn the_last_one_may_be_drained_and_comes_back() {
        let pool = pool(&["10.0.0.1:80"], LONG);
        let only = member(&pool, "10.0.0.1:80");
        pool.drain(&only).await;
        assert!(!pool.available() && pool.acquire(&Pick::default()).is_err());
        assert!(pool.undrain(&only).await && !pool.undrain(&only).await);
        assert_eq!(served_by(&pool, None), "10.0.0.1:80");
    }
}
