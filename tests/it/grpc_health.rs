//! The gRPC health check against a real gRPC server, Python's `grpcio` with `grpcio-health-checking`.

use std::net::SocketAddr;

use crate::support::evenkeel::pool;
use crate::support::grpc::{Peer, python};
use crate::support::tls::{have_openssl, self_signed};
use crate::support::{Evenkeel, wait_until};

fn check(grpc: &str) -> String {
    format!("health_check: {{ grpc: {{ {grpc} }}, interval: 100ms, timeout: 90ms, rise: 1, fall: 2 }}")
}

/// One probe with all the time that it needs; the state of the backend, and the reason.
fn once(address: SocketAddr, grpc: &str) -> (String, String) {
    let check = format!("health_check: {{ grpc: {{ {grpc} }}, interval: 10s, timeout: 5s }}");
    let evenkeel = Evenkeel::start(&pool(&[address], &check));
    let backend = evenkeel.backends()[0].clone();
    (backend["state"].as_str().unwrap().to_owned(), backend["reason"].as_str().unwrap_or_default().to_owned())
}

fn is(state: &str, reason: &str) -> (String, String) {
    (state.to_owned(), reason.to_owned())
}

#[test]
fn only_what_serves_is_healthy() {
    let Some(python) = python() else { return };
    let mut peer = Peer::start(&python, "grpc_server.py", "127.0.0.1:0", &[]);
    let evenkeel = Evenkeel::start(&pool(&[peer.address], &check("")));
    let becomes = |state: &str, reason: &str| {
        wait_until(&format!("{state} {reason}"), || {
            let backend = evenkeel.backends()[0].clone();
            backend["state"] == state && backend["reason"].as_str().unwrap_or_default() == reason
        });
    };
    becomes("healthy", "");
    for (told, reason) in [("NOT_SERVING", "NOT_SERVING"), ("UNKNOWN", "UNKNOWN")] {
        peer.tell(&format!("- {told}"));
        becomes("unhealthy", reason);
        peer.tell("- SERVING");
        becomes("healthy", "");
    }
    peer.tell("off");
    becomes("unhealthy", "grpc status 12 UNIMPLEMENTED");
    evenkeel.logged("became unhealthy: 2 probes failed in a row, the last: NOT_SERVING", 1);
}

#[test]
fn a_service_is_asked_about_by_its_name() {
    let Some(python) = python() else { return };
    let mut peer = Peer::start(&python, "grpc_server.py", "127.0.0.1:0", &[]);
    peer.tell("shop.v1.Orders SERVING");
    peer.tell("- NOT_SERVING");
    assert_eq!(once(peer.address, "service: shop.v1.Orders"), is("healthy", ""));
    assert_eq!(once(peer.address, ""), is("unhealthy", "NOT_SERVING"));
    assert_eq!(once(peer.address, "service: shop.v1.Carts"), is("unhealthy", "grpc status 5 NOT_FOUND"));
}

#[test]
fn it_may_be_on_another_port_or_a_unix_socket() {
    let Some(python) = python() else { return };
    let peer = Peer::start(&python, "grpc_server.py", "127.0.0.1:0", &[]);
    let port = peer.address.port();
    assert_eq!(once(SocketAddr::from(([127, 0, 0, 1], 1)), &format!("port: {port}")), is("healthy", ""));
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", dir.path().join("grpc").display());
    let _peer = Peer::start(&python, "grpc_server.py", &socket, &[]);
    let evenkeel = Evenkeel::start(&format!(
        "pools: {{ web: {{ backends: [\"{socket}\"], health_check: {{ grpc: {{}}, timeout: 4s }} }} }}\n"
    ));
    assert_eq!(evenkeel.backends()[0]["state"], "healthy", "{}", evenkeel.backends()[0]);
}

#[test]
fn over_tls_the_certificate_is_verified() {
    let Some(python) = python() else { return };
    if !have_openssl() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(&dir);
    let peer = Peer::start(&python, "grpc_server.py", "127.0.0.1:0", &[&certificate, &key]);
    let trusted = format!("ca: {certificate}");
    assert_eq!(once(peer.address, &format!("host: localhost, tls: {{ {trusted} }}")), is("healthy", ""));
    assert_eq!(once(peer.address, &format!("tls: {{ server_name: localhost, {trusted} }}")), is("healthy", ""));
    assert_eq!(once(peer.address, "tls: { insecure_skip_verify: true }"), is("healthy", ""));
    let (state, reason) = once(peer.address, "host: localhost, tls: {}");
    assert!(state == "unhealthy" && reason.starts_with("TLSHandshakeFailure: invalid peer certificate: "), "{reason}");
    let (state, reason) = once(peer.address, &format!("tls: {{ server_name: other, {trusted} }}"));
    let start = "TLSHandshakeFailure: invalid peer certificate: certificate not valid for name \"other\"";
    assert!(state == "unhealthy" && reason.starts_with(start), "{state} {reason}");
    let (state, reason) = once(peer.address, "");
    assert!(state == "unhealthy" && reason.starts_with("H2Error"), "{state} {reason}");
}

#[test]
fn nobody_there_is_unhealthy() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (state, reason) = once(free, "");
    assert!(state == "unhealthy" && reason.contains("Connection refused"), "{state} {reason}");
}
