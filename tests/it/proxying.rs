//! Requests and responses of every form pass through unchanged, but for what a proxy must change.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Origin, Then, have, wait_until};

/// Evenkeel in front of this one backend.
fn before(origin: &Origin) -> Evenkeel {
    Evenkeel::start(&pool(&[origin.address], ""))
}

#[test]
fn get_head_and_post_pass_through() {
    let origin = Origin::new(|exchange| {
        let body = String::from_utf8(exchange.body()?).unwrap();
        let answer = format!("{} {} [{body}]", exchange.method(), exchange.path());
        exchange.ok(&answer)
    });
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    assert_eq!(client.get("/a/b?c=d%20e&f").text(), "GET /a/b?c=d%20e&f []");

    client.send("HEAD /h HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.read_to("HEAD");
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));

    client.send("POST /p HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.read().text(), "POST /p [hello]");
    assert_eq!(origin.last().head.header("content-length"), Some("5"));

    client.send(
        "POST /c HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
    );
    assert_eq!(client.read().text(), "POST /c [hello]");
    assert_eq!(origin.last().head.header("transfer-encoding"), Some("chunked"));

    client.send("DELETE /d HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read().text(), "DELETE /d []");
    let lines = evenkeel.requests(5);
    assert_eq!(lines[2]["bytes_received"], 5);
    assert_eq!(lines[3]["bytes_received"], 5);
}

#[test]
fn responses_of_every_framing_pass_through() {
    let origin = Origin::new(|exchange| {
        let (bytes, then) = match exchange.path() {
            "/chunked" => {
                ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", Then::Keep)
            }
            "/length" => ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabcdefg", Then::Keep),
            "/close" => ("HTTP/1.1 200 OK\r\n\r\nabcdefg", Then::Close),
            "/close10" => ("HTTP/1.0 200 OK\r\n\r\nabcdefg", Then::Close),
            "/empty" => ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Then::Keep),
            "/204" => ("HTTP/1.1 204 No Content\r\n\r\n", Then::Keep),
            _ => ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", Then::Keep),
        };
        exchange.send(bytes)?;
        Ok(then)
    });
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    // All over one connection: a wrong framing would spoil the next.
    for path in ["/chunked", "/length", "/close", "/close10"] {
        let response = client.get(path);
        assert_eq!((response.status, response.text().as_str()), (200, "abcdefg"), "{path}");
    }
    for (path, status) in [("/empty", 200), ("/204", 204), ("/304", 304)] {
        let response = client.get(path);
        assert_eq!((response.status, response.body.len()), (status, 0), "{path}");
    }
    assert_eq!(client.get("/304").header("etag"), Some("\"x\""));
    client.send("HEAD /length HTTP/1.1\r\nHost: test\r\n\r\n");
    // This backend sends a body to HEAD, which it must not; the client must not get to see it.
    assert_eq!(client.read_to("HEAD").header("content-length"), Some("7"));
    assert_eq!(client.get("/length").text(), "abcdefg");
}

#[test]
fn http_1_0_clients_get_no_chunks_and_a_close() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")?;
        Ok(Then::Keep)
    });
    let evenkeel = before(&origin);
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"] {
        let mut client = evenkeel.client();
        let response = client.send(request).read();
        assert_eq!(response.header("transfer-encoding"), None, "{request}");
        assert_eq!(response.text(), "abcdefg", "{request}");
        assert!(client.closed());
    }
    assert_eq!(origin.last().head.word(2), "HTTP/1.1");
}

#[test]
fn http_1_0_clients_may_keep_their_connection() {
    let origin = Origin::saying("hello");
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    for _ in 0..2 {
        let response = client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").read();
        assert_eq!(response.text(), "hello");
        assert_eq!(response.header("connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
    }
    let response = client.send("GET / HTTP/1.0\r\n\r\n").read();
    assert_eq!(response.text(), "hello");
    assert!(client.closed());
}

#[test]
fn expect_100_continue_is_relayed() {
    let origin = Origin::new(|exchange| {
        if exchange.head.header("expect").is_some() {
            exchange.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let length = exchange.body()?.len();
        exchange.ok(&length.to_string())
    });
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    // The body is held back until the 100 has come.
    let interim = crate::support::Head::read(&mut client.wire).unwrap().unwrap();
    assert_eq!(interim.word(1), "100");
    assert_eq!(client.send("hello").read().text(), "5");

    if have("curl") {
        let url = format!("http://{}/", evenkeel.http());
        let data = "x".repeat(100_000);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-H", "Expect: 100-continue", "--expect100-timeout", "8", "-m", "10"]);
        let out = curl.args(["--data", &data, &url, "-w", " %{time_total}"]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let (length, seconds) = text.split_once(' ').unwrap();
        assert_eq!(length, "100000");
        // After eight seconds curl would have sent the body without the 100.
        assert!(seconds.parse::<f64>().unwrap() < 7.0, "{seconds}");
    }
}

#[test]
fn a_refusal_instead_of_100_continue_arrives_without_the_body() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
        Ok(Then::Close)
    });
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let response = client.read();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
}

#[test]
fn early_hints_are_relayed() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")?;
        exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n")?;
        exchange.ok("page")
    });
    let evenkeel = before(&origin);
    let response = evenkeel.get("/");
    let links: Vec<_> = response.interim.iter().filter_map(|head| head.header("link")).collect();
    assert_eq!(links, ["</a.css>; rel=preload", "</b.css>; rel=preload"]);
    assert_eq!((response.status, response.text().as_str()), (200, "page"));
    // A first byte is the final response's, and the request is one.
    assert_eq!(evenkeel.requests(1)[0]["status"], 200);
}

/// A backend that speaks the WebSocket handshake and then echoes bytes.
fn echo() -> Origin {
    Origin::new(|exchange| {
        if exchange.head.header("upgrade") != Some("websocket") {
            return exchange.answer("426 Upgrade Required", "");
        }
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTK9kYGzzhZRbK+xOo=\r\n\r\n",
        )?;
        let mut buffer = [0; 4096];
        loop {
            match exchange.wire.read(&mut buffer)? {
                0 => return Ok(Then::Close),
                n => exchange.send(&buffer[..n])?,
            }
        }
    })
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn a_websocket_echoes_and_outlives_every_other_timeout() {
    let origin = echo();
    let timeouts = "timeouts: { connect: 300ms, read: 300ms, write: 300ms, request: 300ms, tunnel: 60s }";
    let limits = "limits: { idle_timeout: 1s, body_timeout: 300ms, write_timeout: 300ms }\n";
    let evenkeel = Evenkeel::start(&(limits.to_owned() + &pool(&[origin.address], timeouts)));
    let mut client = evenkeel.client();
    let response = client.send(UPGRADE).read();
    assert_eq!(response.status, 101, "{}", response.text());
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTK9kYGzzhZRbK+xOo="));
    for round in 0..3 {
        let frame = vec![0x80 + round; 3000];
        client.send(&frame);
        assert_eq!(client.bytes(3000), frame);
        // Silence is the test: it is longer than every timeout above but the tunnel's.
        std::thread::sleep(Duration::from_millis(if round == 0 { 1300 } else { 100 }));
    }
    client.finish();
    assert!(client.closed());
    wait_until("the tunnel is not in flight any more", || evenkeel.backends()[0]["in_flight"] == 0);
    assert_eq!(evenkeel.requests(1)[0]["status"], 101);
}

#[test]
fn a_silent_tunnel_ends_with_its_own_timeout() {
    let origin = echo();
    let evenkeel = Evenkeel::start(&pool(&[origin.address], "timeouts: { tunnel: 300ms }"));
    let mut client = evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    let mut rest = Vec::new();
    client.wire.read_to_end(&mut rest).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[test]
fn a_tunnel_that_the_backend_cuts_is_not_made_again() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        exchange.wire.read_exact(&mut [0; 5])?;
        Ok(Then::Close)
    });
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    client.send("hello");
    let mut rest = Vec::new();
    // A reset would be as good an end.
    let _ = client.wire.read_to_end(&mut rest);
    assert_eq!(String::from_utf8_lossy(&rest), "");
    assert_eq!(evenkeel.requests(1)[0]["status"], 101);
    assert_eq!(origin.count(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::new(|exchange| {
        if exchange.path() == "/1" {
            exchange.pause(Duration::from_millis(100));
        }
        let (path, body) = (exchange.path().to_owned(), exchange.body()?.len());
        exchange.ok(&format!("{path} {body}"))
    });
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    client.send(
        "GET /1 HTTP/1.1\r\nHost: test\r\n\r\nPOST /2 HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc\
         GET /3 HTTP/1.1\r\nHost: test\r\n\r\n",
    );
    let answers: Vec<_> = (0..3).map(|_| client.read().text()).collect();
    assert_eq!(answers, ["/1 0", "/2 3", "/3 0"]);
}

#[test]
fn one_kept_connection_serves_fifty_requests() {
    let origin = Origin::saying("hello");
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "hello");
    }
    assert_eq!((origin.count(), origin.connections()), (50, 1));
    let lines = evenkeel.requests(50);
    assert_eq!(lines[0]["reused"], false);
    assert!(lines[1..].iter().all(|line| line["reused"] == true));
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
fn unix_sockets_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backend.sock");
    Origin::on_unix(&path, "from a socket");
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 'unix:DIR/front.sock' }}]\npools: {{ web: {{ backends: ['unix:{}'] }} }}\n",
        path.display()
    ));
    let front = evenkeel.dir.path().join("front.sock");
    let mut client = Client::connect_unix(&front);
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "from a socket");
    }
    let line = &evenkeel.requests(1)[0];
    assert_eq!(line["backend"], format!("unix:{}", path.display()));
    assert!(line["client"].is_null());
}

#[test]
fn routes_lead_to_their_pools() {
    let (web, api) = (Origin::saying("web"), Origin::saying("api"));
    let evenkeel = Evenkeel::start(&format!(
        "pools:\n  web: {{ backends: ['{}'] }}\n  api: {{ backends: ['{}'] }}\n\
         routes:\n  - pool: web\n  - match: {{ host: api.example.com, path_prefix: /v1 }}\n    pool: api\n\
         \x20 - match: {{ path: /health }}\n    respond: {{ status: 200, body: fine }}\n",
        web.address, api.address
    ));
    let mut client = evenkeel.client();
    for (host, path, body) in [
        ("api.example.com", "/v1/x", "api"),
        ("API.example.com:80", "/v1", "api"),
        ("api.example.com", "/v10", "web"),
        ("other", "/health", "fine"),
        ("other", "/", "web"),
    ] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.read().text(), body, "{host}{path}");
    }
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

#[test]
fn an_empty_chunked_post_stays_one() {
    let origin = Origin::saying("hello");
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(client.read().text(), "hello");
    wait_until("the body was read", || origin.last().body == Some(0));
}
