//! `retry` and `hedge` of a pool.

use std::time::Duration;

use super::map::Map;
use super::reader::Value;
use super::units::written;
use super::{Backoff, Budget, Hedge, HedgeAfter, Retry, RetryOn, Timeouts};

/// Read `retry`; `off` is the first attempt alone.
pub(super) fn retry(pool: &mut Map<'_>, timeouts: &Timeouts) -> Retry {
    let default = Retry::default();
    let Some(value) = pool.get("retry") else {
        return default;
    };
    if value.is_off() {
        return Retry { attempts: 1, ..default };
    }
    let Some(mut map) = value.map_or("off or a map of keys") else {
        return default;
    };
    let attempts = map.read("attempts", default.attempts, |v| {
        let none = v.scalar() == Some("0");
        v.whole_or(1..=Retry::MAX_ATTEMPTS, if none { " (1 is the first attempt alone)" } else { "" })
    });
    let per_try_timeout = map.get("per_try_timeout").filter(|v| !v.is_off()).and_then(|v| per_try(&v, timeouts));
    let retry = Retry {
        attempts,
        on: map.read("on", default.on, on),
        non_idempotent: map.read("non_idempotent", default.non_idempotent, Value::boolean),
        per_try_timeout,
        backoff: map.get("backoff").map_or(default.backoff, |v| backoff(&v, timeouts)),
        budget: map.get("budget").map_or(default.budget, |v| budget(&v)),
        max_in_flight: map.get("max_in_flight").filter(|v| !v.is_off()).and_then(|v| v.whole(1..=u32::MAX)),
    };
    map.done();
    retry
}

/// A duration that ends before the request does: later it would never be reached.
fn below_request(value: &Value<'_>, timeouts: &Timeouts) -> Option<Duration> {
    let duration = value.duration()?;
    if duration >= timeouts.request {
        value.wrong(format!("must be below timeouts.request ({}), got {}", written(timeouts.request), value.shown()));
        return None;
    }
    Some(duration)
}

/// How long an attempt may take: less than a pause in it may.
fn per_try(value: &Value<'_>, timeouts: &Timeouts) -> Option<Duration> {
    let duration = below_request(value, timeouts)?;
    if duration > timeouts.read {
        value.wrong(format!("must be at most timeouts.read ({}), got {}", written(timeouts.read), value.shown()));
    }
    Some(duration)
}

fn on(value: &Value<'_>) -> Option<RetryOn> {
    let mut on = RetryOn::NEVER;
    if value.scalar().is_some() && !value.is_off() {
        condition(value, &mut on);
        return Some(on);
    }
    for item in value.list("failures, like [connect, reset, 503]")? {
        condition(&item, &mut on);
    }
    Some(on)
}

fn condition(value: &Value<'_>, on: &mut RetryOn) {
    if let Some((_, status)) = value.scalar().and_then(|text| RetryOn::CALLS.iter().find(|(name, _)| *name == text)) {
        on.calls.push(*status);
        return;
    }
    match value.scalar() {
        Some("connect") => on.connect = true,
        Some("reset") => on.reset = true,
        Some("timeout") => on.timeout = true,
        Some("refused_stream") => on.refused_stream = true,
        text => match text.and_then(|text| text.parse().ok()) {
            Some(status @ 400..=599) => on.statuses.push(status),
            Some(100..400_u16) => {
                value.wrong(format!("must be a status of a failure, 400 to 599, got {}", value.shown()));
            }
            _ => value.must_be(
                "connect, reset, timeout, refused_stream, a status from 400 to 599 or one of gRPC, like unavailable",
            ),
        },
    }
}

fn backoff(value: &Value<'_>, timeouts: &Timeouts) -> Option<Backoff> {
    if value.is_off() {
        return None;
    }
    let default = Backoff::default();
    let Some(mut map) = value.map_or("off or a map of keys") else {
        return Some(default);
    };
    let (base_at, max_at) = (map.get("base"), map.get("max"));
    map.done();
    let base = base_at.as_ref().map_or(Some(default.base), |v| below_request(v, timeouts))?;
    let max = max_at.as_ref().map_or(Some(default.max.max(base)), Value::duration)?;
    if let Some(at) = max_at.filter(|_| max < base) {
        at.wrong(format!("must be at least base ({}), got {}", written(base), at.shown()));
    }
    Some(Backoff { base, max })
}

fn budget(value: &Value<'_>) -> Option<Budget> {
    if value.is_off() {
        return None;
    }
    let default = Budget::default();
    if value.scalar().is_some() {
        return Some(Budget { percent: value.percent(0..=100)?, ..default });
    }
    let Some(mut map) = value.map_or("off, a percentage or a map of keys") else {
        return Some(default);
    };
    let budget = Budget {
        percent: map.read("percent", default.percent, |v| v.percent(0..=100)),
        min_per_second: map.read("min_per_second", default.min_per_second, |v| v.whole(0..=Budget::MAX_PER_SECOND)),
    };
    map.done();
    Some(budget)
}

/// Read `hedge` of a pool that is sticky or not.
pub(super) fn hedge(pool: &mut Map<'_>, sticky: bool, retry: &Retry, timeouts: &Timeouts) -> Option<Hedge> {
    let value = pool.get("hedge").filter(|value| !value.is_off())?;
    if sticky {
        value.wrong("cannot stand beside 'sticky': a second attempt would leave the client's backend");
    }
    let mut map = value.map_or("off or a map of keys")?;
    let after = map.need("after", "after: p95")?;
    map.done();
    let percentile = after.scalar().and_then(|text| text.strip_prefix('p')).and_then(|digits| digits.parse().ok());
    let after = match percentile {
        Some(percentile @ 50..=99) => HedgeAfter::Percentile(percentile),
        Some(_) => {
            after.must_be("a percentile from p50 to p99, or a duration like 50ms");
            return None;
        }
        None => {
            let delay = below_request(&after, timeouts)?;
            if let Some(limit) = retry.per_try_timeout.filter(|limit| delay >= *limit) {
                after.wrong(format!("must be below retry.per_try_timeout ({}), got {}", written(limit), after.shown()));
            }
            HedgeAfter::Delay(delay)
        }
    };
    Some(Hedge { after })
}
