//! The keys of a pool, of which none is forgotten.

use crate::config::{self, Pool};

/// The keys by which two pools of one name differ, but for their backends, which are listed each.
pub(super) fn pool_keys(old: &Pool, new: &Pool) -> Vec<&'static str> {
    // Without `..`: whoever adds a key is reminded to list it.
    let Pool {
        name: _,
        source,
        transport,
        grpc_web,
        balance,
        health_check,
        when_unavailable,
        panic_threshold,
        sticky,
        slow_start,
        max_in_flight,
        max_connections,
        concurrency,
        queue,
        zone,
        overflow,
        ejection,
        retry,
        hedge,
        timeouts,
        deadline_header,
        at: _,
    } = new;
    let config::Transport { protocol, http2, tls, proxy_protocol } = transport;
    let differs = [
        ("protocol", old.transport.protocol != *protocol),
        ("http2", old.transport.http2 != *http2),
        ("tls", old.transport.tls != *tls),
        ("proxy_protocol", old.transport.proxy_protocol != *proxy_protocol),
        ("grpc_web", old.grpc_web != *grpc_web),
        ("balance", old.balance != *balance),
        ("health_check", old.health_check != *health_check),
        ("when_unavailable", old.when_unavailable != *when_unavailable),
        ("panic_threshold", old.panic_threshold != *panic_threshold),
        ("sticky", old.sticky != *sticky),
        ("slow_start", old.slow_start != *slow_start),
        ("max_in_flight", old.max_in_flight != *max_in_flight),
        ("max_connections", old.max_connections != *max_connections),
        ("concurrency", old.concurrency != *concurrency),
        ("queue", old.queue != *queue),
        ("zone", old.zone != *zone),
        ("overflow", old.overflow != *overflow),
        ("ejection", old.ejection != *ejection),
        ("retry", old.retry != *retry),
        ("hedge", old.hedge != *hedge),
        ("timeouts", old.timeouts != *timeouts),
        ("deadline_header", old.deadline_header != *deadline_header),
        (source_key(new), old.source != *source),
    ];
    differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

fn source_key(pool: &Pool) -> &'static str {
    match pool.source {
        config::Source::Backends(_) => "backends",
        config::Source::Discovery(_) => "discovery",
    }
}
