//! The bound on time: the VM asks between two steps of a script whether it may go on.
//!
//! A step is a call, a turn of a loop, or one of the steps of a pattern's match. What is measured is the time that the thread has
//! worked, so that a busy machine does not fail a script that was not even run. It is looked at from the sixteenth step on:
//! small hooks end before, and need no clock.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use mlua::{Error, Lua, Result, VmState};
use nix::time::{ClockId, clock_gettime};

/// A look at the clock costs as much as so many steps.
const EVERY: u32 = 8;
const FIRST: u32 = 16;

pub(super) struct Bound {
    limit: Cell<Duration>,
    steps: Cell<u32>,
    /// What the thread had worked when the clock was first looked at.
    since: Cell<Option<Duration>>,
    exceeded: Cell<bool>,
    /// The line where it was exceeded.
    line: RefCell<Option<usize>>,
    /// How the script's chunk is called.
    chunk: String,
}

impl Bound {
    pub(super) fn new(chunk: &str) -> Self {
        Bound {
            limit: Cell::new(Duration::MAX),
            steps: Cell::new(0),
            since: Cell::new(None),
            exceeded: Cell::new(false),
            line: RefCell::new(None),
            chunk: chunk.to_owned(),
        }
    }

    /// A call begins that may take so long.
    pub(super) fn begin(&self, limit: Duration) {
        self.limit.set(limit);
        self.steps.set(0);
        self.since.set(None);
        self.exceeded.set(false);
    }

    /// Where the call took too long, if it did; a script that has caught the error has not ended it.
    pub(super) fn exceeded(&self) -> Option<Option<usize>> {
        self.exceeded.get().then(|| *self.line.borrow())
    }

    /// Whether the script may go on.
    #[inline]
    pub(super) fn step(&self, lua: &Lua) -> Result<VmState> {
        let steps = self.steps.get().wrapping_add(1);
        self.steps.set(steps);
        // Once it was too much each step fails, or who catches errors would go on.
        let is_time = steps.is_multiple_of(EVERY) && steps >= FIRST;
        if is_time || self.exceeded.get() { self.look(lua) } else { Ok(VmState::Continue) }
    }

    fn look(&self, lua: &Lua) -> Result<VmState> {
        if !self.exceeded.get() {
            let worked = worked();
            let Some(since) = self.since.get() else {
                self.since.set(Some(worked));
                return Ok(VmState::Continue);
            };
            if worked.saturating_sub(since) <= self.limit.get() {
                return Ok(VmState::Continue);
            }
            self.exceeded.set(true);
            *self.line.borrow_mut() = line(lua, &self.chunk);
        }
        Err(Error::runtime("took too long"))
    }
}

/// How long this thread has worked.
fn worked() -> Duration {
    // It does not fail where there are threads.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// The line of the script that is being run.
fn line(lua: &Lua, chunk: &str) -> Option<usize> {
    /// Deeper than the functions of the library that call each other.
    const DEEPEST: usize = 10;
    (0..DEEPEST).find_map(|level| {
        lua.inspect_stack(level, |debug| {
            let ours = debug.source().short_src.is_some_and(|source| source == chunk);
            if ours { debug.current_line() } else { None }
        })?
    })
}
