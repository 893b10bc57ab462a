//! `conf/full.yaml` says what is true: every key is in it, and every default.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use pingora_core::server::configuration::ServerConf;

use super::super::node::{Kind, Node};
use super::super::read_balance::BUILT_IN;
use super::super::reader::Sink;
use super::super::{
    Admin, Backend, Balance, Config, Ejection, ForwardedHeaders, GrpcProbe, HealthCheck, Http2, LeastTime, Limits,
    Mirror, Percent, Probe, Queue, Retry, Source, Sticky, TableSize, Timeouts, Transport, WhenUnavailable, Zone, read,
    yaml,
};

pub(super) const FULL: &str = include_str!("../../../conf/full.yaml");

/// With every key behind a '#' (without a space) put into force, and `access_log` as a map.
pub(in crate::config) fn everything() -> String {
    let uncomment = |line: &str| {
        let start = line.len() - line.trim_start().len();
        match line[start..].strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '-') => {
                format!("{}{rest}\n", &line[..start])
            }
            _ => format!("{line}\n"),
        }
    };
    FULL.lines().filter(|line| !line.starts_with("access_log: off")).map(uncomment).collect()
}

/// `pools.web.backends[1].weight` as `pools.*.backends[].weight`.
fn shape(key: &str) -> String {
    let mut shape = String::new();
    for (i, part) in key.split('.').enumerate() {
        let part = part.split('[').next().unwrap();
        let name = if i == 1 && key.starts_with("pools.") { "*" } else { part };
        shape.push_str(&format!("{name}."));
    }
    shape
}

fn keys(node: &Node, path: &str, found: &mut BTreeSet<String>) {
    match &node.kind {
        Kind::Map(entries) => {
            for entry in entries {
                let key = super::super::node::join(path, &entry.key);
                found.insert(shape(&key));
                keys(&entry.value, &key, found);
            }
        }
        Kind::List(nodes) => nodes.iter().for_each(|node| keys(node, path, found)),
        _ => {}
    }
}

#[test]
fn full_yaml_holds_every_key_that_is_read() {
    let (top, mistakes) = yaml::parse(&everything());
    assert_eq!(mistakes, []);
    let (top, sink) = (top.unwrap(), Sink::new(None));
    read::config(&top, None, &sink);
    let mut written = BTreeSet::new();
    keys(&top, "", &mut written);
    let missing: Vec<_> = sink.asked.borrow().iter().filter(|key| !written.contains(&shape(key))).cloned().collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn what_full_yaml_has_behind_a_hash_is_valid_but_for_what_excludes_each_other() {
    let error = Config::parse(&everything(), None).unwrap_err();
    let keys: Vec<_> = error.mistakes.iter().map(|m| (m.key.as_str(), m.message.as_str())).collect();
    assert_eq!(keys, [("pools.web.discovery", "cannot stand beside 'backends': a pool has one source")]);
}

#[test]
fn what_full_yaml_states_as_default_is_the_default() {
    let config = Config::parse(FULL, None).unwrap();
    assert_eq!(config.limits, Limits::default());
    assert_eq!((config.stop_delay, config.upgrade_timeout), (Duration::ZERO, Config::UPGRADE_TIMEOUT));
    assert_eq!(config.trusted_proxies, []);
    assert_eq!((config.forwarded_headers, config.normalize_path), (ForwardedHeaders::default(), true));
    assert_eq!(config.access_log, None);
    assert_eq!(config.admin.map(|admin| admin.address), Some(Admin::ADDRESS));
    let pool = &config.pools[0];
    assert_eq!(pool.balance, Balance::RoundRobin);
    assert_eq!(pool.when_unavailable, WhenUnavailable::default());
    assert_eq!(pool.retry, Retry::default());
    assert_eq!(pool.ejection, Some(Ejection::default()));
    assert_eq!(pool.timeouts, Timeouts::default());
    assert_eq!((&pool.transport, pool.grpc_web), (&Transport::default(), false));
    assert_eq!(config.pools[2].transport.http2, Http2::default());
    assert_eq!((pool.panic_threshold, pool.overflow, pool.slow_start), (Percent(0), Percent(0), None));
    let Source::Backends(backends) = &pool.source else { panic!() };
    let defaults = |b: &Backend| (b.weight, b.zone.clone(), b.priority, b.max_in_flight) == (1, None, 0, None);
    assert!(backends.iter().all(defaults), "{backends:?}");
    assert_eq!(config.pools[1].balance, Balance::LeastTime(LeastTime::default()));
    let Balance::Maglev(hashing, table_size) = &config.pools[2].balance else { panic!() };
    assert_eq!((hashing.bounded_load, *table_size), (None, TableSize::default()));
    let check = pool.health_check.clone().unwrap();
    let at = check.at;
    assert_eq!(check, HealthCheck { at, ..HealthCheck::default() });
    assert_eq!(config.pools[1].health_check.clone().unwrap().probe, Probe::Http(Box::default()));
    assert_eq!(config.pools[2].health_check.clone().unwrap().probe, Probe::Grpc(GrpcProbe::default()));
    let silent = Config::parse(&super::with(""), None).unwrap();
    assert_eq!(config.server, silent.server);
}

#[test]
fn what_full_yaml_has_behind_a_hash_is_the_default_where_there_is_one() {
    let everything = everything().replace("    discovery:", "    #");
    let config = Config::parse(&everything, None).unwrap();
    let pool = &config.pools[0];
    assert_eq!(pool.queue, Some(Queue::default()));
    assert_eq!(pool.zone.as_ref().map(|zone| zone.minimum), Some(Zone::MINIMUM));
    let mirror = Mirror {
        pool: 0,
        percent: Percent(100),
        max_in_flight: Mirror::MAX_IN_FLIGHT,
        max_body_size: Mirror::MAX_BODY_SIZE,
    };
    assert_eq!(config.routes[0].mirror, Some(mirror));
    assert_eq!(pool.sticky.as_ref().map(|sticky| sticky.drain_grace), Some(Sticky::DRAIN_GRACE));
}

#[test]
fn full_yaml_names_every_algorithm() {
    let unnamed: Vec<_> = BUILT_IN.iter().filter(|name| !FULL.contains(**name)).collect();
    assert_eq!(unnamed, [&""; 0]);
}

#[test]
fn silence_gives_every_default() {
    let config = Config::parse(&super::with(""), None).unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    let server = ServerConf { version: 1, threads: cores, max_retries: 10, ..ServerConf::default() };
    assert_eq!(*config.server, server);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.admin.map(|admin| admin.address), Some(Admin::ADDRESS));
    assert_eq!((config.access_log, config.trusted_proxies, config.file), (None, vec![], None));
    assert_eq!((config.forwarded_headers, config.normalize_path), (ForwardedHeaders::default(), true));
    let pool = &config.pools[0];
    let check = pool.health_check.clone().unwrap();
    assert_eq!(check, HealthCheck { at: pool.at, ..HealthCheck::default() });
    assert_eq!((&pool.retry, &pool.timeouts), (&Retry::default(), &Timeouts::default()));
    assert_eq!(pool.ejection, Some(Ejection::default()));
    assert_eq!((&pool.balance, &pool.sticky, &pool.zone), (&Balance::RoundRobin, &None, &None));
    assert_eq!((pool.slow_start, pool.max_in_flight, pool.queue), (None, None, None));
    assert_eq!((pool.panic_threshold, pool.overflow), (Percent(0), Percent(0)));
}

#[test]
fn the_shipped_files_load() {
    for file in ["conf/full.yaml", "conf/minimal.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        assert_eq!(Config::load(&path).map(|config| config.file), Ok(Some(path)));
    }
}
