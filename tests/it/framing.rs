//! Where one message ends and the next begins: nobody may disagree with us about it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, Response, Then, wait_until};

fn before(origin: &Origin) -> Evenkeel {
    Evenkeel::start(&pool(&[origin.address], ""))
}

#[test]
fn a_request_of_two_framings_smuggles_nothing() {
    let origin = Origin::saying("hello");
    let evenkeel = before(&origin);
    for framing in [
        "Content-Length: 40\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 40",
        "Transfer-Encoding: xchunked\r\nContent-Length: 40",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked\r\nContent-Length: 40",
        "Content-Length: 40\r\nTransfer-Encoding:\x0bchunked",
    ] {
        let mut client = evenkeel.client();
        let inner = "0\r\n\r\nGET /evil HTTP/1.1\r\nHost: test\r\n\r\n";
        client.send(format!("POST /outer HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{inner}"));
        let first = client.try_read("POST").map(|response| response.status);
        // What comes behind is either never answered, or was refused with its connection.
        let second = client.try_read("GET").map(|response| response.status);
        assert!(second.is_err(), "{framing:?}: {first:?} and {second:?}");
    }
    for seen in origin.seen() {
        assert_eq!(seen.head.word(1), "/outer");
        let both = seen.head.header("content-length").is_some() && seen.head.header("transfer-encoding").is_some();
        assert!(!both, "{}", String::from_utf8_lossy(&seen.head.raw));
    }
}

#[test]
fn a_response_of_two_framings_has_one() {
    let origin = Origin::new(|exchange| {
        exchange.send(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )?;
        Ok(Then::Keep)
    });
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = Response::read_head(&mut client.wire).unwrap();
    if response.status == 200 {
        assert_eq!(response.header("content-length"), None, "{:?}", response.head);
        let mut body = Vec::new();
        response.head.copy_body(&mut client.wire, &mut body, true).unwrap();
        assert_eq!(body, b"hello");
    } else {
        assert_eq!((response.status, response.reason()), (502, "backend_protocol"));
    }
}

#[test]
fn what_a_backend_says_unasked_goes_to_nobody() {
    let origin = Origin::new(|exchange| {
        let answer = |body| format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{body}");
        // At once: what comes after the next request has gone is that request's answer for all that a proxy can tell.
        exchange.send(answer("good") + &answer("EVIL"))?;
        Ok(Then::Keep)
    });
    let evenkeel = before(&origin);
    let mut clients = [evenkeel.client(), evenkeel.client()];
    for n in 0..20 {
        let response = clients[n % 2].get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "good"), "request {n}");
    }
}

#[test]
fn a_body_that_we_do_not_read_is_not_the_next_request() {
    let mut closed = Origin::saying("closed");
    closed.stop();
    let evenkeel = Evenkeel::start(&format!(
        "{}routes:\n  - match: {{ host: here }}\n    respond: {{ status: 200, body: here }}\n\
         \x20 - match: {{ host: away }}\n    pool: web\n",
        pool(&[closed.address], "health_check: { tcp: {}, interval: 10s, timeout: 5s }")
    ));
    let body = "GET /evil HTTP/1.1\r\nHost: here\r\n\r\n";
    for (host, status) in [("here", 200), ("away", 503), ("nowhere", 404)] {
        for framing in [
            format!("Content-Length: {}\r\n\r\n{body}", body.len()),
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        ] {
            let mut client = evenkeel.client();
            client.send(format!("POST / HTTP/1.1\r\nHost: {host}\r\n{framing}"));
            assert_eq!(client.read().status, status, "{host}");
            // The connection lives on and is in step, or it is closed.
            if client.try_send("GET /next HTTP/1.1\r\nHost: nowhere\r\n\r\n").is_ok()
                && let Ok(response) = client.try_read("GET")
            {
                assert_eq!(response.status, 404, "{host}: {}", response.text());
            }
        }
    }
    assert!(!std::fs::read_to_string(evenkeel.access_log()).unwrap().contains("/evil"));
}

#[test]
fn a_client_that_leaves_a_download_frees_the_backend() {
    let sent = std::sync::Arc::new(AtomicUsize::new(0));
    let ended = std::sync::Arc::clone(&sent);
    let origin = Origin::new(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n\r\n")?;
        while exchange.send([b'x'; 65536]).is_ok() {}
        ended.fetch_add(1, SeqCst);
        Ok(Then::Close)
    });
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(Response::read_head(&mut client.wire).unwrap().status, 200);
    client.bytes(1_000_000);
    drop(client);
    wait_until("the backend is cut", || sent.load(SeqCst) == 1);
    let line = &evenkeel.requests(1)[0];
    assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_gone".into()), "{line}");
    wait_until("nothing is in flight", || evenkeel.backends()[0]["in_flight"] == 0);
    assert_eq!(evenkeel.backends()[0]["failed"], 0);
}

#[test]
fn several_listeners_serve_alike() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: '127.0.0.1:0' }}, {{ address: '127.0.0.1:0' }}]\n{}",
        pool(&[origin.address], "")
    ));
    assert_eq!(evenkeel.listeners.len(), 2);
    for address in &evenkeel.listeners {
        assert_eq!(crate::support::get(*address, "/").text(), "hello");
    }
}
