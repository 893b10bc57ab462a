//! How fast the body of a request comes.

use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::alarm::Alarm;

/// Measures the time in which a body was waited for; what the backend does not take is not the client's fault.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Bytes a second.
    least: Option<u64>,
    /// For how long it may be waited for before that counts.
    grace: Duration,
    came: u64,
    waited: Duration,
    since: Option<Instant>,
}

impl Pace {
    /// Of a body that has not begun.
    pub(super) fn new(least: Option<u64>, grace: Duration) -> Self {
        Pace { least, grace, ..Pace::default() }
    }

    /// So many bytes have come.
    pub(super) fn came(&mut self, bytes: usize) {
        if self.least.is_some() {
            self.came += bytes as u64;
            self.waited += self.since.take().map(|since| since.elapsed()).unwrap_or_default();
        }
    }

    /// Nothing has come yet: whether it is too slow by now. Wakes the task when it is.
    pub(super) fn late(&mut self, alarm: &mut Alarm, context: &mut Context<'_>) -> bool {
        let Some(least) = self.least else { return false };
        let since = *self.since.get_or_insert_with(Instant::now);
        let allowed = self.grace + Duration::from_secs(self.came / least.max(1));
        alarm.rings(since + allowed.saturating_sub(self.waited), context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    /// Whether it is late at the first look.
    async fn late(pace: &mut Pace, alarm: &mut Alarm) -> bool {
        poll_fn(|context| Poll::Ready(pace.late(alarm, context))).await
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_late_by_what_came_and_by_the_time_that_it_was_waited_for() {
        let (mut pace, mut alarm) = (Pace::new(Some(100), Duration::from_secs(10)), Alarm::default());
        let begin = Instant::now();
        for _ in 0..5 {
            assert!(!late(&mut pace, &mut alarm).await);
            tokio::time::advance(Duration::from_secs(3)).await;
            pace.came(100);
            // Nobody asks for more for a while.
            tokio::time::advance(Duration::from_secs(100)).await;
        }
        poll_fn(|context| if pace.late(&mut alarm, context) { Poll::Ready(()) } else { Poll::Pending }).await;
        // Waited for 15 seconds in which 500 bytes came, and no more.
        assert_eq!(begin.elapsed(), Duration::from_secs(515));
        assert!(!late(&mut Pace::new(None, Duration::ZERO), &mut alarm).await);
    }
}
