//! Pingora's own keys: a table, because they are many and alike.
//!
//! Pingora would read them by itself, but it ignores a typo and prints the whole file in an error.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use pingora_core::server::configuration::ServerConf;

use super::Retry;
use super::map::Map;
use super::reader::Value;

/// More threads than any machine of today has cores; beyond it stands a typo.
const MAX_THREADS: u64 = 1024;

/// What a key holds, and where that goes.
enum Kind {
    Boolean(fn(&mut ServerConf, bool)),
    Text(fn(&mut ServerConf, String)),
    /// A whole number from the first to the second.
    Whole(u64, u64, fn(&mut ServerConf, u64)),
    /// Seconds, or `off`.
    SecondsOrOff(fn(&mut ServerConf, Option<u64>)),
    Ipv4s(fn(&mut ServerConf, Vec<String>)),
    Ipv6s(fn(&mut ServerConf, Vec<String>)),
}

const UNSTABLE: &str = "works only in a build with '--cfg tokio_unstable', which this is not; remove it";
const OFFLOAD: &str = "does nothing: handshakes with clients are made by the threads of 'threads'; remove it";
/// A year. Far beyond it, adding it to now overflows.
const MAX_SECONDS: u64 = 365 * 24 * 3600;
/// Pingora multiplies it by the number of threads.
const MAX_KEEPALIVE: u64 = 1 << 20;

const KEYS: &[(&str, Kind)] = &[
    ("threads", Kind::Whole(1, MAX_THREADS, |c, n| c.threads = size(n))),
    ("listener_tasks_per_fd", Kind::Whole(1, MAX_THREADS, |c, n| c.listener_tasks_per_fd = size(n))),
    ("work_stealing", Kind::Boolean(|c, b| c.work_stealing = b)),
    ("daemon", Kind::Boolean(|c, b| c.daemon = b)),
    ("error_log", Kind::Text(|c, s| c.error_log = Some(s))),
    ("pid_file", Kind::Text(|c, s| c.pid_file = s)),
    ("upgrade_sock", Kind::Text(|c, s| c.upgrade_sock = s)),
    ("user", Kind::Text(|c, s| c.user = Some(s))),
    ("group", Kind::Text(|c, s| c.group = Some(s))),
    ("working_directory", Kind::Text(|c, s| c.working_directory = Some(s.into()))),
    ("ca_file", Kind::Text(|c, s| c.ca_file = Some(s))),
    ("grace_period_seconds", Kind::Whole(0, MAX_SECONDS, |c, n| c.grace_period_seconds = Some(n))),
    (
        "graceful_shutdown_timeout_seconds",
        Kind::Whole(0, MAX_SECONDS, |c, n| c.graceful_shutdown_timeout_seconds = Some(n)),
    ),
    ("client_bind_to_ipv4", Kind::Ipv4s(|c, ips| c.client_bind_to_ipv4 = ips)),
    ("client_bind_to_ipv6", Kind::Ipv6s(|c, ips| c.client_bind_to_ipv6 = ips)),
    ("upstream_keepalive_pool_size", Kind::Whole(0, MAX_KEEPALIVE, |c, n| c.upstream_keepalive_pool_size = size(n))),
    (
        "upstream_connect_offload_threadpools",
        Kind::Whole(1, MAX_THREADS, |c, n| c.upstream_connect_offload_threadpools = Some(size(n))),
    ),
    (
        "upstream_connect_offload_thread_per_pool",
        Kind::Whole(1, MAX_THREADS, |c, n| c.upstream_connect_offload_thread_per_pool = Some(size(n))),
    ),
    ("upstream_debug_ssl_keylog", Kind::Boolean(|c, b| c.upstream_debug_ssl_keylog = b)),
    ("max_blocking_threads", Kind::Whole(1, 1 << 16, |c, n| c.max_blocking_threads = Some(size(n)))),
    ("blocking_threads_ttl_seconds", Kind::Whole(0, MAX_SECONDS, |c, n| c.blocking_threads_ttl_seconds = Some(n))),
    (
        "fast_timeout_to_tokio_threshold_seconds",
        Kind::SecondsOrOff(|c, n| c.fast_timeout_to_tokio_threshold_seconds = n),
    ),
    ("daemon_wait_for_ready", Kind::Boolean(|c, b| c.daemon_wait_for_ready = b)),
    (
        "daemon_ready_timeout_seconds",
        Kind::Whole(1, MAX_SECONDS, |c, n| c.daemon_ready_timeout_seconds = NonZeroU64::new(n)),
    ),
    (
        "daemon_notify_timeout_seconds",
        Kind::Whole(1, MAX_SECONDS, |c, n| c.daemon_notify_timeout_seconds = NonZeroU64::new(n)),
    ),
];

/// Keys that Pingora has and that may not be set, and why.
const REFUSED: &[(&str, &str)] = &[
    ("max_retries", "is set for each pool: write pools.NAME.retry.attempts"),
    ("upgrade_sock_connect_accept_max_retries", "does nothing in Pingora 0.9; remove it"),
    ("downstream_tls_offload_threadpools", OFFLOAD),
    ("downstream_tls_offload_thread_per_pool", OFFLOAD),
    ("runtime_enable_alt_timer", UNSTABLE),
    ("runtime_metrics_poll_time_histogram", UNSTABLE),
    ("runtime_metrics_poll_time_histogram_scale", UNSTABLE),
    ("runtime_metrics_poll_time_histogram_resolution_micros", UNSTABLE),
    ("runtime_metrics_poll_time_histogram_buckets", UNSTABLE),
];

/// Pairs of which one does nothing without the other.
const PAIRS: &[(&str, &str)] = &[("upstream_connect_offload_threadpools", "upstream_connect_offload_thread_per_pool")];

/// Read Pingora's keys from the top of the file.
pub(super) fn server(top: &mut Map<'_>) -> Arc<ServerConf> {
    let mut conf = ServerConf {
        version: 1,
        threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        // Ours decides per pool; this bounds whatever a hook of a user's might ask for.
        max_retries: usize::from(Retry::MAX_ATTEMPTS),
        ..ServerConf::default()
    };
    for (name, kind) in KEYS {
        if let Some(value) = top.get(name) {
            set(&mut conf, kind, &value);
        }
    }
    for (name, why) in REFUSED {
        if let Some(value) = top.refuse(name) {
            value.wrong(*why);
        }
    }
    for (one, other) in PAIRS {
        for (here, missing) in [(one, other), (other, one)] {
            if let (Some(value), None) = (top.get(here), top.get(missing)) {
                value.wrong(format!("does nothing without '{missing}'"));
            }
        }
    }
    Arc::new(conf)
}

fn set(conf: &mut ServerConf, kind: &Kind, value: &Value<'_>) {
    match kind {
        Kind::Boolean(put) => value.boolean().into_iter().for_each(|b| put(conf, b)),
        Kind::Text(put) => value.text("a text").into_iter().for_each(|s| put(conf, s.to_owned())),
        Kind::Whole(low, high, put) => value.whole(*low..=*high).into_iter().for_each(|n| put(conf, n)),
        Kind::SecondsOrOff(put) if value.is_off() || value.is_null() => put(conf, None),
        Kind::SecondsOrOff(put) => value.whole(0..=MAX_SECONDS).into_iter().for_each(|n| put(conf, Some(n))),
        Kind::Ipv4s(put) => put(conf, addresses::<Ipv4Addr>(value, "IPv4 addresses", "an IPv4 address")),
        Kind::Ipv6s(put) => put(conf, addresses::<Ipv6Addr>(value, "IPv6 addresses", "an IPv6 address")),
    }
}

/// Pingora keeps these as text and would find out at the first connection.
fn addresses<A: FromStr>(value: &Value<'_>, list: &str, one: &str) -> Vec<String> {
    let mut found = Vec::new();
    for item in value.list_or_empty(list).unwrap_or_default() {
        match item.scalar().filter(|text| text.parse::<A>().is_ok()) {
            Some(text) => found.push(text.to_owned()),
            None => item.must_be(one),
        }
    }
    found
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
