//! Tells when probes do not come that should: a health check that has stopped leaves every backend as it was, and looks well.
//!
//! In a thread of its own, because what it watches may have stopped a whole runtime: a check that blocks its thread, say. It
//! reads what probes leave behind, and asks nobody.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use log::{error, info, warn};

use super::{Keepers, Pool};
use crate::backend::BackendState;

/// How many intervals without a probe are too many. The second may be late, and time out.
const INTERVALS: u32 = 3;
/// What is not missed before that: a machine under load holds everybody up for as long.
const LEAST: Duration = Duration::from_secs(1);
/// How often to look.
const EVERY: Duration = Duration::from_millis(500);
/// How many backends a line of the log names.
const NAMED: usize = 3;

/// A backend whose probes do not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Its address.
    pub backend: String,
    /// For how long there was none.
    pub missing: Duration,
    /// How often there should be one.
    pub interval: Duration,
}

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = humantime::format_duration(self.interval);
        write!(f, "backend {} not probed for {}s (interval {interval})", self.backend, self.missing.as_secs())
    }
}

/// Has there been none for too long?
fn is_overdue(missing: Duration, interval: Duration) -> bool {
    missing > (interval * INTERVALS).max(LEAST)
}

impl Pool {
    /// Those of its backends for which no probe has ended in three intervals, and a second at the least; nobody without a health check.
    pub fn overdue(&self) -> Vec<Overdue> {
        let snapshot = self.roster.load();
        snapshot.members().iter().filter_map(|member| self.overdue_of(&member.state)).collect()
    }

    fn overdue_of(&self, state: &BackendState) -> Option<Overdue> {
        let checking = self.check.as_ref()?;
        let (missing, interval) = (state.probes_missing(), checking.timing.interval(state.health().0));
        is_overdue(missing, interval).then(|| Overdue { backend: state.label().to_owned(), missing, interval })
    }

    /// The same of one backend; `None` without a health check.
    pub(crate) fn probes_overdue(&self, state: &BackendState) -> Option<bool> {
        self.check.as_ref()?;
        Some(self.overdue_of(state).is_some())
    }
}

/// The thread, which ends when this is dropped.
pub(super) struct Watchdog {
    _end: Sender<()>,
}

impl Watchdog {
    /// Watch the probes of these pools.
    pub(super) fn start(keepers: &Keepers) -> Self {
        let (end, ended) = channel();
        let (keepers, mut watched) = (keepers.clone(), Vec::new());
        let watch = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(EVERY) {
                follow(&mut watched, keepers.pools());
                watched.iter_mut().for_each(Watched::tell);
            }
        };
        if let Err(e) = thread::Builder::new().name("watchdog".to_owned()).spawn(watch) {
            error!("nobody watches whether backends are probed: {e}");
        }
        Watchdog { _end: end }
    }
}

/// Watch these pools; what was known of one that has been watched before, or of its predecessor, is known on.
fn follow(watched: &mut Vec<Watched>, pools: Vec<Arc<Pool>>) {
    let mut before: Vec<Watched> = std::mem::take(watched);
    watched.extend(pools.iter().filter(|pool| pool.check.is_some()).map(|pool| {
        let known = before.iter_mut().find(|watched| watched.pool.name == pool.name);
        let overdue = known.map(|watched| std::mem::take(&mut watched.overdue)).unwrap_or_default();
        Watched { pool: Arc::clone(pool), overdue }
    }));
}

/// A pool, and who of it was overdue when last looked at.
struct Watched {
    pool: Arc<Pool>,
    overdue: BTreeMap<String, Overdue>,
}

impl Watched {
    fn tell(&mut self) {
        let (begun, ended) = self.look();
        let name = &self.pool.name;
        if let Some(line) = begun {
            warn!("pool {name}: {line}");
        }
        if let Some(line) = ended {
            info!("pool {name}: {line}");
        }
    }

    /// What has begun and what has ended since it was last looked at, a line each.
    fn look(&mut self) -> (Option<String>, Option<String>) {
        let now = self.pool.overdue();
        let snapshot = self.pool.roster.load();
        let there: HashSet<&str> = snapshot.members().iter().map(|member| member.state.label()).collect();
        let (begun, ended) = changes(&mut self.overdue, now);
        let again = |was: &Overdue| format!("backend {} is probed again", was.backend);
        (
            sentence(begun.iter().map(ToString::to_string)),
            // Who has left is not probed, and not overdue either.
            sentence(ended.iter().filter(|was| there.contains(was.backend.as_str())).map(again)),
        )
    }
}

/// Who is overdue and was not, and who was and is not.
fn changes(known: &mut BTreeMap<String, Overdue>, now: Vec<Overdue>) -> (Vec<Overdue>, Vec<Overdue>) {
    let now: BTreeMap<String, Overdue> = now.into_iter().map(|one| (one.backend.clone(), one)).collect();
    let only = |these: &BTreeMap<String, Overdue>, those: &BTreeMap<String, Overdue>| -> Vec<Overdue> {
        these.values().filter(|one| !those.contains_key(&one.backend)).cloned().collect()
    };
    let changes = (only(&now, known), only(known, &now));
    *known = now;
    changes
}

/// A line about all of them, however many: when everything stops, a thousand lines would hide that it has.
fn sentence(all: impl Iterator<Item = String>) -> Option<String> {
    let all: Vec<String> = all.collect();
    match &all[..] {
        [] => None,
        few if few.len() <= NAMED => Some(few.join("; ")),
        many => Some(format!("{}; and {} backends more", many[..NAMED].join("; "), many.len() - NAMED)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};
    use std::time::Instant;

    use async_trait::async_trait;
    use pingora_load_balancing::Backend;
    use pingora_load_balancing::discovery::Static;
    use pingora_load_balancing::health_check::HealthCheck;

    use super::super::PoolBuilder;
    use super::super::keepers::keep;
    use super::super::prober::Probers;
    use super::*;
    use crate::config;
    use crate::metrics::Metrics;

    /// A check that a library user got wrong: while it is shut it blocks its thread, and with it whatever runs there.
    #[derive(Default)]
    struct Blocking {
        shut: Mutex<bool>,
        changed: Condvar,
    }

    impl Blocking {
        fn set(&self, shut: bool) {
            *self.shut.lock().unwrap() = shut;
            self.changed.notify_all();
        }
    }

    #[async_trait]
    impl HealthCheck for Blocking {
        async fn check(&self, _: &Backend) -> pingora_core::Result<()> {
            drop(self.changed.wait_while(self.shut.lock().unwrap(), |shut| *shut).unwrap());
            Ok(())
        }

        fn health_threshold(&self, _: bool) -> usize {
            1
        }
    }

    fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_check_that_blocks_its_thread_is_noticed_from_another() {
        let check = Arc::new(Blocking::default());
        let settings = config::HealthCheck {
            interval: Duration::from_millis(100),
            unhealthy_interval: Duration::from_millis(100),
            timeout: Duration::from_millis(90),
            ..config::HealthCheck::default()
        };
        let source = Static::try_from_iter(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"]).unwrap();
        let builder = PoolBuilder::new("web", source).health_check(Arc::clone(&check) as _, &settings);
        let pool = Arc::new(builder.round_robin(&Metrics::new().unwrap()));
        let kept = Arc::clone(&pool);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let service = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let prober = Probers::default().of(&kept);
            runtime.block_on(async {
                tokio::spawn(keep(kept, prober, tokio::sync::watch::channel(()).0, Arc::default()));
                let _ = ended.await;
            });
        });
        let mut watched = Watched { pool: Arc::clone(&pool), overdue: BTreeMap::new() };
        let admitted = || pool.roster.load().members().iter().filter(|member| member.state.admitted()).count();
        wait_until("all are healthy", || admitted() == 4);
        assert_eq!(watched.look(), (None, None));

        check.set(true);
        wait_until("all are overdue", || pool.overdue().len() == 4);
        let (begun, again) = watched.look();
        let expected = "backend 127.0.0.1:1 not probed for 1s (interval 100ms); backend 127.0.0.1:2 not probed for 1s (interval \
                        100ms); backend 127.0.0.1:3 not probed for 1s (interval 100ms); and 1 backends more";
        assert_eq!((begun.as_deref(), again), (Some(expected), None));
        assert_eq!(watched.look(), (None, None), "once is enough");
        let states: Vec<_> = pool.roster.load().members().iter().map(|m| Arc::clone(&m.state)).collect();
        assert!(states.iter().all(|state| pool.probes_overdue(state) == Some(true)));
        assert_eq!(admitted(), 4, "nothing else tells");

        check.set(false);
        wait_until("nobody is overdue", || pool.overdue().is_empty());
        let (begun, again) = watched.look();
        let named = "backend 127.0.0.1:1 is probed again; backend 127.0.0.1:2 is probed again; backend 127.0.0.1:3 is probed again; \
                     and 1 backends more";
        assert_eq!((begun, again.as_deref()), (None, Some(named)));
        assert!(
            states.iter().any(|state| state.probe_lateness() > Some(Duration::from_millis(500))),
            "they began late"
        );
        drop(end);
        service.join().unwrap();
    }

    #[test]
    fn three_intervals_and_a_second_are_too_long() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert!(!is_overdue(3 * minute, minute) && is_overdue(3 * minute + second, minute));
        let short = Duration::from_millis(10);
        assert!(!is_overdue(second, short) && is_overdue(second + short, short));
    }

    #[test]
    fn a_pool_that_is_never_probed_is_noticed_and_one_without_a_check_is_not() {
        let source = || Static::try_from_iter(["127.0.0.1:1"]).unwrap();
        let settings = config::HealthCheck { interval: Duration::from_millis(1), ..config::HealthCheck::default() };
        let metrics = Metrics::new().unwrap();
        let check = Arc::new(Blocking::default());
        let checked = PoolBuilder::new("web", source()).health_check(check, &settings).round_robin(&metrics);
        let unchecked = PoolBuilder::new("api", source()).round_robin(&metrics);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for pool in [&checked, &unchecked] {
            runtime.block_on(pool.discover()).unwrap();
        }
        wait_until("it is overdue", || checked.overdue().len() == 1);
        assert_eq!(unchecked.overdue(), []);
        let state = Arc::clone(&unchecked.roster.load().members()[0].state);
        assert_eq!(unchecked.probes_overdue(&state), None);
    }

    #[test]
    fn the_thread_ends_with_the_service() {
        drop(Watchdog::start(&Keepers::default()));
    }
}
