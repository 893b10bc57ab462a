//! `rate_limit` over sockets: who is counted with whom, and what clients are told.

use std::thread;

use crate::support::evenkeel::{check_filter, pool};
use crate::support::http2::Http2Client;
use crate::support::{Evenkeel, Origin, Response};

/// One a minute: what a bucket holds is all that there is while a test runs.
fn limited(options: &str, origin: &Origin) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\ntrusted_proxies: [127.0.0.1]\n{}\
         routes: [{{ pool: web, filters: [{{ rate_limit: {{ {options} }} }}] }}, {{ match: {{ path: /free }}, pool: web }}]\n",
        pool(&[origin.address], "")
    )
}

fn told(response: &Response) -> [&str; 3] {
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| response.header(name).unwrap_or_default())
}

/// How many of `n` requests with these headers come through.
fn passing(evenkeel: &Evenkeel, headers: &str, n: usize) -> usize {
    let mut client = evenkeel.client();
    (0..n).filter(|_| client.get_with("/", headers).status == 200).count()
}

#[test]
fn who_asks_too_often_is_refused_and_told_when_to_come_back() {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&limited("rate: 2/h", &origin));
    let mut client = evenkeel.client();
    let first = client.get("/");
    assert_eq!((first.status, told(&first)), (200, ["2", "1", "1800"]));
    assert_eq!(told(&client.get("/")), ["2", "0", "3600"]);
    let refused = client.get("/");
    assert_eq!((refused.status, refused.reason()), (429, "rate_limited"));
    assert_eq!((told(&refused), refused.header("retry-after")), (["2", "0", "3600"], Some("1800")));
    // On the same connection, for another.
    assert_eq!(client.get_with("/", "X-Forwarded-For: 192.0.2.9\r\n").status, 200);
    assert_eq!((client.get("/free").status, told(&client.get("/free"))), (200, ["", "", ""]));
    assert_eq!(evenkeel.failures("rate_limited"), 1.0);
    assert_eq!(evenkeel.requests(6)[2]["reason"], "rate_limited");
    assert_eq!(origin.count(), 5, "who is refused reaches nobody");
}

#[test]
fn a_client_is_an_address_or_a_network_of_ipv6() {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&limited("rate: 60/h, burst: 3", &origin));
    let of = |client: &str, n| passing(&evenkeel, &format!("X-Forwarded-For: {client}\r\n"), n);
    assert_eq!(of("192.0.2.1", 5), 3);
    assert_eq!(of("192.0.2.2", 2), 2);
    assert_eq!(of("::ffff:192.0.2.2", 2), 1, "the same in another form");
    assert_eq!(of("2001:db8:0:1::1", 2), 2);
    assert_eq!(of("2001:db8:0:1:ffff::2", 2), 1, "a neighbour in the same network");
    assert_eq!(of("2001:db8:0:2::1", 5), 3);
}

#[test]
fn a_key_is_the_first_part_that_a_request_has() {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&limited("key: [{ header: X-User }, { cookie: sid }], rate: 2/h", &origin));
    assert_eq!(passing(&evenkeel, "X-User: ann\r\nCookie: sid=1\r\n", 3), 2);
    assert_eq!(passing(&evenkeel, "X-User: bob\r\nCookie: sid=1\r\n", 3), 2);
    assert_eq!(passing(&evenkeel, "Cookie: sid=1\r\n", 3), 2);
    assert_eq!(passing(&evenkeel, "Cookie: other=1\r\n", 9), 9, "who has none is not counted");
    assert_eq!(told(&evenkeel.get("/")), ["", "", ""]);
    let http2 = Http2Client::connect(evenkeel.http());
    let crumbs = || http2.request("GET", "/", &[("cookie", "a=1"), ("cookie", "sid=2")]);
    let statuses = [(); 3].map(|()| http2.ask(crumbs(), "").head.status.as_u16());
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn a_route_is_counted_as_one() {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&limited("key: route, rate: 1/h, burst: 20, headers: false", &origin));
    let threads: Vec<_> = (0..4_u8)
        .map(|n| {
            let mut client = evenkeel.client();
            let headers = format!("X-Forwarded-For: 192.0.2.{n}\r\n");
            thread::spawn(move || (0..10).filter(|_| client.get_with("/", &headers).status == 200).count())
        })
        .collect();
    let passed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(passed, 20);
    assert_eq!(told(&evenkeel.get("/")), ["", "", ""]);
}

#[test]
fn tokens_come_back() {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&limited("rate: 20/s, burst: 1", &origin));
    let mut client = evenkeel.client();
    assert_eq!(client.get("/").status, 200);
    crate::support::wait_until("there is one more", || client.get("/").status == 200);
}

/// A reload forgets nobody, unless what is allowed changes.
#[test]
fn a_reload_counts_on() {
    let origin = Origin::saying("in");
    let yaml = limited("rate: 2/h", &origin);
    let evenkeel = Evenkeel::start(&yaml);
    assert_eq!(passing(&evenkeel, "", 3), 2);
    evenkeel.reload(&(yaml + "stop_delay: 1ms\n"));
    assert_eq!(passing(&evenkeel, "", 3), 0);
    evenkeel.reload(&limited("rate: 3/h", &origin));
    assert_eq!(passing(&evenkeel, "", 9), 3);
}

/// The limit of the whole and that of a route: the narrower is told, and a refusal by one takes nothing of the other's.
#[test]
fn of_two_limits_the_narrower_is_told() {
    let origin = Origin::saying("in");
    let outer = "filters: [{ rate_limit: { key: route, rate: 100/h } }]\n";
    let evenkeel = Evenkeel::start(&(outer.to_owned() + &limited("rate: 2/h", &origin)));
    let mut client = evenkeel.client();
    assert_eq!(told(&client.get("/")), ["2", "1", "1800"]);
    assert_eq!(told(&client.get("/free"))[..2], ["100", "98"]);
}

#[test]
fn a_call_of_grpc_is_told_in_its_own_words() {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&limited("rate: 1/h", &origin));
    let http2 = Http2Client::connect(evenkeel.http());
    let call = || http2.request("POST", "/a.B/C", &[("content-type", "application/grpc"), ("te", "trailers")]);
    http2.ask(call(), "\0\0\0\0\0");
    let refused = http2.ask(call(), "\0\0\0\0\0");
    assert_eq!((refused.head.status.as_u16(), refused.header("grpc-status")), (200, "8"));
    assert_eq!((refused.header("grpc-message"), refused.header("retry-after")), ("rate_limited", "3600"));
}

#[test]
fn its_mistakes_have_their_place() {
    for (filter, message) in [
        ("rate_limit", "3:5: filters[0].rate_limit: needs 'rate'"),
        (
            "rate_limit: { rate: 100 }",
            "3:25: filters[0].rate_limit.rate: must be a number of requests, 1 to 1000000, in a time: 100/s, 100/m or 100/h",
        ),
        ("rate_limit: { rate: 1/s, burst: 0 }", "3:37: filters[0].rate_limit.burst: must be 1 to 1000000, got 0"),
        ("rate_limit: { rate: 1/s, max_keys: 0 }", "filters[0].rate_limit.max_keys: must be 1 to 10000000, got 0"),
        (
            "rate_limit: { rate: 1/s, key: client }",
            "3:35: filters[0].rate_limit.key: must be client_ip, path, { header: NAME }, { cookie: NAME } or { query: NAME }, \
             or a list of these (or route, which counts all requests together)",
        ),
        ("rate_limit: { rates: 1/s }", "3:19: filters[0].rate_limit.rates: unknown key, did you mean 'rate'?"),
    ] {
        let said = check_filter(filter);
        assert!(said.contains(message), "{filter}: {said}");
    }
}
