//! `evenkeel status`: one screen of pools and backends.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use super::{client, failed};
use crate::admin::{BackendView, PoolView};

pub(super) fn status(conf: Option<&Path>, admin: Option<SocketAddr>, as_json: bool) -> ExitCode {
    let admin = match client::address(conf, admin) {
        Ok(admin) => admin,
        Err(code) => return code,
    };
    let body = match client::get(admin, "/api/v1/pools") {
        Ok((200, body)) => body,
        Ok((status, _)) => return failed(format!("{admin} answered with status {status}")),
        Err(e) => return failed(e),
    };
    if as_json {
        print!("{}", String::from_utf8_lossy(&body));
        return ExitCode::SUCCESS;
    }
    match serde_json::from_slice::<Vec<PoolView>>(&body) {
        Ok(pools) => {
            print!("{}", screen(&pools));
            ExitCode::SUCCESS
        }
        Err(e) => failed(format!("{admin} does not answer as evenkeel does: {e}")),
    }
}

fn screen(pools: &[PoolView]) -> String {
    let widest = pools.iter().flat_map(|pool| &pool.backends).map(|backend| backend.address.len()).max();
    let width = widest.unwrap_or_default().max("BACKEND".len());
    let mut out = String::new();
    for (i, pool) in pools.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        // Writing to a string does not fail.
        let _ = write!(out, "pool {}: {} of {} backends admitted", pool.name, pool.admitted, pool.backends.len());
        if pool.waiting > 0 {
            let _ = write!(out, ", {} requests waiting for room", pool.waiting);
        }
        if let Some(limit) = pool.concurrency_limit {
            let _ = write!(out, ", at most {limit} in flight");
        }
        if let (Some(open), Some(max)) = (pool.connections, pool.max_connections) {
            let _ = write!(out, ", {open}/{max} connections");
        }
        out.push('\n');
        if let Some(why) = &pool.discovery_failure {
            let _ = writeln!(out, "  its source does not say who is there, and nobody comes or goes: {why}");
        }
        let _ = writeln!(
            out,
            "  {:width$}  {:>6}  {:<9}  {:>9}  {:>10}  {:>8}  {:>8}  PROBED",
            "BACKEND", "WEIGHT", "STATE", "IN FLIGHT", "SUCCEEDED", "FAILED", "GIVEN UP"
        );
        for backend in &pool.backends {
            let _ = writeln!(out, "  {}", row(backend, width));
        }
    }
    out
}

fn row(backend: &BackendView, width: usize) -> String {
    let probed = match backend.last_probe_age_seconds {
        Some(age) => format!("{age:.1} s ago"),
        None => "never".to_owned(),
    };
    let overdue = if backend.probes_overdue { ", overdue" } else { "" };
    let in_flight = match backend.max_in_flight {
        None => backend.in_flight.to_string(),
        Some(max) => format!("{}/{max}", backend.in_flight),
    };
    let mut row = format!(
        "{:width$}  {:>6}  {:<9}  {:>9}  {:>10}  {:>8}  {:>8}  {probed}{overdue}",
        backend.address, backend.weight, backend.state, in_flight, backend.succeeded, backend.failed, backend.cancelled,
    );
    if let Some(reason) = &backend.reason {
        // It is not what was probed that an ejection is for.
        let after = if backend.state == "ejected" { "; ejected: " } else { ": " };
        let _ = write!(row, "{after}{reason}");
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_a_table_with_the_reason_behind_it() {
        let backend = BackendView {
            address: "10.0.0.1:80".to_owned(),
            weight: 5,
            priority: 0,
            zone: None,
            state: "unhealthy".to_owned(),
            reason: Some("status 503".to_owned()),
            drain: None,
            admitted: false,
            preferred: 0.0,
            in_flight: 1,
            max_in_flight: Some(20),
            latency_seconds: None,
            succeeded: 12,
            failed: 3,
            cancelled: 0,
            probes_sent: 3,
            ejections: 0,
            probes_passed: 0,
            probes_failed: 3,
            last_probe_age_seconds: Some(1.25),
            probes_overdue: false,
        };
        let pools = [PoolView {
            name: "web".to_owned(),
            admitted: 0,
            waiting: 7,
            concurrency_limit: Some(25),
            connections: Some(3),
            max_connections: Some(100),
            discovery_failure: None,
            backends: vec![backend],
        }];
        let expected = "\
pool web: 0 of 1 backends admitted, 7 requests waiting for room, at most 25 in flight, 3/100 connections
  BACKEND      WEIGHT  STATE      IN FLIGHT   SUCCEEDED    FAILED  GIVEN UP  PROBED
  10.0.0.1:80       5  unhealthy       1/20          12         3         0  1.2 s ago: status 503
";
        assert_eq!(screen(&pools), expected);
        let [mut pool] = pools;
        pool.backends[0].state = "ejected".to_owned();
        pool.backends[0].reason = Some("5 failures in a row, the last: timeout; for another 8s".to_owned());
        let row = screen(&[pool]).lines().last().unwrap().to_owned();
        let expected = "1.2 s ago; ejected: 5 failures in a row, the last: timeout; for another 8s";
        assert!(row.ends_with(expected), "{row}");
    }
}
