//! Keys from a URL: fetched when they are first needed, again from time to time, and at once for a token whose key is not known.
//!
//! One fetch at a time, in a task of its own, so that a client that leaves does not end it. Whoever can go on with the keys that are
//! there does not wait for it; those stay for as long as the URL gives no others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::header::{ACCEPT, USER_AGENT};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::quiet::Quiet;
use super::keys::KeySet;
use crate::filter::client::Client;

/// A larger set is none.
const MAX_BODY: usize = 1024 * 1024;
/// How often at the most keys are fetched for tokens of unknown keys, which anybody can send, and after a fetch that failed.
const SOONEST: Duration = Duration::from_secs(10);
/// The same as long as there are none, and everybody is refused.
const SOONEST_WITHOUT: Duration = Duration::from_secs(1);
const AGENT: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"), " (jwt)");

/// Keys from a URL.
pub(super) struct Remote {
    client: Client,
    refresh: Duration,
    timeout: Duration,
    keys: ArcSwapOption<KeySet>,
    fetches: Mutex<Fetches>,
    /// Changes when a fetch has ended.
    ended: watch::Sender<()>,
    quiet: Quiet,
}

/// What is known of fetches.
#[derive(Clone, Copy, Default)]
struct Fetches {
    under_way: bool,
    /// When the last one ended, and whether it failed.
    last: Option<(Instant, bool)>,
}

/// What a request does about them.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// A fetch is due, and nobody waits for it.
    Fetch,
    /// There is no going on without it.
    Wait,
}

impl Fetches {
    fn need(self, has_keys: bool, refresh: Duration, now: Instant) -> Need {
        let Some((at, failed)) = self.last else { return Need::Wait };
        let age = now.saturating_duration_since(at);
        match (has_keys, failed) {
            (false, _) if age >= SOONEST_WITHOUT.min(refresh) => Need::Wait,
            (false, _) => Need::Nothing,
            (true, true) if age >= SOONEST.min(refresh) => Need::Fetch,
            // Nobody has asked for long: these may be keys that nobody is to trust any more.
            (true, false) if age >= refresh * 2 => Need::Wait,
            (true, false) if age >= refresh => Need::Fetch,
            (true, _) => Need::Nothing,
        }
    }

    /// Whether a key that is not known may be one that was added since.
    fn may_have_more(self, refresh: Duration, now: Instant) -> bool {
        self.last.is_none_or(|(at, _)| now.saturating_duration_since(at) >= SOONEST.min(refresh))
    }
}

impl Remote {
    pub(super) fn new(client: Client, refresh: Duration, timeout: Duration) -> Self {
        Remote {
            client,
            refresh,
            timeout,
            keys: ArcSwapOption::empty(),
            fetches: Mutex::default(),
            ended: watch::Sender::new(()),
            quiet: Quiet::default(),
        }
    }

    /// The keys; `None` if there have never been any.
    pub(super) async fn keys(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let need = |fetches: Fetches| fetches.need(self.keys.load().is_some(), self.refresh, Instant::now());
        let fetches = *self.fetches.lock();
        match need(fetches) {
            Need::Nothing => {}
            Need::Fetch => drop(self.begin(|fetches| need(fetches) != Need::Nothing)),
            Need::Wait => drop(self.fetch(|fetches| need(fetches) != Need::Nothing).await),
        }
        self.keys.load_full()
    }

    /// A token is of a key that is not known: look for it, if that was not done a moment ago. Whether there may be more now.
    pub(super) async fn look_for_more(self: &Arc<Self>) -> bool {
        self.fetch(|fetches| fetches.may_have_more(self.refresh, Instant::now())).await
    }

    /// Fetch if that is `wanted`, or wait for a fetch that is under way. Whether there was one.
    async fn fetch(self: &Arc<Self>, wanted: impl Fn(Fetches) -> bool) -> bool {
        let mut ended = self.ended.subscribe();
        let waits = self.begin(wanted);
        // It has a time of its own; the longer one is for a task that was dropped with its runtime.
        waits && timeout(self.timeout + SOONEST_WITHOUT, ended.changed()).await.is_ok()
    }

    /// Whether one is under way now.
    fn begin(self: &Arc<Self>, wanted: impl Fn(Fetches) -> bool) -> bool {
        let mut fetches = self.fetches.lock();
        if fetches.under_way {
            return true;
        }
        if !wanted(*fetches) {
            return false;
        }
        fetches.under_way = true;
        let landing = Landing { remote: Arc::clone(self), failed: true };
        tokio::spawn(async move {
            // All of it: of its fields alone, what it does when it is dropped would be done here.
            let mut landing = landing;
            landing.failed = !landing.remote.take().await;
        });
        true
    }

    /// Whether it has got keys.
    async fn take(&self) -> bool {
        match self.ask().await {
            Ok(keys) => {
                self.keys.store(Some(Arc::new(keys)));
                self.quiet.answered("jwt", self.client.shown());
                true
            }
            Err(why) => {
                self.quiet.failed("jwt", self.client.shown(), &why);
                false
            }
        }
    }

    async fn ask(&self) -> Result<KeySet, String> {
        const MALFORMED: &str = "a header that is none";
        let mut request = self.client.request().map_err(|_| MALFORMED)?;
        request.insert_header(ACCEPT, "application/jwk-set+json, application/json").map_err(|_| MALFORMED)?;
        request.insert_header(USER_AGENT, AGENT).map_err(|_| MALFORMED)?;
        let reply = self.client.ask(request, MAX_BODY, self.timeout).await.map_err(|none| none.why)?;
        match reply.header.status.as_u16() {
            200 => KeySet::parse(&reply.body),
            status => Err(format!("answers {status}")),
        }
    }
}

/// The end of a fetch, however it comes.
struct Landing {
    remote: Arc<Remote>,
    failed: bool,
}

impl Drop for Landing {
    fn drop(&mut self) {
        *self.remote.fetches.lock() = Fetches { under_way: false, last: Some((Instant::now(), self.failed)) };
        self.remote.ended.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(600);

    #[test]
    fn when_keys_are_fetched_and_who_waits() {
        let now = Instant::now() + Duration::from_secs(10_000);
        let after = |seconds: u64, failed| Fetches {
            under_way: false,
            last: Some((now - Duration::from_secs(seconds), failed)),
        };
        for (fetches, has_keys, need) in [
            (Fetches::default(), false, Need::Wait),
            (after(0, true), false, Need::Nothing),
            (after(1, true), false, Need::Wait),
            (after(599, false), true, Need::Nothing),
            (after(600, false), true, Need::Fetch),
            (after(1199, false), true, Need::Fetch),
            (after(1200, false), true, Need::Wait),
            (after(9, true), true, Need::Nothing),
            (after(10, true), true, Need::Fetch),
            // It has not answered for long: whoever waited would wait each time.
            (after(5000, true), true, Need::Fetch),
        ] {
            assert_eq!(fetches.need(has_keys, REFRESH, now), need, "{:?} {has_keys}", fetches.last);
        }
    }

    #[test]
    fn tokens_of_unknown_keys_do_not_lead_to_a_fetch_each() {
        let now = Instant::now() + Duration::from_secs(100);
        let after = |seconds| Fetches { under_way: false, last: Some((now - Duration::from_secs(seconds), false)) };
        assert!(!after(9).may_have_more(REFRESH, now));
        assert!(after(10).may_have_more(REFRESH, now));
        assert!(after(1).may_have_more(Duration::from_secs(1), now));
    }
}
