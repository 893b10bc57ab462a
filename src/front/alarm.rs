//! A timer that is cheap to move further away.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Context;

use tokio::time::{Instant, Sleep};

/// Rings when a moment has come that may be another one each time it is asked for. A later moment costs nothing: the timer
/// rings at the earlier one, finds that it is too early, and is set anew. So a connection sets a timer once in a while, not
/// with each request.
#[derive(Default)]
pub(super) struct Alarm {
    /// In a mutex for that to be shared, which it never is.
    timer: Option<Mutex<Pin<Box<Sleep>>>>,
}

impl Alarm {
    /// Whether this moment has come; wakes the task when it has. Nobody is woken for the moments of earlier calls.
    pub(super) fn rings(&mut self, at: Instant, context: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Mutex::new(Box::pin(tokio::time::sleep_until(at))));
        let timer = timer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= at {
                return true;
            }
            timer.as_mut().reset(at);
        }
        false
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alarm")
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

    async fn ring(alarm: &mut Alarm, at: Instant) {
        poll_fn(|context| if alarm.rings(at, context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_moment_of_the_last_call() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut alarm = Alarm::default();
        for (asked, rings) in [(60, 60), (70, 70), (65, 70), (90, 90)] {
            // A first look, at another moment, does not decide.
            poll_fn(|context| Poll::Ready(alarm.rings(after(asked + 20).max(after(95)), context))).await;
            ring(&mut alarm, after(asked)).await;
            assert_eq!(Instant::now(), after(rings), "asked for {asked}");
        }
    }
}
