//! `limits`: what a client may ask for, and how long it may take.

use std::time::{Duration, Instant};

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, LIMIT, Origin, wait_until};

fn limited(limits: &str) -> (Origin, Evenkeel) {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&format!("limits: {{ {limits} }}\n{}", pool(&[origin.address], "")));
    (origin, evenkeel)
}

/// It is refused with that, the connection is closed, and the metric and the log say so too.
#[track_caller]
fn refused(evenkeel: &Evenkeel, client: &mut Client, status: u16, reason: &str) {
    let response = client.read();
    assert_eq!((response.status, response.reason()), (status, reason));
    assert_eq!(response.header("connection"), Some("close"));
    assert!(response.text().contains(reason), "{}", response.text());
    assert!(client.closed());
    wait_until("it is counted", || evenkeel.failures(reason) == 1.0);
    let line = evenkeel.requests(1).remove(0);
    assert_eq!((&line["status"], &line["reason"]), (&status.into(), &reason.into()), "{line}");
    assert_eq!(line["client"], "127.0.0.1");
}

#[test]
fn a_header_that_trickles_ends_when_its_time_is_up() {
    let (origin, evenkeel) = limited("header_timeout: 600ms, idle_timeout: 60s");
    let mut client = evenkeel.client();
    assert_eq!(client.get("/").text(), "hello");
    let began = Instant::now();
    // Never a pause that would be long.
    for byte in b"GET / HTTP/1.1\r\nHost: test\r\nX-Slow: 0123456789".iter().chain(b"0123456789".iter().cycle()) {
        if client.try_send([*byte]).is_err() || began.elapsed() > Duration::from_millis(900) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let response = client.read();
    assert_eq!((response.status, response.reason()), (408, "client_timeout"));
    assert!(client.closed());
    assert!(began.elapsed() >= Duration::from_millis(600));
    assert_eq!(origin.count(), 1);
    let line = evenkeel.requests(2).remove(1);
    assert_eq!((&line["status"], &line["path"]), (&408.into(), &"/".into()), "{line}");
}

#[test]
fn who_says_nothing_is_let_go_in_silence() {
    let (_origin, evenkeel) = limited("idle_timeout: 300ms, header_timeout: 60s");
    let (mut first, mut kept) = (evenkeel.client(), evenkeel.client());
    assert_eq!(kept.get("/").text(), "hello");
    let began = Instant::now();
    assert!(first.closed() && kept.closed());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(evenkeel.failures("client_timeout"), 0.0);
    assert_eq!(evenkeel.requests(1).len(), 1, "silence is no request");
}

/// It never pauses for as long as it may, and is too slow all the same.
#[test]
fn a_body_that_trickles_ends_when_it_was_waited_for_long_enough() {
    let (_origin, evenkeel) = limited("min_body_rate: 1MiB, body_timeout: 400ms");
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n");
    let began = Instant::now();
    while began.elapsed() < LIMIT && client.try_send("x").is_ok() && evenkeel.failures("client_timeout") == 0.0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() >= Duration::from_millis(400));
    let response = client.read();
    assert_eq!((response.status, response.reason()), (408, "client_timeout"));
}

/// What the backend does not take is not the client's fault.
#[test]
fn a_body_is_not_too_slow_because_the_backend_is() {
    let origin = Origin::new(|exchange| {
        exchange.pause(Duration::from_millis(900));
        let body = exchange.body()?;
        exchange.ok(&body.len().to_string())
    });
    let limits = "limits: { min_body_rate: 1GiB, body_timeout: 600ms }\n";
    let evenkeel = Evenkeel::start(&(limits.to_owned() + &pool(&[origin.address], "")));
    let size = 16 << 20;
    let mut client = evenkeel.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"));
    client.send(vec![b'x'; size]);
    assert_eq!(client.read().text(), size.to_string());
}

#[test]
fn a_header_has_a_size() {
    let (origin, evenkeel) = limited("max_header_size: 4KiB, max_uri_size: 1KiB");
    let mut client = evenkeel.client();
    let _ = client.try_send(format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(4096)));
    refused(&evenkeel, &mut client, 431, "header_too_large");
    let fits = format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(4000));
    assert_eq!(evenkeel.client().send(fits).read().text(), "hello");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_header_has_so_many_fields() {
    let (origin, evenkeel) = limited("max_headers: 10");
    let fields = |n: usize| format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: y\r\n".repeat(n - 1));
    let mut client = evenkeel.client();
    client.send(fields(11));
    refused(&evenkeel, &mut client, 431, "header_too_large");
    assert_eq!(evenkeel.client().send(fields(10)).read().text(), "hello");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_target_has_a_length() {
    let (origin, evenkeel) = limited("max_uri_size: 100B");
    let mut client = evenkeel.client();
    client.send(format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(100)));
    refused(&evenkeel, &mut client, 414, "uri_too_long");
    assert_eq!(evenkeel.get(&format!("/{}", "x".repeat(99))).text(), "hello");
    assert_eq!(origin.count(), 1);
}

#[test]
fn there_are_so_many_connections() {
    let (_origin, evenkeel) = limited("max_connections: 3");
    let mut clients: Vec<_> = (0..3).map(|_| evenkeel.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "hello");
    }
    let mut more = evenkeel.client();
    let response = more.read();
    assert_eq!((response.status, response.reason()), (503, "too_many_connections"));
    assert!(more.closed());
    wait_until("it is counted", || evenkeel.failures("too_many_connections") == 1.0);
    drop(clients.pop());
    wait_until("there is room again", || evenkeel.client().try_get("/").is_ok_and(|answer| answer.status == 200));
    assert_eq!(clients[0].get("/").text(), "hello");
}

#[test]
fn a_client_has_so_many_connections_and_a_trusted_proxy_any_number() {
    let (origin, evenkeel) = limited("max_connections_per_ip: 2");
    let (mut first, mut second) = (evenkeel.client(), evenkeel.client());
    assert_eq!(first.get("/").text(), "hello");
    assert_eq!(second.get("/").text(), "hello");
    let response = evenkeel.client().read();
    assert_eq!((response.status, response.reason()), (503, "too_many_connections_per_ip"));
    drop(first);
    wait_until("there is room again", || evenkeel.client().try_get("/").is_ok_and(|answer| answer.status == 200));

    let trusted = "limits: { max_connections_per_ip: 2 }\ntrusted_proxies: [127.0.0.1]\n";
    let evenkeel = Evenkeel::start(&format!("{trusted}{}", pool(&[origin.address], "")));
    let mut clients: Vec<_> = (0..5).map(|_| evenkeel.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "hello"));
}

#[test]
fn a_connection_serves_so_many_requests() {
    let (_origin, evenkeel) = limited("max_requests_per_connection: 3");
    let mut client = evenkeel.client();
    let closes: Vec<_> = (0..3).map(|_| client.get("/").header("connection").map(str::to_owned)).collect();
    assert_eq!(closes[..2].iter().flatten().filter(|value| *value == "close").count(), 0, "{closes:?}");
    assert_eq!(closes[2].as_deref(), Some("close"));
    assert!(client.closed());
}

/// A hundred at once, in one write and in pieces: each is answered, in order, and none is part of another.
#[test]
fn pipelined_requests_are_all_answered_in_order() {
    let origin = Origin::new(|exchange| {
        let body = exchange.body()?;
        let text = format!("{} {}", exchange.path(), String::from_utf8_lossy(&body));
        exchange.ok(&text)
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let request = |n: usize| match n % 3 {
        0 => format!("GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n"),
        1 => format!("POST /{n} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nb{n:03}"),
        _ => format!(
            "POST /{n} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nb{}\r\n2;x\r\n{:02}\r\n0\r\nT: u\r\n\r\n",
            n / 100,
            n % 100
        ),
    };
    let all: String = (0..100).map(request).collect();
    for piece in [all.len(), 1000, 7] {
        let mut client = evenkeel.client();
        for piece in all.as_bytes().chunks(piece) {
            client.send(piece);
        }
        for n in 0..100 {
            let body = if n % 3 == 0 { String::new() } else { format!("b{n:03}") };
            assert_eq!(client.read().text(), format!("/{n} {body}"));
        }
    }
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
}

/// A shell's limit is 1024; a process that runs out of files fails the requests that it has.
#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
    let (_origin, evenkeel) = limited("max_connections: off");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", evenkeel.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{line}");
}
