//! The filters that a configuration names, made of what is registered. One that stood in the same place before goes on, with
//! whatever it remembers.

use std::collections::HashMap;
use std::sync::Arc;

use super::build::{Before, all};
use super::files;
use super::registry::Registry;
use crate::config::{Config, Extension, ListenAddress, Listener, Match, Mistake, Route};
use crate::filter::Filter;
use crate::proxy::{Filters, Made};

/// A filter, and what it was made from.
type Known<'a> = (&'a Extension, &'a Made);

/// What was there before, by its place.
#[derive(Default)]
struct Places<'a> {
    whole: Vec<Known<'a>>,
    listeners: Vec<(&'a ListenAddress, Vec<Known<'a>>)>,
    routes: HashMap<&'a Match, Vec<Known<'a>>>,
}

impl<'a> Places<'a> {
    fn of(before: Before<'a>) -> Self {
        let Before { config, generation } = before;
        let filters = &generation.filters;
        let listeners = config.listeners.iter().zip(&filters.listeners);
        let mut places = Places {
            whole: config.filters.iter().zip(&filters.whole).collect(),
            listeners: listeners.map(|(one, made)| (&one.address, one.filters.iter().zip(made).collect())).collect(),
            routes: HashMap::new(),
        };
        for (route, made) in config.routes.iter().zip(&filters.routes) {
            places.routes.entry(&route.matches).or_default().extend(route.filters.iter().zip(made));
        }
        places
    }

    fn of_listener(&self, listener: &Listener) -> &[Known<'a>] {
        let found = self.listeners.iter().find(|(address, _)| **address == listener.address);
        found.map_or(&[], |(_, known)| known)
    }

    fn of_route(&self, route: &Route) -> &[Known<'a>] {
        self.routes.get(&route.matches).map_or(&[], Vec::as_slice)
    }
}

/// Make the filters of `config`.
///
/// # Errors
/// Every name that nobody registered, and every option that its owner refuses.
pub(super) fn filters(
    config: &Config,
    registry: &Registry,
    before: Option<Before<'_>>,
) -> Result<Filters, Vec<Mistake>> {
    let places = before.map(Places::of).unwrap_or_default();
    let mut mistakes = Vec::new();
    let mut made = |named: &[Extension], known: &[Known<'_>]| {
        let make = |named: &Extension| match known.iter().find(|(it, made)| *it == named && is_fresh(made)) {
            Some((_, made)) => Ok((*made).clone()),
            None => registry.filter(named).map(|filter| Made { files: digest(&filter), filter }),
        };
        all(named.iter().map(make).collect(), &mut mistakes)
    };
    let filters = Filters {
        whole: made(&config.filters, &places.whole),
        listeners: config.listeners.iter().map(|one| made(&one.filters, places.of_listener(one))).collect(),
        routes: config.routes.iter().map(|route| made(&route.filters, places.of_route(route))).collect(),
    };
    if mistakes.is_empty() { Ok(filters) } else { Err(mistakes) }
}

fn digest(filter: &Arc<dyn Filter>) -> Vec<u8> {
    files::digest(filter.files().into_iter())
}

/// Whether its files say what they said when it was made.
fn is_fresh(made: &Made) -> bool {
    made.files == digest(&made.filter)
}
