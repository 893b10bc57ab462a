//! Durations and sizes: numbers that mean nothing without their unit.

use std::time::Duration;

use bytesize::ByteSize;

use super::reader::Value;

/// Below this the timers beneath us cannot tell the difference.
const SHORTEST: Duration = Duration::from_millis(1);
/// Longer is a typo, and near the end of time adding it to now would overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Value<'_> {
    /// A duration with its unit, 1 ms to 365 days.
    pub(super) fn duration(&self) -> Option<Duration> {
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
            Ok(duration) if units_are_ours(text) && (SHORTEST..=LONGEST).contains(&duration) => return Some(duration),
            Ok(duration) if units_are_ours(text) && duration.is_zero() => {
                self.wrong(format!("must be more than 0, got {got}"))
            }
            Ok(_) if units_are_ours(text) => self.wrong(format!("must be 1ms to 365d, got {got}")),
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
