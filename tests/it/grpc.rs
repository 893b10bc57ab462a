//! gRPC from end to end: a real client, Evenkeel, real servers.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::evenkeel::pool;
use crate::support::grpc::{Peer, call, python};
use crate::support::http2::{Http2Client, Http2Origin};
use crate::support::tls::{Authority, have_openssl};
use crate::support::{Evenkeel, LIMIT, wait_until};

fn start(backends: &[SocketAddr], more: &str) -> Evenkeel {
    Evenkeel::start(&yaml("", backends, more))
}

fn yaml(top: &str, backends: &[SocketAddr], more: &str) -> String {
    let listeners = "listeners: [{ address: '127.0.0.1:0', h2c: true }]\n";
    format!("{listeners}{top}{}", pool(backends, &format!("protocol: h2\n{more}")))
}

fn echo(python: &std::path::Path) -> Peer {
    Peer::start(python, "grpc_echo.py", "127.0.0.1:0", &[])
}

#[test]
fn calls_of_every_kind() {
    let Some(python) = python() else { return };
    let peer = echo(&python);
    let evenkeel = start(&[peer.address], "");
    let call = |method, argument| call(&python, evenkeel.http(), method, argument);
    let unary = call("Unary", "hello");
    assert_eq!((&unary["code"], &unary["said"]), (&json!(0), &json!(["hello"])), "{unary}");
    let streamed = call("Server", "500");
    assert_eq!(streamed["said"].as_array().unwrap().len(), 500);
    assert_eq!(streamed["code"], 0);
    assert_eq!(call("Client", "500")["said"], json!(["500000"]));
    let both = call("Bidi", "50");
    assert_eq!((both["said"].as_array().unwrap().len(), &both["said"][7]), (50, &json!("7 egassem")));
    assert_eq!(both["code"], 0);
    let log = evenkeel.requests(4);
    assert!(log.iter().all(|line| line["status"] == 200 && line["grpc_status"] == 0), "{log:?}");
    assert_eq!(evenkeel.metric("evenkeel_grpc_calls_total{grpc_status=\"0\",pool=\"web\"}"), 4.0);
}

#[test]
fn over_tls_to_the_server() {
    let Some(python) = python() else { return };
    if !have_openssl() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(&dir, "authority");
    let (certificate, key) = authority.sign(&dir, "site", "DNS:localhost");
    let peer = Peer::start(&python, "grpc_echo.py", "127.0.0.1:0", &[&certificate, &key]);
    for protocol in ["h2", "auto"] {
        let tls = format!("tls: {{ server_name: localhost, ca: {} }}", authority.certificate);
        let text = yaml("", &[peer.address], &tls).replace("protocol: h2", &format!("protocol: {protocol}"));
        let evenkeel = Evenkeel::start(&text);
        let said = call(&python, evenkeel.http(), "Bidi", "5");
        assert_eq!((&said["code"], said["said"].as_array().unwrap().len()), (&json!(0), 5), "{said}");
    }
}

#[test]
fn what_a_server_ends_with_goes_to_the_client() {
    let Some(python) = python() else { return };
    let peer = echo(&python);
    let evenkeel = start(&[peer.address], "");
    for code in [3, 5, 13, 14, 16] {
        let said = call(&python, evenkeel.http(), "Fail", &code.to_string());
        assert_eq!((&said["code"], &said["details"]), (&json!(code), &json!("as asked")));
    }
    let late = call(&python, evenkeel.http(), "Late", "8");
    assert_eq!((&late["code"], &late["said"]), (&json!(8), &json!(["one"])), "{late}");
    let log = evenkeel.requests(6);
    let statuses: Vec<_> = log.iter().map(|line| line["grpc_status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [3, 5, 13, 14, 16, 8]);
    assert!(log.iter().all(|line| line["status"] == 200 && line["reason"].is_null()), "{log:?}");
    assert_eq!(evenkeel.metric("evenkeel_grpc_calls_total{grpc_status=\"8\",pool=\"web\"}"), 1.0);
}

#[test]
fn our_failures_are_statuses_of_grpc() {
    let Some(python) = python() else { return };
    let peer = echo(&python);
    let gone = SocketAddr::from(([127, 0, 0, 1], 1));
    let expect = |evenkeel: &Evenkeel, method: &str, argument: &str, code: u8, reason: &str, status: u16| {
        let said = call(&python, evenkeel.http(), method, argument);
        assert_eq!((&said["code"], &said["details"]), (&json!(code), &json!(reason)), "{said}");
        let line = evenkeel.requests(1).pop().unwrap();
        assert_eq!((&line["grpc_status"], &line["reason"]), (&json!(code), &json!(reason)), "{line}");
        let class = format!("{}xx", status / 100);
        let pool = if reason == "no_route" { "" } else { "web" };
        let sample = format!("evenkeel_requests_total{{code=\"{class}\",pool=\"{pool}\"}}");
        assert_eq!(evenkeel.metric(&sample), 1.0, "{sample}");
        assert_eq!(evenkeel.failures(reason), 1.0);
    };
    expect(&start(&[gone], ""), "Unary", "a", 14, "connect_failed", 502);
    expect(&start(&[peer.address], "timeouts: { request: 300ms }"), "Slow", "9", 4, "request_timeout", 504);
    let small = Evenkeel::start(&yaml("limits: { max_body_size: 100 }\n", &[peer.address], ""));
    expect(&small, "Unary", &"x".repeat(500), 8, "body_too_large", 413);
    let elsewhere = "routes: [{ match: { path: /elsewhere }, pool: web }]\n";
    let routed = Evenkeel::start(&yaml(elsewhere, &[peer.address], ""));
    expect(&routed, "Unary", "a", 12, "no_route", 404);
}

#[test]
fn it_is_an_answer_without_a_body() {
    let gone = SocketAddr::from(([127, 0, 0, 1], 1));
    let evenkeel = start(&[gone], "");
    let client = Http2Client::connect(evenkeel.http());
    let kind = [("content-type", "application/grpc+proto"), ("te", "trailers")];
    let answer = client.ask(client.request("POST", "/a.B/C", &kind), "\0\0\0\0\0");
    assert_eq!((answer.head.status.as_u16(), answer.body.as_str(), answer.trailers.len()), (200, "", 0));
    assert_eq!(answer.header("content-type"), "application/grpc+proto");
    assert_eq!((answer.header("grpc-status"), answer.header("grpc-message")), ("14", "connect_failed"));
    assert_eq!(answer.header("x-evenkeel-reason"), "connect_failed");
    let plain = client.ask(client.request("POST", "/a.B/C", &[("content-type", "text/plain")]), "");
    assert_eq!((plain.head.status.as_u16(), plain.header("grpc-status")), (502, ""));
}

#[test]
fn a_deadline_ends_a_call_and_the_server_knows_of_it() {
    let Some(python) = python() else { return };
    let peer = echo(&python);
    let evenkeel = start(&[peer.address], "deadline_header: grpc-timeout\ntimeouts: { request: 2s }");
    let slow = call(&python, evenkeel.http(), "Slow", "0.4");
    assert_eq!(slow["code"], 4, "{slow}");
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    // The client gives it ten seconds, and we two.
    let unary = call(&python, evenkeel.http(), "Unary", "hello");
    let left: f64 = unary["trailers"]["x-left"].as_str().unwrap().parse().unwrap();
    assert!(left <= 2.0 && left > 0.5, "{unary}");
}

#[test]
fn a_stream_may_be_silent_on_the_clients_side() {
    let Some(python) = python() else { return };
    let peer = echo(&python);
    let evenkeel = Evenkeel::start(&yaml("limits: { body_timeout: 200ms }\n", &[peer.address], ""));
    // A second beyond that and more, in which a body of another kind would have been given up.
    let said = call(&python, evenkeel.http(), "Quiet", "1.5");
    assert_eq!((&said["code"], said["said"].as_array().unwrap().len()), (&json!(0), 2), "{said}");
}

#[test]
fn calls_are_sent_again_by_their_status() {
    let Some(python) = python() else { return };
    let (mut sick, well) = (echo(&python), echo(&python));
    sick.tell("fail 14");
    let evenkeel =
        start(&[sick.address, well.address], "retry: { on: [unavailable, resource_exhausted], budget: off }");
    for _ in 0..4 {
        let said = call(&python, evenkeel.http(), "Unary", "hello");
        assert_eq!((&said["code"], &said["said"]), (&json!(0), &json!(["hello"])), "{said}");
    }
    assert!(evenkeel.requests(4).iter().any(|line| line["attempts"].as_array().unwrap().len() == 2));
    // One that is not named goes to the client.
    sick.tell("fail 9");
    let codes: Vec<_> = (0..2).map(|_| call(&python, evenkeel.http(), "Unary", "hello")["code"].clone()).collect();
    assert!(codes.contains(&json!(9)) && codes.contains(&json!(0)), "{codes:?}");
    let named_none = start(&[sick.address, well.address], "");
    sick.tell("fail 14");
    let codes: Vec<_> = (0..2).map(|_| call(&python, named_none.http(), "Unary", "hello")["code"].clone()).collect();
    assert!(codes.contains(&json!(14)), "by default none is: {codes:?}");
}

#[test]
fn who_is_unavailable_is_ejected() {
    let sick = Http2Origin::new(|mut call| async move {
        let response = http::Response::builder().header("content-type", "application/grpc").header("grpc-status", "14");
        call.answer.send_response(response.body(()).unwrap(), true).unwrap();
    });
    let well = Http2Origin::new(|mut call| async move { call.say("", &[("grpc-status", "0")]) });
    let rules = "ejection: { consecutive_failures: 3, success_rate: off, latency: off }";
    let evenkeel = start(&[sick.address, well.address], rules);
    let client = Http2Client::connect(evenkeel.http());
    let begun = std::time::Instant::now();
    while evenkeel.backends().iter().all(|backend| backend["state"] != "ejected") {
        assert!(begun.elapsed() < LIMIT, "{:?}", evenkeel.backends());
        client.ask(client.request("POST", "/a.B/C", &[("content-type", "application/grpc")]), "\0\0\0\0\0");
    }
    let ejected: Vec<_> = evenkeel.backends().into_iter().filter(|backend| backend["state"] == "ejected").collect();
    assert_eq!((ejected.len(), &ejected[0]["address"]), (1, &json!(sick.address.to_string())), "{ejected:?}");
}
