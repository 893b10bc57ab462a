//! Waiting for room: first come, first served, a bounded number for a bounded time.

use std::time::Instant;

use tokio::time::timeout_at;

use super::{Pick, Pool, Unavailable};
use crate::backend::Lease;
use crate::config::Queue;

impl Pool {
    /// Whether `max_in_flight` or `concurrency` bounds it, so that it may be full.
    pub fn limited(&self) -> bool {
        self.roster.load().limited()
    }

    /// [`Pool::acquire`], waiting in the pool's queue while it is full, until `deadline` at most.
    ///
    /// # Errors
    /// Why there is nobody; never while an admitted backend with room is left to try and nobody waits for it.
    pub async fn acquire_or_wait(&self, pick: &Pick<'_>, deadline: Instant) -> Result<Lease, Unavailable> {
        // Nobody overtakes those who wait.
        if self.roster.pool().line() == 0 || self.queue.is_none() || pick.again {
            match self.acquire(pick) {
                Err(Unavailable::Full) => {}
                decided => return decided,
            }
        }
        match self.queue {
            Some(queue) => self.wait(pick, queue, deadline).await,
            None => Err(Unavailable::Full),
        }
    }

    async fn wait(&self, pick: &Pick<'_>, queue: Queue, deadline: Instant) -> Result<Lease, Unavailable> {
        let until = deadline.min(Instant::now() + queue.timeout);
        let too_late = if until < deadline { Unavailable::QueueTimeout } else { Unavailable::Deadline };
        let state = self.roster.pool();
        let place = match pick.again {
            true => state.stand_by(),
            false => state.line_up(queue.size).ok_or(Unavailable::QueueFull)?,
        };
        // Kept until there is room for us: who is next then looks for itself, and finds what else was given back meanwhile.
        // But not by a second attempt, which came before them all, and may need the room of other backends than they.
        let _turn = match pick.again {
            true => None,
            false => Some(timeout_at(until.into(), place.turn()).await.map_err(|_| too_late)?),
        };
        loop {
            let called = place.called();
            match self.acquire(pick) {
                Err(Unavailable::Full) => {}
                decided => return decided,
            }
            timeout_at(until.into(), called).await.map_err(|_| too_late)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures_util::FutureExt;
    use pingora_load_balancing::discovery::Static;
    use tokio::task::{JoinHandle, yield_now};
    use tokio::time::timeout;

    use super::*;
    use crate::backend::{Policy, Thresholds};
    use crate::metrics::Metrics;
    use crate::pool::PoolBuilder;

    const LONG: Duration = Duration::from_secs(30);

    fn pool(backends: &[&str], limit: u32, queue: Queue) -> Arc<Pool> {
        let policy = Policy { max_in_flight: Some(limit), ..Policy::default() };
        let builder = PoolBuilder::new("web", Static::try_from_iter(backends).unwrap()).policy(policy).queue(queue);
        let pool = builder.round_robin(&Metrics::new().unwrap());
        pool.discover().now_or_never().unwrap().unwrap();
        Arc::new(pool)
    }

    fn of_one(size: u32, timeout: Duration) -> Arc<Pool> {
        pool(&["10.0.0.1:80"], 1, Queue { size, timeout })
    }

    async fn lease(pool: &Pool, within: Duration) -> Result<Lease, Unavailable> {
        pool.acquire_or_wait(&Pick::default(), Instant::now() + within).await
    }

    /// Begin to wait; when the lease comes, note the number and let it go.
    async fn join(pool: &Arc<Pool>, number: usize, served: &Arc<Mutex<Vec<usize>>>) -> JoinHandle<()> {
        let before = pool.roster.pool().waiting();
        let (waiter, served) = (Arc::clone(pool), Arc::clone(served));
        let task = tokio::spawn(async move {
            let _lease = lease(&waiter, LONG).await.unwrap();
            served.lock().unwrap().push(number);
            yield_now().await;
        });
        while pool.roster.pool().waiting() == before {
            yield_now().await;
        }
        task
    }

    #[tokio::test]
    async fn first_come_first_served() {
        let (pool, served) = (of_one(10, LONG), Arc::default());
        let held = lease(&pool, LONG).await.unwrap();
        let mut tasks = Vec::new();
        for number in 0..5 {
            tasks.push(join(&pool, number, &served).await);
        }
        drop(held);
        // Called, but not there yet: a newcomer may not slip in.
        let late = lease(&pool, LONG).await.unwrap();
        assert_eq!(*served.lock().unwrap(), [0, 1, 2, 3, 4]);
        drop(late);
        assert_eq!(pool.roster.pool().waiting(), 0);
    }

    #[tokio::test]
    async fn the_line_and_the_wait_are_bounded() {
        let pool = of_one(1, Duration::from_millis(20));
        let held = lease(&pool, LONG).await.unwrap();
        let (waited, refused) = tokio::join!(lease(&pool, LONG), lease(&pool, LONG));
        assert_eq!((waited.unwrap_err(), refused.unwrap_err()), (Unavailable::QueueTimeout, Unavailable::QueueFull));
        assert_eq!(lease(&pool, Duration::from_millis(5)).await.unwrap_err(), Unavailable::Deadline);
        drop(held);
        assert!(lease(&pool, LONG).await.is_ok());
    }

    #[tokio::test]
    async fn who_gives_up_passes_its_call_on() {
        let (pool, served) = (of_one(10, LONG), Arc::default());
        let held = lease(&pool, LONG).await.unwrap();
        let gone = join(&pool, 0, &served).await;
        let next = join(&pool, 1, &served).await;
        drop(held);
        // The first has been called, and leaves before it hears it.
        gone.abort();
        timeout(LONG, next).await.unwrap().unwrap();
        assert_eq!(*served.lock().unwrap(), [1]);
        assert_eq!((pool.roster.pool().waiting(), pool.roster.pool().in_flight()), (0, 0));
    }

    #[tokio::test]
    async fn nobody_waits_for_the_dead() {
        let pool = of_one(10, LONG);
        let held = lease(&pool, LONG).await.unwrap();
        let die = async {
            while pool.roster.pool().waiting() < 2 {
                yield_now().await;
            }
            held.backend().observe(Err("dead".to_owned()), Thresholds { rise: 1, fall: 1 });
            pool.roster.refresh();
        };
        let waits = async { tokio::join!(lease(&pool, LONG), lease(&pool, LONG), die) };
        let (first, second, ()) = timeout(LONG / 2, waits).await.unwrap();
        assert_eq!((first.unwrap_err(), second.unwrap_err()), (Unavailable::NoneAdmitted, Unavailable::NoneAdmitted));
    }

    /// Were a call lost, somebody would wait although there is room, and in the end for ever.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_call_is_lost_and_no_limit_broken() {
        let pool = pool(&["10.0.0.1:80", "10.0.0.2:80"], 3, Queue { size: 10_000, timeout: LONG });
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = |_| {
            let (pool, now, most) = (Arc::clone(&pool), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                for _ in 0..20 {
                    let held = lease(&pool, LONG).await.unwrap();
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    yield_now().await;
                    now.fetch_sub(1, SeqCst);
                    drop(held);
                }
            })
        };
        for task in (0..500).map(work).collect::<Vec<_>>() {
            timeout(LONG, task).await.unwrap().unwrap();
        }
        assert_eq!(most.load(SeqCst), 3);
        assert_eq!((pool.roster.pool().waiting(), pool.roster.pool().in_flight()), (0, 0));
    }
}
