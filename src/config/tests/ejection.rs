//! `ejection` of a pool.

use std::time::Duration;

use super::{parsed, refuses, with};
use crate::config::Ejection;

fn read(ejection: &str) -> Option<Ejection> {
    parsed(&with(&format!("    ejection: {ejection}\n"))).pools.swap_remove(0).ejection
}

#[test]
fn what_is_left_out_is_the_default() {
    assert_eq!(read("{}"), Some(Ejection::default()));
    assert_eq!(read("off"), None);
    assert_eq!(read("{ latency: true, max_percent: 50 }"), Some(Ejection::default()));
    let connects = Ejection { consecutive_connect_failures: Some(1), ..Ejection::default() };
    assert_eq!(read("{ consecutive_connect_failures: 1 }"), Some(connects));
}

#[test]
fn every_key_counts() {
    let whole = "{ consecutive_failures: 1000, consecutive_connect_failures: off, success_rate: off, latency: false, \
                 base_time: 250ms, max_time: 250ms, max_percent: 100, window: 1m }";
    let expected = Ejection {
        consecutive_failures: Some(1000),
        consecutive_connect_failures: None,
        success_rate: false,
        latency: false,
        base_time: Duration::from_millis(250),
        max_time: Duration::from_millis(250),
        max_percent: 100,
        window: Duration::from_secs(60),
    };
    assert_eq!(read(whole), Some(expected));
}

#[test]
fn a_long_first_ejection_is_the_longest() {
    let times = |text| read(text).map(|ejection| (ejection.base_time.as_secs(), ejection.max_time.as_secs()));
    assert_eq!(times("{ base_time: 10m }"), Some((600, 600)));
    assert_eq!(times("{ max_time: 10s }"), Some((10, 10)));
}

#[test]
fn wrong_values_are_mistakes() {
    refuses(
        &with(
            "    ejection:\n      consecutive_failures: 0\n      consecutive_connect_failures: 1001\n      success_rate: 3\n      \
             latency: [on]\n      base_time: 30\n      max_percent: 50%\n      window: 5ms\n      interval: 1s\n",
        ),
        &[
            "6:29: pools.web.ejection.consecutive_failures: must be 1 to 1000, got 0 (write off for never)",
            "7:37: pools.web.ejection.consecutive_connect_failures: must be 1 to 1000, got 1001",
            "8:21: pools.web.ejection.success_rate: must be on, off, true or false, got 3",
            "9:7: pools.web.ejection.latency: must be on, off, true or false, got a list",
            "10:18: pools.web.ejection.base_time: must be a duration with its unit, like 2s or 250ms, got 30 (write 30s or 30ms)",
            "11:20: pools.web.ejection.max_percent: must be a whole number, 1 to 100, got '50%' (without the sign)",
            "12:15: pools.web.ejection.window: must be 10ms to 1m, got '5ms'",
            "13:7: pools.web.ejection.interval: unknown key; allowed here: consecutive_failures, consecutive_connect_failures, success_rate, latency, base_time, max_time, max_percent or window",
        ],
    );
}

#[test]
fn the_longest_ejection_is_not_shorter_than_the_first() {
    refuses(
        &with("    ejection: { max_time: 9s }\n"),
        &["5:27: pools.web.ejection.max_time: must be base_time (10s) or more, got '9s'"],
    );
    refuses(
        &with("    ejection: { base_time: 2m, max_time: 1m }\n"),
        &["5:42: pools.web.ejection.max_time: must be base_time (2m) or more, got '1m'"],
    );
    refuses(&with("    ejection: yes\n"), &["5:15: pools.web.ejection: must be off or a map of keys, got 'yes'"]);
}
