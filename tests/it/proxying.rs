//! Requests and responses of every form pass through unchanged, but for what a proxy must change.

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
    assert!(origin.seen().iter().all(|seen| seen.connection == 0));
    let lines = evenkeel.requests(50);
    assert_eq!(lines[0]["reused"], false);
    assert!(lines[1..].iter().all(|line| line["reused"] == true));
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
fn an_empty_chunked_post_stays_one() {
    let origin = Origin::saying("hello");
    let evenkeel = before(&origin);
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(client.read().text(), "hello");
    wait_until("the body was read", || origin.last().body == Some(0));
}
