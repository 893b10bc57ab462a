//! Reload: the next generation is built to the side, checked whole, and put in place by swapping one pointer.
//!
//! [`Reloader::plan`] does everything that can fail, and changes nothing; what it says is what [`Reloader::reload`] then does.
//! A pool that is not changed is the same pool. One that is, is built anew around the state of its backends. So nothing that is
//! known is lost, and nothing is probed anew but what is new.

mod difference;
mod found;
mod keys;
mod route_keys;

use std::sync::Arc;

use arc_swap::ArcSwap;
use log::{info, warn};
use tokio::time::timeout;

use super::build::{Before, access_log, all, assemble};
use super::build_pool::{Tools, build_pool, source};
use super::checks::Checks;
use super::files;
use super::filters::filters;
use super::listeners::Listeners;
use super::registry::Registry;
use super::stop::{Stop, Times};
use crate::admin::{Receipt, Refusal};
use crate::config::{self, Config, ConfigError, Mistake};
use crate::discovery::Primed;
use crate::metrics::Metrics;
use crate::pool::{FIRST_ROUND, Keepers, Pool};
use crate::proxy::{Filters, Generation};
use difference::{Side, difference};
use found::{Discovered, Found, discover, members};

/// What a reload changes.
pub(super) struct Live {
    pub(super) generation: Arc<ArcSwap<Generation>>,
    pub(super) keepers: Keepers,
    pub(super) listeners: Listeners,
    /// The addresses that the admin pages show, their own last.
    pub(super) addresses: Arc<ArcSwap<Vec<String>>>,
    pub(super) stop: Arc<Stop>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) checks: Checks,
}

/// Knows what is loaded, and how to load something else in its place.
pub(super) struct Reloader {
    registry: Registry,
    live: Live,
    config: Config,
    files: Files,
}

/// What stands in the files that a configuration names, of each pool and of each listener.
struct Files {
    pools: Vec<Vec<u8>>,
    listeners: Vec<Vec<u8>>,
}

impl Files {
    fn of(config: &Config) -> Self {
        let ca_file = config.server.ca_file.as_deref();
        Files {
            pools: config.pools.iter().map(|pool| files::of_pool(pool, ca_file)).collect(),
            listeners: config.listeners.iter().map(files::of_listener).collect(),
        }
    }
}

/// A configuration that can be put in place, and what that would do.
pub(super) struct Plan {
    pub(super) receipt: Receipt,
    config: Config,
    files: Files,
    pools: Vec<Planned>,
    filters: Filters,
}

/// A pool to be.
enum Planned {
    /// The pool that it is, and what it has.
    Kept(Arc<Pool>, Vec<Found>),
    /// A new one, in the place of one before it perhaps, of which the number is given.
    New(Discovered, Option<usize>),
}

impl Reloader {
    /// One for a process that serves this generation of this configuration.
    pub(super) fn new(config: Config, registry: Registry, live: Live) -> Self {
        let files = Files::of(&config);
        Reloader { registry, live, config, files }
    }

    /// The configuration that is loaded.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// What serves.
    pub(super) fn generation(&self) -> Arc<Generation> {
        self.live.generation.load_full()
    }

    /// A successor serves. As long as connections may carry a last request, backends are probed on; not for the streams that are
    /// left then, or each upgrade would add a process that probes.
    pub(super) fn rest(&self) {
        let (keepers, last) = (self.live.keepers.clone(), self.config.limits.idle_timeout);
        tokio::spawn(async move {
            tokio::time::sleep(last).await;
            keepers.rest();
        });
    }

    /// Find out what `config` would change, and whether it can be.
    ///
    /// # Errors
    /// Every mistake. Whatever happens, nothing has changed.
    pub(super) async fn plan(&mut self, config: Config) -> Result<Plan, Refusal> {
        let refuse = |mistakes| Refusal::Config(ConfigError::new(config.file.as_deref(), mistakes));
        let mut mistakes = super::surroundings(&config);
        if !mistakes.is_empty() {
            mistakes.extend(self.registry.examine(&config));
            return Err(refuse(mistakes));
        }
        let generation = self.live.generation.load_full();
        let files = Files::of(&config);
        self.live.checks.renew();
        let (pools, filters) = self.try_out(&config, &files.pools, &generation).map_err(refuse)?;
        let mut warnings = Vec::new();
        let pools = self.find(&config, pools, &generation, &mut warnings).await?;
        let found: Vec<Vec<Found>> = pools.iter().map(Planned::found).collect();
        let known: Vec<Vec<Found>> = generation.pools.iter().map(|pool| members(pool)).collect();
        let old = Side { config: &self.config, found: &known, files: &self.files, filters: &generation.filters };
        let new = Side { config: &config, found: &found, files: &files, filters: &filters };
        let receipt = Receipt { generation: generation.number + 1, warnings, ..difference(&old, &new) };
        Ok(Plan { receipt, config, files, pools, filters })
    }

    /// With the mistakes of what the file names, beside its own.
    pub(super) fn explained(&self, e: ConfigError) -> ConfigError {
        e.and(|readable| self.registry.examine(readable))
    }

    /// Put `config` in the place of what is loaded.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub(super) async fn reload(&mut self, config: Config) -> Result<Receipt, Refusal> {
        let plan = self.plan(config).await?;
        if !plan.receipt.needs_upgrade.is_empty() {
            return Err(Refusal::NeedsUpgrade(plan.receipt.needs_upgrade));
        }
        self.put_in_place(plan).await
    }

    /// Pools that are kept, and for each other one a source to ask; every filter. Building is tried out on the way, so that it
    /// does not fail later: what comes of it is thrown away, and knows nothing of what serves.
    fn try_out(
        &mut self,
        config: &Config,
        files: &[Vec<u8>],
        generation: &Generation,
    ) -> Result<(Vec<Tried>, Filters), Vec<Mistake>> {
        let metrics = Metrics::new().map_err(|e| vec![Mistake::new(config::Position::default(), "", e.to_string())])?;
        let mut tools = Tools { registry: &self.registry, metrics: &metrics, checks: &mut self.live.checks };
        let (before, known) = (&self.config, &self.files.pools);
        let mut tried = |(pool, files): (&config::Pool, &Vec<u8>)| {
            let predecessor = before.pools.iter().position(|it| it.name == pool.name);
            if let Some(number) = predecessor
                && before.pools[number] == *pool
                && known[number] == *files
            {
                return Ok(Tried::Kept(Arc::clone(&generation.pools[number])));
            }
            build_pool(pool, source(pool, tools.registry)?, None, &mut tools)?;
            Ok(Tried::New(source(pool, tools.registry)?, predecessor))
        };
        let tried: Vec<_> = config.pools.iter().zip(files).map(&mut tried).collect();
        let mut mistakes = Vec::new();
        let tried = all(tried, &mut mistakes);
        match filters(config, &self.registry, Some(Before { config: before, generation })) {
            Ok(filters) if mistakes.is_empty() => Ok((tried, filters)),
            Ok(_) => Err(mistakes),
            Err(more) => Err([mistakes, more].concat()),
        }
    }

    /// Ask every source. A pool that has backends does not go on without any because a name cannot be resolved just now.
    async fn find(
        &self,
        config: &Config,
        tried: Vec<Tried>,
        generation: &Generation,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Planned>, Refusal> {
        let asked: Vec<_> = tried.into_iter().map(|tried| tried.ask()).collect();
        let mut planned = Vec::new();
        for (pool, asked) in config.pools.iter().zip(asked) {
            planned.push(match asked {
                Asked::Kept(pool) => Planned::Kept(Arc::clone(&pool), members(&pool)),
                Asked::New(asked, predecessor) => {
                    let discovered = asked.await.map_err(|e| Refusal::Failed(format!("pool {}: {e}", pool.name)))?;
                    let had = predecessor.is_some_and(|number| !members(&generation.pools[number]).is_empty());
                    if let Some(why) = &discovered.failed {
                        let message = format!("pool {}: no backend can be found: {why}", pool.name);
                        if had {
                            return Err(Refusal::Failed(message));
                        }
                        warnings.push(message);
                    }
                    Planned::New(discovered, predecessor)
                }
            });
        }
        Ok(planned)
    }

    /// Build what is planned, have it probed, swap, and let go of what was before.
    async fn put_in_place(&mut self, plan: Plan) -> Result<Receipt, Refusal> {
        let Plan { receipt, config, files, pools, filters } = plan;
        let refuse = |mistake| Refusal::Config(ConfigError::new(config.file.as_deref(), vec![mistake]));
        let generation = self.live.generation.load_full();
        let before = Before { config: &self.config, generation: &generation };
        let access_log = access_log(&config, Some(before)).map_err(refuse)?;
        // The last that can fail. A new listener serves by the generation before until the swap.
        self.live.listeners.apply(&config.listeners).map_err(|e| Refusal::Failed(e.to_string()))?;
        let Live { metrics, checks, .. } = &mut self.live;
        let mut tools = Tools { registry: &self.registry, metrics, checks };
        let (mut all, mut new) = (Vec::new(), Vec::new());
        for (pool, planned) in config.pools.iter().zip(pools) {
            let (discovered, predecessor) = match planned {
                Planned::Kept(pool, _) => {
                    all.push(pool);
                    continue;
                }
                Planned::New(discovered, predecessor) => (discovered, predecessor),
            };
            let predecessor = predecessor.map(|number| (&before.config.pools[number], &generation.pools[number]));
            let source = match discovered.failed {
                None => Box::new(Primed::new(discovered.backends, discovered.source)),
                Some(_) => discovered.source,
            };
            let built = Arc::new(build_pool(pool, source, predecessor, &mut tools).map_err(refuse)?);
            all.push(Arc::clone(&built));
            new.push(built);
        }
        let next = Arc::new(assemble(&config, all, filters, access_log, metrics, Some(&generation)));
        self.swap(next, &new).await;
        self.live.stop.set_times(Times::of(&config));
        self.live.show_addresses();
        (self.config, self.files) = (config, files);
        info!("{receipt}");
        Ok(receipt)
    }

    /// Have the new pools probed, put the generation in place, and let go of the pools before.
    async fn swap(&self, next: Arc<Generation>, new: &[Arc<Pool>]) {
        if timeout(FIRST_ROUND, self.live.keepers.keep(new).over()).await.is_err() {
            warn!("going on though not every new backend has been probed within {FIRST_ROUND:?}");
        }
        let before = self.live.generation.swap(Arc::clone(&next));
        self.live.keepers.retain(&next.pools);
        // Whoever changes what a source reads, and reloads, does not expect to wait for its next turn. The new ones have just been asked.
        self.live.keepers.ask_again(new);
        let gone = |pool: &&Arc<Pool>| !next.pools.iter().any(|it| it.name() == pool.name());
        before.pools.iter().filter(gone).for_each(|pool| self.live.metrics.forget(pool.name()));
    }
}

/// A pool that can be built.
enum Tried {
    Kept(Arc<Pool>),
    New(crate::discovery::Source, Option<usize>),
}

enum Asked {
    Kept(Arc<Pool>),
    New(tokio::task::JoinHandle<Discovered>, Option<usize>),
}

impl Tried {
    /// All sources are asked at once.
    fn ask(self) -> Asked {
        match self {
            Tried::Kept(pool) => Asked::Kept(pool),
            Tried::New(source, predecessor) => Asked::New(tokio::spawn(discover(source)), predecessor),
        }
    }
}

impl Planned {
    fn found(&self) -> Vec<Found> {
        match self {
            Planned::Kept(_, found) => found.clone(),
            Planned::New(discovered, _) => discovered.found(),
        }
    }
}

impl Live {
    /// Have the admin pages show what is listened on.
    fn show_addresses(&self) {
        // The admin's own stays.
        let admin = self.addresses.load().last().cloned();
        let listeners = self.listeners.addresses();
        self.addresses.store(Arc::new(listeners.iter().map(ToString::to_string).chain(admin).collect()));
    }
}
