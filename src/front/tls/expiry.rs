//! How long certificates are still good.

use std::time::{SystemTime, UNIX_EPOCH};

use super::load::Pair;

/// So many days before its end people are told. Most are renewed 30 days before, and have failed to be by then.
const WARN_DAYS: i64 = 21;

const DAY: i64 = 24 * 3600;

pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// What is to be said of a certificate at this moment, if anything.
pub(super) fn warning(pair: &Pair, now: i64) -> Option<String> {
    said(pair.from, pair.to, now).map(|what| format!("the certificate {} {what}", pair.path))
}

fn said(from: i64, to: i64, now: i64) -> Option<String> {
    let left = to.saturating_sub(now);
    match left {
        _ if now < from => Some(format!("is not good yet: it will be from {}", date(from))),
        i64::MIN..0 => Some(format!("has expired on {}: clients refuse it", date(to))),
        _ if left < WARN_DAYS * DAY => Some(match left / DAY {
            0 => format!("expires within a day, on {}", date(to)),
            1 => format!("expires in 1 day, on {}", date(to)),
            days => format!("expires in {days} days, on {}", date(to)),
        }),
        _ => None,
    }
}

fn date(unix: i64) -> String {
    chrono::DateTime::from_timestamp(unix, 0).map_or_else(|| unix.to_string(), |at| at.format("%F %R UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_weeks_before_the_end_it_is_said() {
        let (from, to) = (1_700_000_000, 1_700_000_000 + 90 * DAY);
        let said = |at| said(from, to, at);
        assert_eq!(said(from), None);
        assert_eq!(said(to - 21 * DAY), None);
        assert_eq!(said(to - 21 * DAY + 1).unwrap(), "expires in 20 days, on 2024-02-12 22:13 UTC");
        assert_eq!(said(to - 60).unwrap(), "expires within a day, on 2024-02-12 22:13 UTC");
        assert_eq!(said(to + 1).unwrap(), "has expired on 2024-02-12 22:13 UTC: clients refuse it");
        assert_eq!(said(from - 1).unwrap(), "is not good yet: it will be from 2023-11-14 22:13 UTC");
    }
}
