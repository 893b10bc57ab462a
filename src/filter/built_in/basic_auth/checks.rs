//! Where hashes are computed: away from the threads that serve requests, and only so many at once in the whole process.
//!
//! A hash takes a core for up to some hundred milliseconds. Without a bound, whoever sends wrong passwords would get all cores.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::hashes::Hash;

/// Half of the cores, so that requests get the other half.
static ROOM: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Semaphore::new((cores / 2).max(1))
});

/// How many wait for room.
static WAITING: AtomicUsize = AtomicUsize::new(0);
const MOST_WAITING: usize = 256;
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// The right to compute one.
pub(super) struct Turn(SemaphorePermit<'static>);

/// Counts one who waits, until it is dropped.
struct Waiting;

impl Waiting {
    fn begin() -> Option<Self> {
        let room = WAITING.fetch_update(Relaxed, Relaxed, |waiting| (waiting < MOST_WAITING).then_some(waiting + 1));
        room.ok().map(|_| Waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Relaxed);
    }
}

/// Wait for it; `None` if too many do, or it took too long.
pub(super) async fn turn() -> Option<Turn> {
    if let Ok(permit) = ROOM.try_acquire() {
        return Some(Turn(permit));
    }
    let _waiting = Waiting::begin()?;
    timeout(LONGEST_WAIT, ROOM.acquire()).await.ok()?.ok().map(Turn)
}

impl Turn {
    /// Whether the hash is the password's; `None` if that could not be found out.
    pub(super) async fn check(self, hash: Hash, password: Vec<u8>) -> Option<bool> {
        // The turn goes along: it ends with the computation, not with a client that leaves.
        let Turn(permit) = self;
        let checked = tokio::task::spawn_blocking(move || {
            let is = hash.is_of(&password);
            drop(permit);
            is
        });
        checked.await.ok()
    }
}
