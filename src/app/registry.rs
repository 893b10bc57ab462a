//! What library users register under a name of their own, for the configuration to name.

use std::collections::BTreeMap;
use std::sync::Arc;

use pingora_load_balancing::selection::{BackendIter, BackendSelection};

use crate::backend::Roster;
use crate::config::{Balance, Config, Extension, Mistake, Options, Probe, Registered, Source, options_schema};
use crate::discovery;
use crate::filter::{BUILT_IN, BuiltIn, Filter};
use crate::health::Check;
use crate::metrics::Metrics;
use crate::pool::{Pool, PoolBuilder};

type Make<T> = Box<dyn Fn(&Options) -> Result<T, Mistake> + Send + Sync>;
type MakePool = Box<dyn Fn(PoolBuilder, &Metrics, &Options) -> Result<Pool, Mistake> + Send + Sync>;

/// What is registered, by kind and name.
#[derive(Default)]
pub(super) struct Registry {
    filters: Names<Make<Arc<dyn Filter>>>,
    checks: Names<Make<Check>>,
    sources: Names<Make<discovery::Source>>,
    balances: Names<MakePool>,
}

type Names<T> = BTreeMap<String, Entry<T>>;

struct Entry<T> {
    make: T,
    /// What may stand beside the name, as JSON Schema, if that is known.
    options: Option<serde_json::Value>,
    built_in: bool,
}

impl<T> Entry<T> {
    /// One of a library user's, who has not said yet what may stand beside its name.
    fn of(make: T) -> Self {
        Entry { make, options: None, built_in: false }
    }
}

impl Registry {
    /// With what every program has.
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        for BuiltIn { name, make, keys } in BUILT_IN {
            let options = Some(options_schema(keys));
            registry.filters.insert((*name).to_owned(), Entry { make: Box::new(make), options, built_in: true });
        }
        registry
    }

    /// One of the name that is there already gives way, also if it is built in.
    pub(super) fn add_filter(&mut self, name: &str, make: Make<Arc<dyn Filter>>) {
        self.filters.insert(name.to_owned(), Entry::of(make));
    }

    pub(super) fn add_check(&mut self, name: &str, make: Make<Check>) {
        self.checks.insert(name.to_owned(), Entry::of(make));
    }

    pub(super) fn add_source(&mut self, name: &str, make: Make<discovery::Source>) {
        self.sources.insert(name.to_owned(), Entry::of(make));
    }

    pub(super) fn add_balance<S>(
        &mut self,
        name: &str,
        configure: impl Fn(&Options, &Arc<Roster>) -> Result<S::Config, Mistake> + Send + Sync + 'static,
    ) where
        S: BackendSelection + Send + Sync + 'static,
        S::Iter: BackendIter,
        S::Config: 'static,
    {
        let make = move |builder: PoolBuilder, metrics: &Metrics, options: &Options| {
            builder.build::<S, _>(metrics, |roster| configure(options, roster))
        };
        self.balances.insert(name.to_owned(), Entry::of(Box::new(make)));
    }

    /// Of every kind that has this name from a library user.
    pub(super) fn describe(&mut self, name: &str, options: &serde_json::Value) {
        describe(&mut self.filters, name, options);
        describe(&mut self.checks, name, options);
        describe(&mut self.sources, name, options);
        describe(&mut self.balances, name, options);
    }

    /// Everybody's names, for the schema.
    pub(super) fn registered(&self) -> Vec<Registered> {
        let filters = known("filter", &self.filters);
        let checks = known("health_check", &self.checks);
        filters.chain(checks).chain(known("discovery", &self.sources)).chain(known("balance", &self.balances)).collect()
    }

    /// What is wrong with the extensions that `config` names, made for nothing else. Of an algorithm just its name is known then.
    pub(super) fn examine(&self, config: &Config) -> Vec<Mistake> {
        let listeners = config.listeners.iter().flat_map(|listener| &listener.filters);
        let routes = config.routes.iter().flat_map(|route| &route.filters);
        let filters = config.filters.iter().chain(listeners).chain(routes);
        let mut mistakes: Vec<Mistake> = filters.filter_map(|named| self.filter(named).err()).collect();
        for pool in &config.pools {
            if let Source::Discovery(named) = &pool.source {
                mistakes.extend(self.source(named).err());
            }
            if let Some(Probe::Extension(named)) = pool.health_check.as_ref().map(|check| &check.probe) {
                mistakes.extend(self.check(named).err());
            }
            if let Balance::Extension(named) = &pool.balance {
                mistakes.extend(find(&self.balances, "balance", named).err());
            }
        }
        mistakes
    }

    pub(super) fn filter(&self, named: &Extension) -> Result<Arc<dyn Filter>, Mistake> {
        find(&self.filters, "filter", named)?(&named.options)
    }

    pub(super) fn check(&self, named: &Extension) -> Result<Check, Mistake> {
        find(&self.checks, "health check", named)?(&named.options)
    }

    pub(super) fn source(&self, named: &Extension) -> Result<discovery::Source, Mistake> {
        find(&self.sources, "discovery", named)?(&named.options)
    }

    pub(super) fn pool(&self, builder: PoolBuilder, metrics: &Metrics, named: &Extension) -> Result<Pool, Mistake> {
        find(&self.balances, "balance", named)?(builder, metrics, &named.options)
    }
}

fn describe<T>(names: &mut Names<T>, name: &str, options: &serde_json::Value) {
    if let Some(entry) = names.get_mut(name).filter(|entry| !entry.built_in) {
        entry.options = Some(options.clone());
    }
}

fn known<T>(kind: &'static str, names: &Names<T>) -> impl Iterator<Item = Registered> {
    names.iter().map(move |(name, entry)| Registered { kind, name: name.clone(), options: entry.options.clone() })
}

fn find<'a, T>(registered: &'a Names<T>, kind: &str, named: &Extension) -> Result<&'a T, Mistake> {
    registered.get(&named.name).map(|entry| &entry.make).ok_or_else(|| {
        let near = registered.keys().find(|name| strsim::damerau_levenshtein(name, &named.name) <= 2);
        let known: Vec<&str> = registered.keys().map(String::as_str).collect();
        let help = match (near, &known[..]) {
            (Some(name), _) => format!("did you mean '{name}'?"),
            (None, []) => "this program has none of its own".to_owned(),
            (None, known) => format!("this program has {}", known.join(", ")),
        };
        named.options.mistake(format!("unknown {kind} '{}', {help}", named.name))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{ConfigError, renew_documents};

    fn mistakes(filter: &str) -> Result<Vec<Mistake>, ConfigError> {
        let pools = "pools: { web: { backends: [127.0.0.1:1] } }";
        let text = format!("listeners: [{{ address: ':80' }}]\nfilters: [{filter}]\n{pools}");
        let config = Config::parse(&text, None)?;
        Ok(Registry::new().examine(&config))
    }

    /// The keys that a filter says it has when it is given one that nobody has.
    fn allowed(name: &str) -> BTreeSet<String> {
        let found = mistakes(&format!("{{ {name}: {{ zzzzzzzzzz: 1 }} }}")).unwrap();
        let message = &found[0].message;
        let list = message.strip_prefix("unknown key; allowed here: ").unwrap_or_else(|| panic!("{name}: {message}"));
        list.replace(" or ", ", ").split(", ").map(|word| word.trim_matches('\'').to_owned()).collect()
    }

    #[test]
    fn every_filter_has_the_keys_that_its_schema_has() {
        let mut seen = 0;
        // Built without scripts, it says just that.
        let has_scripts = |name| cfg!(feature = "script") || name != "script";
        for filter in BUILT_IN.iter().filter(|filter| has_scripts(filter.name)) {
            let schema = options_schema(filter.keys);
            assert!(schema.is_object(), "{}: {schema}", filter.name);
            let Some(keys) = schema["properties"].as_object() else { continue };
            assert_eq!(allowed(filter.name), keys.keys().cloned().collect(), "{}", filter.name);
            seen += 1;
        }
        assert!(seen >= 9, "{seen} with keys");
    }

    #[test]
    fn who_takes_the_place_of_a_built_in_filter_has_not_its_schema() {
        struct Mine;
        impl Filter for Mine {}
        let options = |registry: &Registry| {
            registry.registered().into_iter().find(|it| it.name == "buffer").and_then(|it| it.options)
        };
        let mut registry = Registry::new();
        assert!(options(&registry).is_some());
        // What is said of another kind of the same name is not said of it.
        registry.describe("buffer", &serde_json::json!({ "type": "string" }));
        assert!(options(&registry).unwrap()["properties"].is_object());
        registry.add_filter("buffer", Box::new(|_| Ok(Arc::new(Mine))));
        assert_eq!(options(&registry), None);
        registry.describe("buffer", &serde_json::json!({ "type": "string" }));
        assert_eq!(options(&registry), Some(serde_json::json!({ "type": "string" })));
    }

    #[test]
    fn the_tables_in_the_documents_are_those_of_the_schemas() {
        let filters: Vec<_> = BUILT_IN.iter().map(|filter| (filter.name, filter.keys)).collect();
        let tables = renew_documents(&filters);
        assert!(tables > 28, "{tables} tables");
    }
}
