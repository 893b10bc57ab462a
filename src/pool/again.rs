//! Whether another attempt of a request follows one that has failed, and how it is made.

use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr;

use super::{Pool, Trouble};

/// How long a `Retry-After` is waited out. Whoever asks for more is busy with more than a moment's load.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The attempts of a request so far.
#[derive(Clone, Copy, Debug)]
pub struct Attempts<'a> {
    /// How many there were, with the one that has just failed.
    pub made: usize,
    /// Where they went: who is not to be asked again.
    pub tried: &'a [SocketAddr],
    /// How long the request may still take, until the header of its response must be there.
    pub left: Duration,
}

/// How another attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// After so long; most often not at all.
    pub pause: Duration,
    /// On those, too, that have been tried: everybody was, and this time was asked for.
    pub anew: bool,
}

impl Pool {
    /// Whether this policy has another attempt follow one that has failed in this way: if that is wanted, and there are attempts,
    /// time, and a backend left. `retry_after` is what the backend has [asked for](super::retry_after).
    ///
    /// That the request may be sent twice is [`Trouble::allows`] to say, and that there is room for one more
    /// [`Pool::permit_retry`], which is to be asked last.
    pub fn again(&self, trouble: Trouble, retry_after: Option<Duration>, attempts: &Attempts<'_>) -> Option<Again> {
        let Attempts { made, tried, left } = *attempts;
        let retry = self.retry();
        if !trouble.wanted(&retry.on) || made >= usize::from(retry.attempts) {
            return None;
        }
        let pause = match retry.backoff {
            Some(backoff) if trouble != Trouble::Connect || made > 1 => backoff.after(made),
            _ => Duration::ZERO,
        };
        let others = self.has_other_than(tried);
        // Once everybody has been asked, those who said when to come back are asked again, if that is soon.
        let wait = retry_after.filter(|wait| *wait <= MAX_RETRY_AFTER);
        let pause = if others { pause } else { pause.max(wait?) };
        (pause < left).then_some(Again { pause, anew: !others })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use pingora_load_balancing::discovery::Static;

    use super::super::PoolBuilder;
    use super::*;
    use crate::config::{Backoff, Retry};
    use crate::metrics::Metrics;

    const SECOND: Duration = Duration::from_secs(1);

    fn pool(retry: Retry) -> Pool {
        let source = Static::try_from_iter(["10.0.0.1:80", "10.0.0.2:80"]).unwrap();
        let pool = PoolBuilder::new("web", source).retry(retry).round_robin(&Metrics::new().unwrap());
        pool.discover().now_or_never().unwrap().unwrap();
        pool
    }

    fn tried(count: usize) -> Vec<SocketAddr> {
        (1..=count).map(|n| SocketAddr::Inet(format!("10.0.0.{n}:80").parse().unwrap())).collect()
    }

    #[test]
    fn there_must_be_an_attempt_and_time_and_a_backend_left() {
        let pool = pool(Retry { attempts: 2, backoff: None, ..Retry::default() });
        let again = |trouble, made, left| pool.again(trouble, None, &Attempts { made, tried: &tried(made), left });
        let at_once = Some(Again { pause: Duration::ZERO, anew: false });
        assert_eq!(again(Trouble::Reset, 1, SECOND), at_once);
        assert_eq!(again(Trouble::Reset, 2, SECOND), None, "two attempts");
        assert_eq!(again(Trouble::Protocol, 1, SECOND), None, "not in retry.on");
        assert_eq!(again(Trouble::Reset, 1, Duration::ZERO), None, "no time");
        let all = Attempts { made: 1, tried: &tried(2), left: SECOND };
        assert_eq!(pool.again(Trouble::Reset, None, &all), None, "nobody else");
    }

    #[test]
    fn who_says_when_is_asked_again_when_everybody_was_asked() {
        let pool = pool(Retry { backoff: None, ..Retry::default() });
        let tried = tried(2);
        let all = Attempts { made: 2, tried: &tried, left: SECOND * 2 };
        let after = |wait| pool.again(Trouble::Status(503), Some(wait), &all);
        assert_eq!(after(SECOND), Some(Again { pause: SECOND, anew: true }));
        assert_eq!(after(SECOND * 3 / 2), None, "too long to wait for");
        let other = Attempts { tried: &tried[..1], ..all };
        let at_once = Some(Again { pause: Duration::ZERO, anew: false });
        assert_eq!(pool.again(Trouble::Status(503), Some(SECOND), &other), at_once, "the other has not asked for it");
    }

    #[test]
    fn the_first_after_a_backend_that_is_not_there_does_not_wait() {
        let backoff = Backoff { base: SECOND, max: SECOND };
        let pool = pool(Retry { backoff: Some(backoff), ..Retry::default() });
        let tried = tried(1);
        let pause = |trouble| {
            let attempts = Attempts { made: 1, tried: &tried, left: SECOND * 2 };
            pool.again(trouble, None, &attempts).unwrap().pause
        };
        assert_eq!(pause(Trouble::Connect), Duration::ZERO);
        assert!((0..10).any(|_| !pause(Trouble::Reset).is_zero()));
    }
}
