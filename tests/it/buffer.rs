//! The filter `buffer`: no backend waits for a slow client.

use crate::support::evenkeel::pool;
use crate::support::http2::Http2Client;
use crate::support::http2_pool::echo;
use crate::support::{Client, Evenkeel, Origin, Then, wait_until};

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|n| b'a' + (n * 7 / 5 % 26) as u8).collect()
}

/// Says the sum of what it got.
fn summing() -> Origin {
    Origin::new(|exchange| {
        let body = exchange.body()?;
        exchange.ok(&sum(&body))
    })
}

fn sum(body: &[u8]) -> String {
    format!("{} {}", body.len(), body.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into())))
}

fn head(method: &str, length: usize, more: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n{more}\r\n")
}

/// Wait until all that was sent before has been read: a request on another connection has been answered since.
fn pass(evenkeel: &Evenkeel) {
    for _ in 0..3 {
        assert_eq!(evenkeel.get("/").status, 200);
    }
}

#[test]
fn a_backend_is_asked_when_the_body_is_here() {
    let origin = summing();
    let evenkeel = Evenkeel::start(&format!("filters: [buffer]\n{}", pool(&[origin.address], "")));
    let mut client = evenkeel.client();
    for length in [1, 1000, 65_535, 65_536, 65_537, 131_072, 131_073, 300_000, 1 << 20] {
        let (body, before) = (body(length), origin.count());
        client.send(head("POST", length, "")).send(&body[..length - 1]);
        pass(&evenkeel);
        assert_eq!(origin.count(), before + 3, "{length}: nobody has it");
        client.send(&body[length - 1..]);
        assert_eq!(client.read().text(), sum(&body), "{length}");
    }
}

#[test]
fn what_is_too_long_or_has_no_length_is_passed_on_as_it_comes() {
    let origin = summing();
    let evenkeel =
        Evenkeel::start(&format!("filters: [{{ buffer: {{ size: 10KiB }} }}]\n{}", pool(&[origin.address], "")));
    let body = body(10_241);
    let mut client = evenkeel.client();
    client.send(head("POST", body.len(), "")).send(&body[..10]);
    wait_until("it has begun", || origin.count() == 1);
    client.send(&body[10..]);
    assert_eq!(client.read().text(), sum(&body));
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    wait_until("it has begun", || origin.count() == 2);
    client.send("0\r\n\r\n");
    assert_eq!(client.read().text(), sum(b"a"));
}

/// Pingora remembers 64 KiB for another attempt: more was lost with the first.
#[test]
fn a_body_that_is_held_has_another_attempt() {
    let broken = Origin::new(|exchange| {
        exchange.body()?;
        Ok(Then::Close)
    });
    let sound = summing();
    let evenkeel = Evenkeel::start(&format!(
        "filters: [buffer]\n{}",
        pool(&[broken.address, sound.address], "retry: { budget: 100% }\nejection: off")
    ));
    for length in [10, 60_000, 500_000, 500_000, 500_000, 500_000] {
        let body = body(length);
        let mut client = evenkeel.client();
        client.send(head("PUT", body.len(), "")).send(&body);
        assert_eq!(client.read().text(), sum(&body));
    }
    assert!(broken.count() > 0);
}

#[test]
fn who_asks_whether_to_send_is_told_so() {
    let origin = summing();
    let evenkeel = Evenkeel::start(&format!("filters: [buffer]\n{}", pool(&[origin.address], "")));
    let mut client = evenkeel.client();
    for _ in 0..2 {
        client.send(head("POST", 5, "Expect: 100-continue\r\n"));
        assert_eq!(client.bytes(25), b"HTTP/1.1 100 Continue\r\n\r\n");
        let response = client.send("hello").read();
        assert_eq!((response.text(), response.interim.len()), (sum(b"hello"), 0));
        assert_eq!(origin.last().head.header("expect"), None);
    }
}

#[test]
fn over_http2_from_end_to_end() {
    let (old, new) = (summing(), echo());
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\nfilters: [buffer]\npools:\n  old: {{ backends: ['{}'] }}\n  \
         new: {{ backends: ['{}'], protocol: h2 }}\nroutes: [{{ pool: old }}, {{ match: {{ path: /new }}, pool: new }}]\n",
        old.address, new.address
    ));
    let (client, body) = (Http2Client::connect(evenkeel.http()), String::from_utf8(body(50_000)).unwrap());
    let length = body.len().to_string();
    let ask = |path: &str| client.ask(client.request("POST", path, &[("content-length", &length)]), &body).body;
    assert_eq!(ask("/"), sum(body.as_bytes()));
    assert_eq!(ask("/new"), "POST /new 50000");
    let mut plain = evenkeel.client();
    plain.send(format!("POST /new HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"));
    assert_eq!(plain.read().text(), "POST /new 50000");
}

#[test]
fn memory_is_bounded_and_given_back() {
    let origin = summing();
    let evenkeel = Evenkeel::start(&format!(
        "filters: [{{ buffer: {{ size: 100KiB, memory: 150KiB }} }}]\n{}",
        pool(&[origin.address], "")
    ));
    let body = body(100_000);
    let begin = || {
        let mut client: Client = evenkeel.client();
        client.send(head("POST", body.len(), "")).send(&body[..50_000]);
        client
    };
    let first = begin();
    pass(&evenkeel);
    assert_eq!(origin.count(), 3, "the first is held");
    let mut second = begin();
    wait_until("the second is passed on as it comes", || origin.count() == 4);
    second.send(&body[50_000..]);
    assert_eq!(second.read().text(), sum(&body));
    drop(first);
    wait_until("it has left", || evenkeel.failures("client_gone") == 1.0);
    let mut third = begin();
    pass(&evenkeel);
    assert_eq!(origin.count(), 7, "the third is held");
    third.send(&body[50_000..]);
    assert_eq!(third.read().text(), sum(&body));
}

/// It was cut off without a word, and taken for one that had left.
#[test]
fn who_pauses_for_too_long_is_told() {
    let origin = summing();
    let limits = "limits: { body_timeout: 300ms }\nfilters: [buffer]\n";
    let evenkeel = Evenkeel::start(&format!("{limits}{}", pool(&[origin.address], "")));
    for length in [100, 100_000] {
        let mut client = evenkeel.client();
        let response = client.send(head("POST", length, "")).send("beginning").read();
        assert_eq!((response.status, response.reason()), (408, "client_timeout"), "{length}");
        assert!(client.closed());
    }
    assert!(origin.seen().is_empty());
    assert_eq!(evenkeel.failures("client_timeout"), 2.0);
}
