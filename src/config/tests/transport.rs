//! `protocol`, `http2`, `tls`, `proxy_protocol` and `grpc_web` of a pool.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{
    BackendTls, ClientCertificate, Http2, HttpProtocol, Probe, ProbeTls, Protocol, ProxyProtocol, RetryOn, Transport,
};
use super::{parsed, refuses, with};

fn transport(text: &str) -> Transport {
    parsed(&with(text)).pools.swap_remove(0).transport
}

fn http_probe(text: &str) -> (HttpProtocol, Option<ProbeTls>, Option<ProxyProtocol>) {
    match parsed(&with(text)).pools.swap_remove(0).health_check.unwrap().probe {
        Probe::Http(http) => (http.protocol, http.tls, http.proxy_protocol),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tls_may_be_just_true() {
    assert_eq!(transport("    tls: off\n"), Transport::default());
    for written in ["true", "{}"] {
        let tls = transport(&format!("    tls: {written}\n")).tls.unwrap();
        assert_eq!(tls, BackendTls { at: tls.at, ..BackendTls::default() });
    }
    let tls =
        transport("    tls: { server_name: 10.0.0.1, ca: ca.pem, certificate: c.pem, key: c.key }\n").tls.unwrap();
    let file = |name: &str| PathBuf::from("/etc").join(name);
    let expected = BackendTls {
        server_name: Some("10.0.0.1".to_owned()),
        ca: Some(file("ca.pem")),
        client: Some(ClientCertificate { certificate: file("c.pem"), key: file("c.key") }),
        insecure_skip_verify: false,
        at: tls.at,
    };
    assert_eq!(tls, expected);
}

#[test]
fn http2_has_its_options() {
    let text =
        "    protocol: h2\n    http2: { max_streams: 7, ping: 10m }\n    grpc_web: true\n    proxy_protocol: v2\n";
    let config = parsed(&with(text));
    let expected = Transport {
        protocol: Protocol::H2,
        http2: Http2 { max_streams: 7, ping: Some(Duration::from_secs(600)) },
        tls: None,
        proxy_protocol: Some(ProxyProtocol::V2),
    };
    assert_eq!((&config.pools[0].transport, config.pools[0].grpc_web), (&expected, true));
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    refuses(
        &with(
            "    protocol: auto\n    http2: { max_streams: 0, pings: 1s }\n    proxy_protocol: v3\n    grpc_web: 1\n",
        ),
        &[
            "5:15: pools.web.protocol: auto needs 'tls', in which the backend chooses; without it, write h1 or h2",
            "6:27: pools.web.http2.max_streams: must be 1 to 10000, got 0",
            "6:30: pools.web.http2.pings: unknown key, did you mean 'ping'?",
            "7:21: pools.web.proxy_protocol: must be v1 or v2, got 'v3'",
            "8:15: pools.web.grpc_web: must be true or false, got 1",
        ],
    );
    refuses(
        &with(
            "    http2: {}\n    grpc_web: true\n    tls: { ca: a, key: b, server_name: 'a:1', insecure_skip_verify: true }\n",
        ),
        &[
            "5:5: pools.web.http2: does nothing beside protocol: h1; write protocol: h2 or auto",
            "6:15: pools.web.grpc_web: needs protocol: h2 or auto: gRPC is spoken in HTTP/2",
            "7:16: pools.web.tls.ca: cannot stand beside insecure_skip_verify: nothing is verified",
            "7:24: pools.web.tls.key: needs 'certificate' beside it",
            "7:40: pools.web.tls.server_name: must be a host name or an IP address, without a port, got 'a:1'",
        ],
    );
}

#[test]
fn a_socket_has_no_name_of_its_own() {
    let pool = |tls: &str| {
        format!("listeners: [{{ address: :80 }}]\npools: {{ web: {{ backends: ['unix:/s'], tls: {tls} }} }}\n")
    };
    let message =
        "needs 'server_name', like server_name: api.internal: nothing says whom the certificate of unix:/s must be for";
    refuses(&pool("{}"), &[&format!("2:40: pools.web.tls: {message}")]);
    refuses(&pool("true"), &[&format!("2:45: pools.web.tls: {message}")]);
    parsed(&pool("{ server_name: a }"));
    parsed(&pool("{ insecure_skip_verify: true }"));
}

#[test]
fn a_probe_goes_the_way_of_the_requests() {
    let way = "    protocol: h2\n    tls: { ca: ca.pem, certificate: c.pem, key: c.key }\n    proxy_protocol: v1\n";
    let (protocol, tls, proxy) = http_probe(&format!("{way}    health_check: {{ http: {{}} }}\n"));
    let client = ClientCertificate { certificate: "/etc/c.pem".into(), key: "/etc/c.key".into() };
    let expected = ProbeTls {
        server_name: Some("a".to_owned()),
        ca: Some("/etc/ca.pem".into()),
        client: Some(client),
        insecure_skip_verify: false,
    };
    assert_eq!((protocol, tls, proxy), (HttpProtocol::H2, Some(expected), Some(ProxyProtocol::V1)));
    let off = http_probe(&format!("{way}    health_check: {{ http: {{ tls: off, protocol: h1 }} }}\n"));
    assert_eq!(off, (HttpProtocol::H1, None, Some(ProxyProtocol::V1)));
    let elsewhere = http_probe(&format!("{way}    health_check: {{ http: {{ port: 81 }} }}\n"));
    assert_eq!(elsewhere, (HttpProtocol::H1, None, None));
}

#[test]
fn a_probe_knows_one_name() {
    let pool = |more: &str| {
        format!(
            "listeners: [{{ address: :80 }}]\npools:\n  web:\n    backends: [a:1, b:1]\n    tls: true\n    health_check: {{ {more} }}\n"
        )
    };
    let message = "needs 'tls' of its own with server_name, or tls: off: the backends of the pool have several names, and a probe knows one";
    refuses(&pool("http: {}"), &[&format!("6:21: pools.web.health_check.http: {message}")]);
    refuses(&pool("grpc:"), &[&format!("6:21: pools.web.health_check.grpc: {message}")]);
    parsed(&pool("http: { tls: { server_name: a } }"));
    parsed(&pool("tcp: {}"));
}

#[test]
fn calls_may_be_retried_by_their_status() {
    let on = parsed(&with("    retry: { on: [connect, unavailable, cancelled, 503] }\n")).pools.swap_remove(0).retry.on;
    assert_eq!(on, RetryOn { connect: true, statuses: vec![503], calls: vec![14, 1], ..RetryOn::NEVER });
}
