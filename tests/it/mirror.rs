//! Mirroring: a second pool gets copies of requests, and the first notices nothing of it.

use std::net::SocketAddr;

use crate::support::http2::{Http2Client, Http2Origin};
use crate::support::pools::pools;
use crate::support::{Client, Evenkeel, Gate, Origin, Then, wait_until};

fn mirrored(main: SocketAddr, shadow: SocketAddr, more: &str) -> Evenkeel {
    let pools = pools(&[("web", main), ("shadow", shadow)]);
    let route = format!("routes: [{{ pool: web, rewrite: {{ prefix: /r }}, mirror: {{ pool: shadow{more} }} }}]\n");
    Evenkeel::start(&format!("listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n{pools}{route}"))
}

#[track_caller]
fn outcome(evenkeel: &Evenkeel, outcome: &str, n: f64) {
    let sample = format!("evenkeel_mirrors_total{{outcome=\"{outcome}\",pool=\"shadow\"}}");
    wait_until(&format!("{n} {outcome}"), || evenkeel.metric(&sample) >= n);
    assert_eq!(evenkeel.metric(&sample), n, "{outcome}");
}

fn post(client: &mut Client, body: &str) -> u16 {
    client.send(format!("POST /p HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len())).read().status
}

#[test]
fn a_second_pool_gets_the_same_request() {
    let (main, shadow) = (Origin::saying("main"), Origin::saying("shadow"));
    let evenkeel = mirrored(main.address, shadow.address, "");
    let mut client = evenkeel.client();
    let response = client.get_with("/a?b=c", "X-A: 1\r\n");
    assert_eq!((response.status, response.text()), (200, "main".to_owned()));
    outcome(&evenkeel, "answered", 1.0);
    let (ours, theirs) = (main.last().head, shadow.last().head);
    for name in ["host", "x-a", "x-forwarded-for", "x-request-id"] {
        assert!(ours.header(name).is_some(), "{name}");
        assert_eq!(ours.header(name), theirs.header(name), "{name}");
    }
    assert_eq!((theirs.word(0), theirs.word(1)), ("GET", "/r/a?b=c"));
    assert_eq!(post(&mut client, "hello"), 200);
    let chunked =
        "POST /c HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(client.send(chunked).read().status, 200);
    outcome(&evenkeel, "answered", 3.0);
    let seen = shadow.seen();
    let mut bodies: Vec<_> = seen.iter().map(|seen| (seen.head.word(1).to_owned(), seen.body)).collect();
    bodies.sort();
    let expected = [("/r/a?b=c", Some(0)), ("/r/c", Some(5)), ("/r/p", Some(5))];
    assert_eq!(bodies, expected.map(|(path, body)| (path.to_owned(), body)));
    // A copy is no request of a client's: neither in the log, nor in the pool's count.
    assert_eq!(evenkeel.requests(3).len(), 3);
    assert_eq!(evenkeel.metric("evenkeel_requests_total{code=\"2xx\",pool=\"shadow\"}"), 0.0);
    let backends = evenkeel.pools()[1]["backends"].clone();
    assert_eq!((&backends[0]["succeeded"], &backends[0]["in_flight"]), (&3.into(), &0.into()));
}

#[test]
fn by_http2_on_any_side() {
    let main = Origin::saying("main");
    let shadow = Http2Origin::new(|mut call| async move {
        let (body, _) = call.read().await;
        call.say(&String::from_utf8(body).unwrap(), &[]);
    });
    let pools = pools(&[("web", main.address), ("shadow", shadow.address)]);
    let pools = pools.replace("  shadow:", "  shadow:\n    protocol: h2");
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n{pools}routes: [{{ pool: web, mirror: {{ pool: shadow }} }}]\n"
    ));
    assert_eq!(evenkeel.get("/one").status, 200);
    let http2 = Http2Client::connect(evenkeel.http());
    assert_eq!(http2.get("/two").head.status, 200);
    outcome(&evenkeel, "answered", 2.0);
    assert_eq!(http2.ask(http2.request("POST", "/three", &[]), "hello").head.status, 200);
    outcome(&evenkeel, "answered", 3.0);
    let last = shadow.last();
    assert_eq!((last.uri.path(), &last.headers["content-length"]), ("/three", &"5".parse().unwrap()));
    assert_eq!(
        last.uri.authority().unwrap().as_str(),
        evenkeel.http().to_string(),
        "the host as the client has sent it"
    );
}

/// However many requests there are, what hangs holds no more than it may, and nobody waits for it.
#[test]
fn a_mirror_that_hangs_holds_up_nobody() {
    let (main, shadow) = (Origin::saying("main"), Origin::new(|exchange| exchange.hang()));
    let evenkeel = mirrored(main.address, shadow.address, ", max_in_flight: 2");
    let mut client = evenkeel.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "main");
    }
    assert_eq!(post(&mut client, "hello"), 200);
    wait_until("two copies hang", || shadow.count() == 2);
    outcome(&evenkeel, "dropped", 4.0);
    let lines = evenkeel.requests(6);
    assert!(lines.iter().all(|line| line["status"] == 200 && line["reason"].is_null()), "{lines:?}");
    shadow.cut();
    outcome(&evenkeel, "failed", 2.0);
    assert_eq!(client.get("/").text(), "main");
    wait_until("there is room again", || shadow.count() == 3);
}

#[test]
fn a_mirror_that_refuses_fails_nothing() {
    let (main, mut shadow) = (Origin::saying("main"), Origin::saying("shadow"));
    shadow.stop();
    let evenkeel = mirrored(main.address, shadow.address, "");
    let mut client = evenkeel.client();
    assert_eq!((client.get("/").text(), post(&mut client, "hello")), ("main".to_owned(), 200));
    outcome(&evenkeel, "failed", 2.0);
    shadow.restart();
    assert_eq!(client.get("/").text(), "main");
    outcome(&evenkeel, "answered", 1.0);
}

/// The backend that is asked has an answer long before the mirror has; the client has it, too, and the copy goes on without it.
#[test]
fn a_copy_outlives_its_request() {
    let (main, (shadow, gate)) = (Origin::saying("main"), Gate::holding("shadow"));
    let evenkeel = mirrored(main.address, shadow.address, "");
    assert_eq!(evenkeel.get("/hold").text(), "main");
    assert_eq!(evenkeel.requests(1)[0]["status"], 200);
    gate.holds(1);
    gate.open();
    outcome(&evenkeel, "answered", 1.0);
}

#[test]
fn what_is_too_large_or_breaks_off_is_not_mirrored() {
    let (main, shadow) = (Origin::saying("main"), Origin::saying("shadow"));
    let evenkeel = mirrored(main.address, shadow.address, ", max_body_size: 100B");
    let mut client = evenkeel.client();
    assert_eq!(post(&mut client, &"x".repeat(100)), 200);
    outcome(&evenkeel, "answered", 1.0);
    assert_eq!(post(&mut client, &"x".repeat(101)), 200);
    outcome(&evenkeel, "too_large", 1.0);
    let chunk = "x".repeat(60);
    let chunked = format!(
        "POST /c HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3c\r\n{chunk}\r\n3c\r\n{chunk}\r\n0\r\n\r\n"
    );
    assert_eq!(client.send(chunked).read().status, 200);
    outcome(&evenkeel, "too_large", 2.0);
    let mut gone = evenkeel.client();
    gone.send("POST /g HTTP/1.1\r\nHost: test\r\nContent-Length: 50\r\n\r\nhello");
    drop(gone);
    outcome(&evenkeel, "incomplete", 1.0);
    assert_eq!(shadow.count(), 1);
}

/// The body of a request that is sent to a second backend comes from memory: the copy must not have it twice.
#[test]
fn a_retry_does_not_double_the_body() {
    let (main, shadow) = (Origin::saying("main"), Origin::saying("shadow"));
    let broken = Origin::new(|exchange| {
        exchange.body()?;
        exchange.answer("503 Service Unavailable", "")
    });
    let text = format!(
        "pools:\n  web: {{ backends: ['{}', '{}'], health_check: off, ejection: off, retry: {{ on: [503], budget: off }} }}\n  \
         shadow: {{ backends: ['{}'], health_check: off }}\nroutes: [{{ pool: web, mirror: {{ pool: shadow }} }}]\n",
        broken.address, main.address, shadow.address
    );
    let evenkeel = Evenkeel::start(&text);
    let mut client = evenkeel.client();
    for _ in 0..4 {
        let put = "PUT /p HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(client.send(put).read().text(), "main");
    }
    assert!(broken.count() > 0);
    outcome(&evenkeel, "answered", 4.0);
    assert!(shadow.seen().iter().all(|seen| seen.body == Some(5)), "{:?}", shadow.seen());
}

#[test]
fn a_part_of_the_requests() {
    let (main, shadow) = (Origin::saying("main"), Origin::saying("shadow"));
    let evenkeel = mirrored(main.address, shadow.address, ", percent: 50%, max_in_flight: 10000");
    let mut client = evenkeel.client();
    for _ in 0..200 {
        assert_eq!(client.get("/").status, 200);
    }
    wait_until("some are copied", || shadow.count() > 50);
    assert!(shadow.count() < 150, "{}", shadow.count());
}

/// A backend may close a connection as the next copy is on its way: that is made once more, as any request is.
#[test]
fn a_copy_on_a_stale_connection_is_sent_again() {
    let main = Origin::saying("main");
    let shadow = Origin::new(|exchange| match exchange.head.header("x-n") {
        Some("2") if exchange.connection == 0 => Ok(Then::Close),
        _ => exchange.ok("shadow"),
    });
    let evenkeel = mirrored(main.address, shadow.address, "");
    let mut client = evenkeel.client();
    for n in 1..=3 {
        assert_eq!(client.get_with("/", &format!("X-N: {n}\r\n")).status, 200);
        outcome(&evenkeel, "answered", f64::from(n));
    }
    assert_eq!(shadow.connections(), 3, "one was closed, one was made for the copy alone");
}
