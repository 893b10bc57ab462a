//! What differs between two configurations and what is found of them: pure, and therefore the same for `plan`, which says it in
//! advance, and for `reload`, which does it.

use std::collections::HashMap;

use super::Files;
use super::found::Found;
use super::keys::pool_keys;
use super::route_keys::route_keys;
use crate::admin::{Change, Receipt};
use crate::config::{Config, Listener, Match};
use crate::proxy::Filters;

/// A configuration, and what is found of it.
pub(super) struct Side<'a> {
    pub(super) config: &'a Config,
    /// The backends of each pool, in the order of the pools.
    pub(super) found: &'a [Vec<Found>],
    pub(super) files: &'a Files,
    pub(super) filters: &'a Filters,
}

impl Side<'_> {
    fn pools(&self) -> HashMap<&str, usize> {
        self.config.pools.iter().enumerate().map(|(number, pool)| (pool.name.as_str(), number)).collect()
    }
}

/// What leads from one to the other, all but the number of the generation.
pub(super) fn difference(old: &Side<'_>, new: &Side<'_>) -> Receipt {
    let mut receipt = Receipt::default();
    pools(old, new, &mut receipt);
    listeners(old, new, &mut receipt);
    routes(old, new, &mut receipt);
    let (before, after) = (old.config, new.config);
    let rest = [
        ("stop_delay", before.stop_delay != after.stop_delay),
        ("upgrade_timeout", before.upgrade_timeout != after.upgrade_timeout),
        ("watch", before.watch != after.watch),
        ("filters", old.filters.whole != new.filters.whole),
        ("limits", before.limits != after.limits),
        ("trusted_proxies", before.trusted_proxies != after.trusted_proxies),
        ("forwarded_headers", before.forwarded_headers != after.forwarded_headers),
        ("normalize_path", before.normalize_path != after.normalize_path),
        ("access_log", before.access_log != after.access_log),
    ];
    for (what, _) in rest.into_iter().filter(|(_, differs)| *differs) {
        receipt.note(what, Change::Changed, Vec::new());
    }
    process(before, after, &mut receipt);
    receipt
}

fn pools(old: &Side<'_>, new: &Side<'_>, receipt: &mut Receipt) {
    let (before, after) = (old.pools(), new.pools());
    for (number, pool) in new.config.pools.iter().enumerate() {
        let known = before.get(pool.name.as_str()).copied();
        let keys = known.map(|known| {
            let mut keys = pool_keys(&old.config.pools[known], pool);
            if keys.is_empty() && old.files.pools[known] != new.files.pools[number] {
                keys.push("files");
            }
            keys
        });
        let change = match &keys {
            None => Some(Change::Added),
            Some(keys) if keys.is_empty() => None,
            Some(_) => Some(Change::Changed),
        };
        receipt.pools.count(change);
        if let Some(change) = change {
            receipt.note(format!("pool {}", pool.name), change, owned(&keys.unwrap_or_default()));
        }
        let was = known.map_or(&[][..], |known| &old.found[known]);
        backends(&pool.name, was, &new.found[number], receipt);
    }
    for (number, pool) in old.config.pools.iter().enumerate() {
        if !after.contains_key(pool.name.as_str()) {
            receipt.pools.count(Some(Change::Removed));
            receipt.note(format!("pool {}", pool.name), Change::Removed, Vec::new());
            backends(&pool.name, &old.found[number], &[], receipt);
        }
    }
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn backends(pool: &str, old: &[Found], new: &[Found], receipt: &mut Receipt) {
    let before: HashMap<&str, &Found> = old.iter().map(|found| (found.address.as_str(), found)).collect();
    for found in new {
        let (change, keys) = match before.get(found.address.as_str()) {
            None => (Some(Change::Added), Vec::new()),
            Some(was) if *was == found => (None, Vec::new()),
            Some(was) => (Some(Change::Changed), backend_keys(was, found)),
        };
        receipt.backends.count(change);
        if let Some(change) = change {
            receipt.note(format!("backend {pool}/{}", found.address), change, keys);
        }
    }
    let after: HashMap<&str, ()> = new.iter().map(|found| (found.address.as_str(), ())).collect();
    for gone in old.iter().filter(|found| !after.contains_key(found.address.as_str())) {
        receipt.backends.count(Some(Change::Draining));
        receipt.note(format!("backend {pool}/{}", gone.address), Change::Draining, Vec::new());
    }
}

fn backend_keys(old: &Found, new: &Found) -> Vec<String> {
    let (before, after) = (&old.attributes, &new.attributes);
    let differs = [
        ("weight", old.weight != new.weight),
        ("name", before.name != after.name),
        ("zone", before.zone != after.zone),
        ("priority", before.priority != after.priority),
        ("max_in_flight", before.max_in_flight != after.max_in_flight),
    ];
    differs.iter().filter(|(_, differs)| *differs).map(|(key, _)| (*key).to_owned()).collect()
}

fn listeners(old: &Side<'_>, new: &Side<'_>, receipt: &mut Receipt) {
    let find = |side: &Side<'_>, listener: &Listener| {
        side.config.listeners.iter().position(|other| other.address == listener.address)
    };
    for (number, listener) in new.config.listeners.iter().enumerate() {
        let (change, keys) = match find(old, listener) {
            None => (Some(Change::Added), Vec::new()),
            Some(known) => {
                let keys = listener_keys((old, known), (new, number));
                ((!keys.is_empty()).then_some(Change::Changed), keys)
            }
        };
        receipt.listeners.count(change);
        if let Some(change) = change {
            receipt.note(format!("listener {}", listener.address), change, owned(&keys));
        }
    }
    for listener in old.config.listeners.iter().filter(|listener| find(new, listener).is_none()) {
        receipt.listeners.count(Some(Change::Removed));
        receipt.note(format!("listener {}", listener.address), Change::Removed, Vec::new());
    }
}

fn listener_keys((old, before): (&Side<'_>, usize), (new, after): (&Side<'_>, usize)) -> Vec<&'static str> {
    let (was, is) = (&old.config.listeners[before], &new.config.listeners[after]);
    let differs = [
        ("tls", was.tls != is.tls || old.files.listeners[before] != new.files.listeners[after]),
        ("h2c", was.h2c != is.h2c),
        ("proxy_protocol", was.proxy_protocol != is.proxy_protocol),
        ("filters", old.filters.listeners[before] != new.filters.listeners[after]),
        ("redirect_to_https", was.redirect_to_https != is.redirect_to_https),
    ];
    differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

/// A route is the one that matches the same; two that do are in the order of the file.
fn routes(old: &Side<'_>, new: &Side<'_>, receipt: &mut Receipt) {
    let mut before: HashMap<&Match, Vec<usize>> = HashMap::new();
    for (number, route) in old.config.routes.iter().enumerate().rev() {
        before.entry(&route.matches).or_default().push(number);
    }
    for (number, route) in new.config.routes.iter().enumerate() {
        let known = before.get_mut(&route.matches).and_then(Vec::pop);
        let keys = known.map(|known| route_keys((old, known), (new, number)));
        let change = match &keys {
            None => Some(Change::Added),
            Some(keys) if keys.is_empty() => None,
            Some(_) => Some(Change::Changed),
        };
        receipt.routes.count(change);
        if let Some(change) = change {
            receipt.note(format!("route {}", route.matches), change, owned(&keys.unwrap_or_default()));
        }
    }
    let mut gone: Vec<usize> = before.into_values().flatten().collect();
    gone.sort_unstable();
    for route in gone.into_iter().map(|number| &old.config.routes[number]) {
        receipt.routes.count(Some(Change::Removed));
        receipt.note(format!("route {}", route.matches), Change::Removed, Vec::new());
    }
}

/// Those of pingora's keys that we read ourselves, whenever they are needed.
const LIVE: [&str; 2] = ["grace_period_seconds", "graceful_shutdown_timeout_seconds"];

/// What belongs to the process as such.
fn process(old: &Config, new: &Config, receipt: &mut Receipt) {
    let keys =
        |config: &Config| serde_json::to_value(&*config.server).ok().and_then(|value| value.as_object().cloned());
    let (before, after) = (keys(old).unwrap_or_default(), keys(new).unwrap_or_default());
    let mut differ: Vec<String> =
        after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(key, _)| key.clone()).collect();
    if old.admin != new.admin {
        differ.push("admin".to_owned());
    }
    for key in differ {
        receipt.note(key.clone(), Change::Changed, Vec::new());
        if !LIVE.contains(&key.as_str()) {
            receipt.needs_upgrade.push(key);
        }
    }
}
