//! Headers: what a backend is told of its client, and what stays on its hop.

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, Then};

/// Evenkeel in front of this one backend.
fn before(origin: &Origin) -> Evenkeel {
    Evenkeel::start(&pool(&[origin.address], ""))
}

const FORWARDED: &str = "GET /f HTTP/1.1\r\nHost: shop.example:8080\r\nX-Forwarded-For: 203.0.113.9, 10.0.0.1\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: public.example\r\nX-Request-Id: from-outside\r\n\
    Forwarded: for=203.0.113.9\r\n\r\n";

#[test]
fn what_a_stranger_says_of_itself_is_replaced() {
    let origin = Origin::saying("hello");
    let evenkeel = before(&origin);
    assert_eq!(evenkeel.client().send(FORWARDED).read().status, 200);
    let head = origin.last().head;
    assert_eq!(head.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(head.all("x-forwarded-proto"), ["http"]);
    assert_eq!(head.all("x-forwarded-host"), ["shop.example:8080"]);
    assert_eq!(head.all("host"), ["shop.example:8080"]);
    assert_eq!(head.all("forwarded"), [""; 0]);
    let id = head.all("x-request-id");
    assert_eq!((id.len(), id[0].len()), (1, 32));
    let line = &evenkeel.requests(1)[0];
    assert_eq!((line["request_id"].as_str(), line["client"].as_str()), (Some(id[0]), Some("127.0.0.1")));
    evenkeel.get("/");
    assert_ne!(origin.last().head.header("x-request-id"), Some(id[0]));
}

#[test]
fn a_trusted_proxy_is_believed() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&format!("trusted_proxies: [127.0.0.0/8]\n{}", pool(&[origin.address], "")));
    assert_eq!(evenkeel.client().send(FORWARDED).read().status, 200);
    let head = origin.last().head;
    assert_eq!(head.all("x-forwarded-for"), ["203.0.113.9, 10.0.0.1, 127.0.0.1"]);
    assert_eq!(head.all("x-forwarded-proto"), ["https"]);
    assert_eq!(head.all("x-forwarded-host"), ["public.example"]);
    assert_eq!(head.all("x-request-id"), ["from-outside"]);
    // 10.0.0.1 is nobody whom the configuration trusts.
    assert_eq!(evenkeel.requests(1)[0]["client"], "10.0.0.1");
    // What it does not say is filled in.
    evenkeel.get("/");
    let head = origin.last().head;
    assert_eq!(head.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(head.all("x-forwarded-host"), ["test"]);
}

#[test]
fn forwarded_headers_say_what_a_backend_is_told() {
    let origin = Origin::saying("hello");
    let policy = "forwarded_headers: { x_forwarded: drop, x_forwarded_port: set, forwarded: append, x_real_ip: set }\n";
    let pool = pool(&[origin.address], "");
    let evenkeel = Evenkeel::start(&format!("trusted_proxies: [127.0.0.0/8]\n{policy}{pool}"));
    let sent = "GET /f HTTP/1.1\r\nHost: shop.example:8080\r\nX-Forwarded-For: 198.51.100.7\r\nX-Real-IP: 198.51.100.7\r\n\
        Forwarded: for=\"[2001:db8::9]:4711\";proto=https\r\nForwarded: for=127.0.0.3\r\n\r\n";
    assert_eq!(evenkeel.client().send(sent).read().status, 200);
    let head = origin.last().head;
    assert_eq!(head.all("x-forwarded-for"), [""; 0]);
    assert_eq!(head.all("x-forwarded-port"), ["8080"]);
    assert_eq!(head.all("x-real-ip"), ["2001:db8::9"]);
    let ours = "for=127.0.0.1;host=\"shop.example:8080\";proto=http";
    assert_eq!(head.all("forwarded"), [format!("for=\"[2001:db8::9]:4711\";proto=https, for=127.0.0.3, {ours}")]);
    assert_eq!(evenkeel.requests(1)[0]["client"], "2001:db8::9");
    // A reload changes it.
    evenkeel.reload(&format!("{policy}{pool}"));
    assert_eq!(evenkeel.client().send(sent).read().status, 200);
    let head = origin.last().head;
    assert_eq!((head.all("forwarded"), head.all("x-real-ip")), (vec![ours], vec!["127.0.0.1"]));
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop() {
    let origin = Origin::new(|exchange| {
        exchange.send(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Backend-Hop\r\nX-Backend-Hop: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\n\
             X-End: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok",
        )?;
        Ok(Then::Keep)
    });
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, X-Client-Hop\r\nX-Client-Hop: 1\r\nKeep-Alive: 300\r\n\
         Proxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X-T\r\n\
         Upgrade: h2c\r\nX-End: 1\r\n\r\n",
    );
    let response = client.read();
    let request = origin.last().head;
    for name in ["x-client-hop", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "upgrade"] {
        assert_eq!(request.header(name), None, "{name} went to the backend");
    }
    assert_eq!(request.header("x-end"), Some("1"));
    for name in ["x-backend-hop", "keep-alive", "proxy-authenticate", "proxy-connection", "upgrade"] {
        assert_eq!(response.header(name), None, "{name} came to the client");
    }
    assert_eq!(response.header("x-end"), Some("2"));
    assert_eq!(response.head.all("set-cookie"), ["a=1", "b=2"]);
    assert!(!response.header("connection").unwrap_or_default().to_lowercase().contains("hop"));
}

#[test]
fn an_absolute_target_reaches_the_backend_in_origin_form() {
    let origin = Origin::saying("hello");
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    client.send("GET http://shop.example/a?b HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(client.read().text(), "hello");
    let head = origin.last().head;
    assert_eq!((head.word(1), head.header("host")), ("/a?b", Some("shop.example")));
}

#[test]
fn a_large_header_passes() {
    let origin = Origin::saying("hello");
    let evenkeel = before(&origin);
    let large = "x".repeat(30_000);
    let mut client = evenkeel.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\nX-Large: {large}\r\n\r\n"));
    assert_eq!(client.read().status, 200);
    assert_eq!(origin.last().head.header("x-large"), Some(large.as_str()));
}
