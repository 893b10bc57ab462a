//! `pools`: what stands behind the listeners.

use super::map::Map;
use super::name::{is_name, name_rule};
use super::read_backend::backends;
use super::read_balance::balance;
use super::read_ejection::ejection;
use super::read_health::health_check;
use super::read_policy::{concurrency, limit, queue, sticky, zone};
use super::read_retry::{hedge, retry};
use super::read_timeouts::{header, pool_timeouts};
use super::read_transport::{Usual, grpc_web, transport};
use super::reader::Value;
use super::{Backend, Balance, Percent, Pool, Position, Source, Timeouts, WhenUnavailable};

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
    let before = value.sink.count();
    let source = source(&mut map);
    // What is asked of the backends can be said to be missing only if all of them could be read.
    let backends: Option<&[Backend]> = match &source {
        Some(Source::Backends(backends)) if value.sink.count() == before => Some(backends),
        _ => None,
    };
    let transport = transport(&mut map, backends);
    let usual = Usual::of(&transport, backends);
    let max_in_flight = limit(&mut map, "max_in_flight");
    let limited = max_in_flight.is_some() || backends.is_none_or(|all| all.iter().any(|b| b.max_in_flight.is_some()));
    let timeouts = map.read("timeouts", Timeouts::default(), pool_timeouts);
    let deadline_header = map.get("deadline_header").filter(|v| !v.is_off()).and_then(|v| header(&v));
    let (retry, sticky) = (retry(&mut map, &timeouts), sticky(&mut map));
    let pool = Pool {
        name: name.to_owned(),
        balance: map.read("balance", Balance::default(), balance),
        grpc_web: grpc_web(&mut map, &transport),
        health_check: health_check(&mut map, &usual),
        when_unavailable: map.read("when_unavailable", WhenUnavailable::default(), |v| {
            v.word(&[("reject", WhenUnavailable::Reject), ("try_any", WhenUnavailable::TryAny)])
        }),
        panic_threshold: map.read("panic_threshold", Percent::default(), Value::percent_or_off),
        slow_start: map.get("slow_start").filter(|v| !v.is_off()).and_then(|v| v.duration()),
        max_in_flight,
        max_connections: limit(&mut map, "max_connections"),
        concurrency: concurrency(&mut map),
        queue: queue(&mut map, limited),
        zone: zone(&mut map, backends),
        overflow: map.read("overflow", Percent::default(), Value::percent_or_off),
        ejection: ejection(&mut map),
        hedge: hedge(&mut map, sticky.is_some(), &retry, &timeouts),
        transport,
        sticky,
        retry,
        timeouts,
        deadline_header,
        source: source.unwrap_or(Source::Backends(Vec::new())),
        at: at.into(),
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
