//! `evenkeel status`: one screen of pools and backends.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use super::{client, failed, load, wrong};
use crate::admin::{BackendView, PoolView};
use crate::config::Admin;

pub(super) fn status(conf: Option<&Path>, admin: Option<SocketAddr>, as_json: bool) -> ExitCode {
    let admin = match (conf.map(load), admin) {
        (Some(Err(e)), _) => return wrong(e),
        (Some(Ok(config)), _) => match config.admin {
            Some(admin) => admin.address,
            None => return wrong("this configuration has no admin address (admin: off)"),
        },
        (None, admin) => admin.unwrap_or(Admin::ADDRESS),
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
        let _ = match pool.waiting {
            0 => writeln!(out),
            waiting => writeln!(out, ", {waiting} requests waiting for room"),
        };
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
    let in_flight = match backend.max_in_flight {
        None => backend.in_flight.to_string(),
        Some(max) => format!("{}/{max}", backend.in_flight),
    };
    let mut row = format!(
        "{:width$}  {:>6}  {:<9}  {:>9}  {:>10}  {:>8}  {:>8}  {probed}",
        backend.address, backend.weight, backend.state, in_flight, backend.succeeded, backend.failed, backend.cancelled,
    );
    if let Some(reason) = &backend.reason {
        let _ = write!(row, ": {reason}");
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
            admitted: false,
            in_flight: 1,
            max_in_flight: Some(20),
            latency_seconds: None,
            succeeded: 12,
            failed: 3,
            cancelled: 0,
            probes_passed: 0,
            probes_failed: 3,
            last_probe_age_seconds: Some(1.25),
        };
        let pools = [PoolView { name: "web".to_owned(), admitted: 0, waiting: 7, backends: vec![backend] }];
        let expected = "\
pool web: 0 of 1 backends admitted, 7 requests waiting for room
  BACKEND      WEIGHT  STATE      IN FLIGHT   SUCCEEDED    FAILED  GIVEN UP  PROBED
  10.0.0.1:80       5  unhealthy       1/20          12         3         0  1.2 s ago: status 503
";
        assert_eq!(screen(&pools), expected);
    }
}
