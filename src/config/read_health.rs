//! `health_check`: one probe, which may be an extension, beside the keys that say how often and how many.

use std::time::Duration;

use super::map::Map;
use super::reader::Value;
use super::units::written;
use super::{HealthCheck, HttpProbe, Initial, Probe, Regex, address};

const THRESHOLD: std::ops::RangeInclusive<u16> = 1..=HealthCheck::MAX_THRESHOLD;

/// Read `health_check` of a pool; `None` is `off`.
pub(super) fn health_check(pool: &mut Map<'_>) -> Option<HealthCheck> {
    let default = HealthCheck { at: pool.at, ..HealthCheck::default() };
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
    let (interval, timeout) = times(&mut map);
    let check = HealthCheck {
        interval,
        timeout,
        rise: map.read("rise", HealthCheck::RISE, |v| v.whole(THRESHOLD)),
        fall: map.read("fall", HealthCheck::FALL, |v| v.whole(THRESHOLD)),
        initial: map.read("initial", Initial::default(), |v| v.word(&initials)),
        probe: probe(&mut map).unwrap_or(Probe::Tcp),
        at: value.at,
    };
    Some(check)
}

/// The interval and the timeout, which must be below it: probes of one backend would overlap.
fn times(map: &mut Map<'_>) -> (Duration, Duration) {
    let (interval_at, timeout_at) = (map.get("interval"), map.get("timeout"));
    let read = |value: &Option<Value<'_>>, default| match value {
        Some(value) => value.duration(),
        None => Some(default),
    };
    let (interval, timeout) = (read(&interval_at, HealthCheck::INTERVAL), read(&timeout_at, HealthCheck::TIMEOUT));
    let (Some(interval), Some(timeout)) = (interval, timeout) else {
        return (HealthCheck::INTERVAL, HealthCheck::TIMEOUT);
    };
    if timeout >= interval {
        let (i, t) = (written(interval), written(timeout));
        let of = |value: &Option<Value<'_>>| if value.is_some() { "" } else { ", the default" };
        match (&timeout_at, &interval_at) {
            (Some(value), _) => value.wrong(format!("must be below interval ({i}{}), got {t}", of(&interval_at))),
            (None, Some(value)) => value.wrong(format!("must be above timeout ({t}, the default), got {i}")),
            (None, None) => {}
        }
    }
    (interval, timeout)
}

/// The one probe of `health_check`. What is no key of ours is an extension's name, unless it looks like a typo.
fn probe(map: &mut Map<'_>) -> Option<Probe> {
    let mut probes: Vec<(Value<'_>, Option<Probe>)> = Vec::new();
    if let Some(value) = map.get("tcp") {
        let probe = tcp(&value);
        probes.push((value, probe));
    }
    if let Some(value) = map.get("http") {
        let probe = http(&value).map(Probe::Http);
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

fn tcp(value: &Value<'_>) -> Option<Probe> {
    if !value.is_null() {
        value.map_or("{}, it has no options")?.done_with(": tcp has no options");
    }
    Some(Probe::Tcp)
}

fn http(value: &Value<'_>) -> Option<HttpProbe> {
    let default = HttpProbe::default();
    if value.is_null() {
        return Some(default);
    }
    let mut map = value.map()?;
    let probe = HttpProbe {
        path: map.read("path", default.path, target),
        expect: map.read("expect", default.expect, expect),
        host: map.get("host").and_then(|v| host(&v)),
        port: map.get("port").and_then(|v| v.whole(1..=u16::MAX)),
        body: map.get("body").and_then(|v| regex(&v)),
    };
    map.done();
    Some(probe)
}

/// What follows the method in the request line: anything visible.
fn target(value: &Value<'_>) -> Option<String> {
    let form = "a path that starts with '/', without spaces";
    let text = value.text(form)?;
    if !text.starts_with('/') || !text.bytes().all(|b| b.is_ascii_graphic()) {
        value.must_be(form);
        return None;
    }
    Some(text.to_owned())
}

/// One status or range, or a list of them.
fn expect(value: &Value<'_>) -> Option<Vec<(u16, u16)>> {
    if value.scalar().is_some() {
        return Some(vec![range(value)?]);
    }
    value.list("statuses")?.iter().map(range).collect()
}

fn range(value: &Value<'_>) -> Option<(u16, u16)> {
    let text = value.scalar().unwrap_or_default();
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.trim().parse(), high.trim().parse()) {
        (Ok(low), Ok(high)) if 100 <= low && low <= high && high <= 599 => Some((low, high)),
        _ => {
            value.must_be("a status from 100 to 599, like 200, or a range of them, like 200-299");
            None
        }
    }
}

/// A host name, with a port or without, as a `Host` header has it.
fn host(value: &Value<'_>) -> Option<String> {
    let form = "a host name, as a Host header has it";
    let text = value.text(form)?;
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => text,
    };
    if address::name(name).is_err() && name.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_err() {
        value.must_be(form);
        return None;
    }
    Some(text.to_owned())
}

fn regex(value: &Value<'_>) -> Option<Regex> {
    let text = value.text("a regular expression")?;
    match Regex::new(text) {
        Ok(regex) => Some(regex),
        Err(e) => {
            // The parser draws the place of the error over several lines; the last one says what it is.
            let e = e.to_string();
            let reason = e.lines().last().unwrap_or_default().trim_start_matches("error: ");
            value.wrong(format!("is not a regular expression: {reason}, in {}", value.shown()));
            None
        }
    }
}
