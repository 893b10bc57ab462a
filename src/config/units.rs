//! Durations, sizes and percentages: numbers that mean nothing without their unit.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;

use super::Percent;
use super::reader::Value;

/// Below this the timers beneath us cannot tell the difference.
const SHORTEST: Duration = Duration::from_millis(1);
/// Longer is a typo, and near the end of time adding it to now would overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Value<'_> {
    /// A duration with its unit, 1 ms to 365 days.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.duration_within(SHORTEST, LONGEST)
    }

    /// A duration with its unit, within these bounds.
    pub(super) fn duration_within(&self, shortest: Duration, longest: Duration) -> Option<Duration> {
        let form = "a duration with its unit, like 2s or 250ms";
        let Some(text) = self.scalar() else {
            self.must_be(form);
            return None;
        };
        let got = self.shown();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            self.wrong(format!(
                "must be {form}, got {got} (write {text}s or {text}ms)",
                text = super::text::short(text)
            ));
            return None;
        }
        match humantime::parse_duration(text) {
            Ok(duration) if units_are_ours(text) && (shortest..=longest).contains(&duration) => return Some(duration),
            Ok(duration) if units_are_ours(text) && duration.is_zero() => {
                self.wrong(format!("must be more than 0, got {got}"))
            }
            Ok(_) if units_are_ours(text) => {
                self.wrong(format!("must be {} to {}, got {got}", bound(shortest), bound(longest)));
            }
            _ => self.wrong(format!("must be {form}, got {got} (units: ms, s, m, h, d)")),
        }
        None
    }

    /// A size in bytes, more than none.
    pub(super) fn size(&self) -> Option<u64> {
        match self.scalar().map(str::parse::<ByteSize>) {
            Some(Ok(ByteSize(bytes))) if bytes > 0 => return Some(bytes),
            Some(Ok(_)) => self.wrong(format!("must be more than 0, got {}", self.shown())),
            _ => self.must_be("a size with its unit, like 64KiB or 1GiB"),
        }
        None
    }

    /// A whole percentage within `range`.
    pub(super) fn percent(&self, range: RangeInclusive<u16>) -> Option<Percent> {
        let text = self.scalar().unwrap_or_default();
        let (low, high) = (Percent(*range.start()), Percent(*range.end()));
        let (got, form) = (self.shown(), format!("a whole percentage, {low} to {high}"));
        let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|digits| digits.parse().ok()).filter(|n| range.contains(n)) {
            Some(number) => return Some(Percent(number)),
            None if digits.is_some_and(|digits| !digits.is_empty()) => {
                self.wrong(format!("must be {low} to {high}, got {got}"))
            }
            None => match meant(text).filter(|n| range.contains(&n.0)) {
                Some(percent) => self.wrong(format!("must be {form}, got {got} (write {percent})")),
                None => self.wrong(format!("must be {form}, got {got}")),
            },
        }
        None
    }

    /// A whole percentage up to 100%, or `off` for none.
    pub(super) fn percent_or_off(&self) -> Option<Percent> {
        if self.is_off() { Some(Percent(0)) } else { self.percent(0..=100) }
    }
}

/// A duration as the file would have it, from somewhere else.
///
/// # Errors
/// What it must be.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).ok().filter(|_| units_are_ours(text));
    let valid = parsed.filter(|duration| (SHORTEST..=LONGEST).contains(duration));
    valid.ok_or_else(|| format!("must be 1ms to 365d with its unit, like 60s, got {}", super::text::quoted(text)))
}

/// The percentage that a number without its sign was meant for: `70`, `70 %` or `0.7`.
fn meant(text: &str) -> Option<Percent> {
    let whole = text.trim_end_matches(['%', ' ']).parse().ok();
    let part = || {
        let percent = (text.parse::<f64>().ok()? * 100.0).round();
        (0.0..=f64::from(u16::MAX)).contains(&percent).then_some(percent as u16)
    };
    whole.or_else(part).map(Percent)
}

/// A bound as a message says it: in days where those are whole.
fn bound(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds > 0 && seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        _ => written(duration),
    }
}

/// A duration as the file would write it.
pub(super) fn written(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// `M` would be a month and `y` a year to the parser, and nobody who writes `5M` means months.
fn units_are_ours(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    words.into_iter().all(|word| matches!(word, "ms" | "s" | "m" | "h" | "d"))
}
