//! Time as the state of backends keeps it.

use std::sync::LazyLock;
use std::time;

use coarsetime::Instant;

/// The same moment on both clocks.
static START: LazyLock<(Instant, time::Instant)> =
    LazyLock::new(|| (Instant::now_without_cache_update(), time::Instant::now()));

/// What the clock says when the process starts: what began in the process before it has a time, too.
const AT_START: u64 = 1 << 40;

/// Milliseconds, [`AT_START`] at about the start of the process. The kernel's coarse clock, right to some milliseconds, costs a fifth of
/// the exact one, and decays and ramps take seconds.
#[inline]
pub(crate) fn millis() -> u64 {
    // The other form of `now` writes to a word that all threads share.
    AT_START + Instant::now_without_cache_update().duration_since(START.0).as_millis()
}

/// The same in as many bits as fit beside a latency. They wrap after seven weeks: only differences mean something.
#[inline]
pub(crate) fn wrapped_millis() -> u32 {
    millis() as u32
}

/// The same at a moment that is known already, without another look at the clock.
#[inline]
pub(crate) fn millis_at(instant: time::Instant) -> u64 {
    let since = instant.saturating_duration_since(START.1);
    AT_START + since.as_secs() * 1000 + u64::from(since.subsec_millis())
}
