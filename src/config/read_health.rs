//! `health_check`: one probe, which may be an extension, beside the keys that say how often and how many.

use std::time::Duration;

use super::map::Map;
use super::read_probe::{grpc, http, tcp};
use super::read_transport::Usual;
use super::reader::Value;
use super::units::written;
use super::{HealthCheck, Initial, Probe};

const THRESHOLD: std::ops::RangeInclusive<u16> = 1..=HealthCheck::MAX_THRESHOLD;

/// Read `health_check` of a pool; `None` is `off`. `usual` is what its probes take over of the pool.
pub(super) fn health_check(pool: &mut Map<'_>, usual: &Usual) -> Option<HealthCheck> {
    let default = HealthCheck { at: pool.at.into(), ..HealthCheck::default() };
    let Some(value) = pool.get("health_check") else {
        return Some(default);
    };
    if value.is_off() {
        return None;
    }
    let Some(mut map) = value.map_or("off or a map of keys") else {
        return Some(default);
    };
    let initials = [("probe", Initial::Probe), ("up", Initial::Up), ("down", Initial::Down)];
    let (interval, unhealthy_interval, timeout) = times(&mut map);
    let check = HealthCheck {
        interval,
        unhealthy_interval,
        timeout,
        rise: map.read("rise", HealthCheck::RISE, |v| v.whole(THRESHOLD)),
        fall: map.read("fall", HealthCheck::FALL, |v| v.whole(THRESHOLD)),
        initial: map.read("initial", Initial::default(), |v| v.word(&initials)),
        probe: probe(&mut map, usual).unwrap_or(Probe::Tcp),
        at: value.at.into(),
    };
    Some(check)
}

/// The intervals and the timeout, which must be below both: probes of one backend would overlap.
fn times(map: &mut Map<'_>) -> (Duration, Duration, Duration) {
    let (interval_at, unhealthy_at, timeout_at) =
        (map.get("interval"), map.get("unhealthy_interval"), map.get("timeout"));
    let read = |value: &Option<Value<'_>>, default| match value {
        Some(value) => value.duration(),
        None => Some(default),
    };
    let (interval, timeout) = (read(&interval_at, HealthCheck::INTERVAL), read(&timeout_at, HealthCheck::TIMEOUT));
    let unhealthy = read(&unhealthy_at, interval.unwrap_or(HealthCheck::INTERVAL));
    let (Some(interval), Some(unhealthy), Some(timeout)) = (interval, unhealthy, timeout) else {
        return (HealthCheck::INTERVAL, HealthCheck::INTERVAL, HealthCheck::TIMEOUT);
    };
    let (i, t) = (written(interval), written(timeout));
    let of = |value: &Option<Value<'_>>| if value.is_some() { "" } else { ", the default" };
    if timeout >= interval {
        match (&timeout_at, &interval_at) {
            (Some(value), _) => value.wrong(format!("must be below interval ({i}{}), got {t}", of(&interval_at))),
            (None, Some(value)) => value.wrong(format!("must be above timeout ({t}, the default), got {i}")),
            (None, None) => {}
        }
    } else if timeout >= unhealthy
        && let Some(value) = &unhealthy_at
    {
        value.wrong(format!("must be above timeout ({t}{}), got {}", of(&timeout_at), written(unhealthy)));
    }
    (interval, unhealthy, timeout)
}

/// The one probe of `health_check`. What is no key of ours is an extension's name, unless it looks like a typo.
fn probe(map: &mut Map<'_>, usual: &Usual) -> Option<Probe> {
    let mut probes: Vec<(Value<'_>, Option<Probe>)> = Vec::new();
    if let Some(value) = map.get("tcp") {
        let probe = tcp(&value);
        probes.push((value, probe));
    }
    if let Some(value) = map.get("http") {
        let probe = http(&value, usual).map(|http| Probe::Http(Box::new(http)));
        probes.push((value, probe));
    }
    if let Some(value) = map.get("grpc") {
        let probe = grpc(&value, usual).map(Probe::Grpc);
        probes.push((value, probe));
    }
    for (entry, value) in map.rest() {
        match map.nearest(&entry.key) {
            Some(known) => map.unknown(entry, format!("unknown key, did you mean '{known}'?")),
            None => {
                let probe = value.as_extension(&entry.key).map(Probe::Extension);
                probes.push((value, probe));
            }
        }
    }
    probes.sort_by_key(|(value, _)| value.at);
    let first = probes.first().map(|(value, _)| (value.key.clone(), value.line()));
    if let Some((first, line)) = first {
        let first = first.rsplit('.').next().unwrap_or_default();
        for (second, _) in probes.iter().skip(1) {
            second.wrong(format!("is a second probe beside '{first}'{line}; a health check has one"));
        }
    }
    probes.into_iter().next()?.1
}
