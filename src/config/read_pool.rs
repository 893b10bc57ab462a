//! `pools`: what stands behind the listeners.

use std::collections::HashMap;

use super::map::Map;
use super::read_extension::{is_name, name_rule};
use super::read_health::health_check;
use super::reader::{Value, line};
use super::text::nearest;
use super::{
    Backend, BackendAddress, Balance, Percent, Pool, Position, Retry, Source, Timeouts, WhenUnavailable, address,
};

/// A pool as it came out, beside its name: routes may refer to one that has a mistake inside.
pub(super) type NamedPool = (String, Option<Pool>);

/// Read `pools`.
pub(super) fn pools(top: &mut Map<'_>) -> Vec<NamedPool> {
    let Some(value) = top.need("pools", "pools: { web: { backends: [127.0.0.1:8001] } }") else {
        return Vec::new();
    };
    let Some(entries) = value.entries("a map of pools by their names") else {
        return Vec::new();
    };
    if entries.is_empty() {
        value.wrong("must hold at least one pool");
    }
    let mut found = Vec::new();
    for entry in entries {
        if !is_name(&entry.key) {
            value.sink.push(entry.at, value.child(entry).key, name_rule(&entry.key));
        }
        found.push((entry.key.clone(), pool(&entry.key, entry.at, &value.child(entry))));
    }
    found
}

fn pool(name: &str, at: Position, value: &Value<'_>) -> Option<Pool> {
    let mut map = value.map()?;
    let source = source(&mut map);
    let pool = Pool {
        name: name.to_owned(),
        balance: map.read("balance", Balance::RoundRobin, balance),
        health_check: health_check(&mut map),
        when_unavailable: map.read("when_unavailable", WhenUnavailable::default(), |v| {
            v.word(&[("reject", WhenUnavailable::Reject), ("try_any", WhenUnavailable::TryAny)])
        }),
        panic_threshold: Percent::default(),
        sticky: None,
        slow_start: None,
        max_in_flight: None,
        queue: None,
        zone: None,
        overflow: Percent::default(),
        retry: map.read("retry", Retry::default(), retry),
        timeouts: map.read("timeouts", Timeouts::default(), timeouts),
        source: source.unwrap_or(Source::Backends(Vec::new())),
        at,
    };
    map.done();
    Some(pool)
}

fn source(map: &mut Map<'_>) -> Option<Source> {
    match (map.get("backends"), map.get("discovery")) {
        (Some(list), None) => backends(&list).map(Source::Backends),
        (None, Some(discovery)) => discovery.extension("a source of backends").map(Source::Discovery),
        (None, None) => {
            map.wrong("needs 'backends', like backends: [127.0.0.1:8001], or 'discovery'");
            None
        }
        (Some(_), Some(discovery)) => {
            discovery.wrong("cannot stand beside 'backends': a pool has one source");
            None
        }
    }
}

fn backends(value: &Value<'_>) -> Option<Vec<Backend>> {
    let mut found = Vec::new();
    let mut seen: HashMap<BackendAddress, (usize, Position)> = HashMap::new();
    for (i, item) in value.list("backends")?.into_iter().enumerate() {
        let Some((backend, address)) = backend(&item) else {
            continue;
        };
        match seen.get(&backend.address) {
            Some((first, at)) => address.wrong(format!(
                "{} is backends[{first}]{} already; give it a weight for more traffic",
                backend.address,
                line(*at)
            )),
            None => {
                seen.insert(backend.address.clone(), (i, item.at));
            }
        }
        found.push(backend);
    }
    Some(found)
}

/// One backend, and the value of its address.
fn backend<'a>(value: &Value<'a>) -> Option<(Backend, Value<'a>)> {
    let (written, weight) = if value.scalar().is_some() {
        (value.clone(), 1)
    } else {
        let mut map = value.map_or("an address or a map of keys")?;
        let written = map.need("address", "address: 127.0.0.1:8001");
        let weight = map.read("weight", 1, |v| {
            let drained = v.scalar() == Some("0");
            v.whole_or(1..=Backend::MAX_WEIGHT, if drained { " (to stop traffic to a backend, drain it)" } else { "" })
        });
        map.done();
        (written?, weight)
    };
    let text = written.text("ip:port, host:port or unix:/path")?;
    let address = address::backend(text).map_err(|message| written.wrong(message)).ok()?;
    let at = value.at;
    Some((Backend { address, weight, zone: None, priority: 0, max_in_flight: None, at }, written))
}

const ROUND_ROBIN: &str = "round_robin";

fn balance(value: &Value<'_>) -> Option<Balance> {
    let extension = value.extension("an algorithm")?;
    if extension.name == ROUND_ROBIN {
        if !extension.options.is_empty() {
            value.wrong("round_robin takes no options");
        }
        return Some(Balance::RoundRobin);
    }
    // Any other name may be registered by code; one that is this near is a typo.
    if nearest(&extension.name, [ROUND_ROBIN]).is_some() {
        value.wrong(format!("unknown algorithm '{}', did you mean '{ROUND_ROBIN}'?", extension.name));
    }
    Some(Balance::Extension(extension))
}

fn retry(value: &Value<'_>) -> Option<Retry> {
    let mut map = value.map()?;
    let attempts = map.read("attempts", Retry::ATTEMPTS, |v| {
        let none = v.scalar() == Some("0");
        v.whole_or(1..=Retry::MAX_ATTEMPTS, if none { " (1 is the first attempt alone)" } else { "" })
    });
    map.done();
    Some(Retry { attempts })
}

fn timeouts(value: &Value<'_>) -> Option<Timeouts> {
    let mut map = value.map()?;
    let default = Timeouts::default();
    let timeouts = Timeouts {
        connect: map.read("connect", default.connect, Value::duration),
        read: map.read("read", default.read, Value::duration),
        write: map.read("write", default.write, Value::duration),
        idle: map.read("idle", default.idle, Value::duration),
        request: map.read("request", default.request, Value::duration),
        tunnel: map.read("tunnel", default.tunnel, Value::duration),
    };
    map.done();
    Some(timeouts)
}
