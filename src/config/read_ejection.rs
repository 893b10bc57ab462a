//! `ejection` of a pool: who is taken out because of what live traffic showed.

use std::time::Duration;

use humantime::format_duration;

use super::Ejection;
use super::map::Map;
use super::reader::Value;

/// Read `ejection`.
pub(super) fn ejection(pool: &mut Map<'_>) -> Option<Ejection> {
    let default = Ejection::default();
    let Some(value) = pool.get("ejection") else {
        return Some(default);
    };
    if value.is_off() {
        return None;
    }
    let mut map = value.map_or("off or a map of keys")?;
    let connects = default.consecutive_connect_failures;
    let mut ejection = Ejection {
        consecutive_failures: map.read("consecutive_failures", default.consecutive_failures, in_a_row),
        consecutive_connect_failures: map.read("consecutive_connect_failures", connects, in_a_row),
        success_rate: map.read("success_rate", default.success_rate, on_or_off),
        latency: map.read("latency", default.latency, on_or_off),
        ..default
    };
    (ejection.base_time, ejection.max_time) = times(&mut map, &ejection);
    ejection.max_percent = map.read("max_percent", ejection.max_percent, max_percent);
    ejection.window = map.read("window", ejection.window, window);
    map.done();
    Some(ejection)
}

fn in_a_row(value: &Value<'_>) -> Option<Option<u16>> {
    if value.is_off() {
        return Some(None);
    }
    let none = value.scalar() == Some("0");
    value.whole_or(1..=1000, if none { " (write off for never)" } else { "" }).map(Some)
}

fn on_or_off(value: &Value<'_>) -> Option<bool> {
    value.word(&[("on", true), ("off", false), ("true", true), ("false", false)])
}

fn max_percent(value: &Value<'_>) -> Option<u8> {
    let bare =
        value.scalar().and_then(|text| text.strip_suffix('%')).is_some_and(|digits| digits.parse::<u8>().is_ok());
    value.whole_or(1..=100, if bare { " (without the sign)" } else { "" })
}

/// The first ejection and the longest, which cannot be shorter.
fn times(map: &mut Map<'_>, default: &Ejection) -> (Duration, Duration) {
    let base = map.get("base_time").and_then(|v| v.duration());
    let written = map.get("max_time");
    let base_time = base.unwrap_or(default.base_time);
    let max_time = written.as_ref().and_then(Value::duration);
    if let (Some(value), Some(max_time)) = (&written, max_time)
        && max_time < base_time
    {
        value.wrong(format!("must be base_time ({}) or more, got {}", format_duration(base_time), value.shown()));
    }
    // Who asks for a longer first ejection than the longest there is by default means it.
    (base_time, max_time.unwrap_or(default.max_time).max(base_time))
}

fn window(value: &Value<'_>) -> Option<Duration> {
    let (shortest, longest) = Ejection::WINDOWS;
    let window = value.duration()?;
    if !(shortest..=longest).contains(&window) {
        value.must_be(format_args!("{} to {}", format_duration(shortest), format_duration(longest)));
        return None;
    }
    Some(window)
}
