//! Time as the state of backends keeps it.

use std::sync::LazyLock;

use coarsetime::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now_without_cache_update);

/// Milliseconds since about the start of the process. The kernel's coarse clock, right to some milliseconds, costs a fifth of
/// the exact one, and decays and ramps take seconds.
#[inline]
pub(crate) fn millis() -> u64 {
    // The other form of `now` writes to a word that all threads share.
    Instant::now_without_cache_update().duration_since(*START).as_millis()
}

/// The same in as many bits as fit beside a latency. They wrap after seven weeks: only differences mean something.
#[inline]
pub(crate) fn wrapped_millis() -> u32 {
    millis() as u32
}
