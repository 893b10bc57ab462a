//! Every error tells why: header, metric and access log agree.

use std::io::Write;
use std::net::SocketAddr;

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Origin, Response, Then, wait_until};

/// The one request so far ended with this status and reason, wherever one looks.
#[track_caller]
pub fn agree(evenkeel: &Evenkeel, response: &Response, status: u16, reason: &str) {
    assert_eq!((response.status, response.reason()), (status, reason), "{}", response.text());
    logged(evenkeel, status, reason);
}

/// Metric and access log alone.
#[track_caller]
pub fn logged(evenkeel: &Evenkeel, status: u16, reason: &str) {
    let line = &evenkeel.requests(1)[0];
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(status.into()), Some(reason)), "{line}");
    assert_eq!(evenkeel.failures(reason), 1.0);
}

/// Evenkeel in front of this one backend, which is tried once.
pub fn before(address: SocketAddr, more: &str) -> Evenkeel {
    Evenkeel::start(&pool(&[address], &format!("retry: {{ attempts: 1 }}\n{more}")))
}

#[test]
fn connect_failed() {
    let mut origin = Origin::saying("closed");
    origin.stop();
    let evenkeel = before(origin.address, "");
    agree(&evenkeel, &evenkeel.get("/"), 502, "connect_failed");
}

#[test]
fn backend_closed() {
    let origin = Origin::new(|_| Ok(Then::Close));
    let evenkeel = before(origin.address, "");
    agree(&evenkeel, &evenkeel.get("/"), 502, "backend_closed");
}

#[test]
fn backend_closed_within_the_header() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-")?;
        Ok(Then::Close)
    });
    let evenkeel = before(origin.address, "");
    agree(&evenkeel, &evenkeel.get("/"), 502, "backend_closed");
}

#[test]
fn backend_protocol() {
    for garbage in [
        "\x15\x03\x03\x00\x02\x02\x46 this is no HTTP\r\n\r\n",
        "HTTP/1.1 two hundred\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    ] {
        let origin = Origin::new(move |exchange| {
            exchange.send(garbage)?;
            Ok(Then::Close)
        });
        let evenkeel = before(origin.address, "");
        agree(&evenkeel, &evenkeel.get("/"), 502, "backend_protocol");
    }
}

#[test]
fn a_garbled_chunk_after_the_header_is_a_cut() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")?;
        Ok(Then::Close)
    });
    let evenkeel = before(origin.address, "");
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.try_read("GET").is_err());
    logged(&evenkeel, 200, "backend_protocol");
}

#[test]
fn no_route() {
    let origin = Origin::saying("hello");
    let route = "routes: [{ match: { host: shop.example }, pool: web }]\n";
    let evenkeel = Evenkeel::start(&(pool(&[origin.address], "") + route));
    let mut client = evenkeel.client();
    agree(&evenkeel, &client.get("/"), 404, "no_route");
    // Nothing was wrong with the connection.
    client.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(client.read().text(), "hello");
}

#[test]
fn bad_request_without_a_host() {
    let origin = Origin::saying("hello");
    let evenkeel = before(origin.address, "");
    agree(&evenkeel, &evenkeel.client().send("GET / HTTP/1.1\r\n\r\n").read(), 400, "bad_request");
    assert_eq!(origin.count(), 0);
}

#[test]
fn method_not_allowed() {
    let origin = Origin::saying("hello");
    let evenkeel = before(origin.address, "");
    let response = evenkeel.client().send("TRACE / HTTP/1.1\r\nHost: test\r\n\r\n").read();
    assert!(response.header("allow").unwrap().contains("GET"));
    agree(&evenkeel, &response, 405, "method_not_allowed");
    assert_eq!(origin.count(), 0);
}

const MAX_BODY: &str = "limits: { max_body_size: 100KiB }\n";

#[test]
fn body_too_large_by_its_length() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&(MAX_BODY.to_owned() + &pool(&[origin.address], "")));
    let mut client = evenkeel.client();
    // The whole body is sent, as a client does that reads the answer only afterwards.
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", 400 * 1024));
    let _ = client.try_send(vec![b'x'; 400 * 1024]);
    agree(&evenkeel, &client.read(), 413, "body_too_large");
    assert_eq!(origin.count(), 0);
}

#[test]
fn body_too_large_as_it_grows() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&(MAX_BODY.to_owned() + &pool(&[origin.address], "")));
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..20 {
        let mut chunk = b"5000\r\n".to_vec();
        chunk.extend([b'x'; 0x5000]);
        chunk.extend(b"\r\n");
        if client.try_send(&chunk).is_err() {
            break;
        }
    }
    let _ = client.try_send("0\r\n\r\n");
    agree(&evenkeel, &client.read(), 413, "body_too_large");
}

#[test]
fn a_body_of_just_the_limit_passes() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&(MAX_BODY.to_owned() + &pool(&[origin.address], "")));
    let mut client = evenkeel.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", 100 * 1024));
    assert_eq!(client.send(vec![b'x'; 100 * 1024]).read().text(), "hello");
}

#[test]
fn client_gone_before_the_answer() {
    let origin = Origin::new(|exchange| exchange.hang());
    let evenkeel = before(origin.address, "");
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_until("the backend has the request", || origin.count() == 1);
    drop(client);
    logged(&evenkeel, 499, "client_gone");
    assert_eq!(evenkeel.metric("evenkeel_requests_total{code=\"499\",pool=\"web\"}"), 1.0);
    let backend = &evenkeel.backends()[0];
    // Not the backend's fault.
    assert_eq!((&backend["failed"], &backend["cancelled"], &backend["in_flight"]), (&0.into(), &1.into(), &0.into()));
}

#[test]
fn client_gone_within_its_body() {
    let origin = Origin::saying("hello");
    let evenkeel = before(origin.address, "");
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    wait_until("the backend has the header", || origin.count() == 1);
    drop(client);
    logged(&evenkeel, 499, "client_gone");
}

#[test]
fn a_backends_own_error_passes_as_it_is() {
    let origin = Origin::new(|exchange| exchange.answer("503 Service Unavailable", "mine"));
    let evenkeel = before(origin.address, "");
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.text().as_str(), response.reason()), (503, "mine", ""));
    let line = &evenkeel.requests(1)[0];
    assert_eq!((&line["status"], &line["reason"]), (&503.into(), &serde_json::Value::Null));
}

#[test]
fn a_failed_head_has_no_body() {
    let mut origin = Origin::saying("closed");
    origin.stop();
    let evenkeel = before(origin.address, "");
    let mut client = evenkeel.client();
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = client.read_to("HEAD");
    assert_eq!((response.status, response.reason()), (502, "connect_failed"));
    // Either the connection lives, and the next answer starts with a status line, or it is closed.
    if client.try_send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").is_ok()
        && let Ok(response) = client.try_read("HEAD")
    {
        assert_eq!(response.status, 502);
    }
}

#[test]
fn a_backend_that_answers_before_the_body_has_come_is_heard() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
        // Reads on for a while, as a server does that lingers.
        let _ = exchange.body();
        Ok(Then::Close)
    });
    let evenkeel = before(origin.address, "");
    let mut client: Client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n");
    let response = client.read();
    assert_eq!((response.status, response.text().as_str()), (401, "no"));
    let _ = client.wire.get_mut().write_all(b"late");
}
