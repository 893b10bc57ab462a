//! Time as the state of backends keeps it: milliseconds, few enough bits for an atomic word.

use std::sync::LazyLock;
use std::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since about the start of the process, never 0. They wrap after seven weeks: only differences mean something.
pub(crate) fn millis() -> u32 {
    let elapsed = START.elapsed().as_millis() as u32;
    elapsed.wrapping_add(1).max(1)
}
