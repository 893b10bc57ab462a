//! How health checks are run: shared, spread, bounded, at their own intervals; and what they can ask.

use std::collections::HashSet;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::evenkeel::pool;
use crate::support::tls::{have_openssl, self_signed};
use crate::support::{Evenkeel, Head, Origin, wait_until};

/// Two pools, `web` and `api`, of the same backend.
fn two(backend: SocketAddr, web: &str, api: &str) -> String {
    format!(
        "pools:\n  web: {{ backends: [\"{backend}\"], health_check: {{ {web} }} }}\n  \
         api: {{ backends: [\"{backend}\"], health_check: {{ {api} }} }}\nroutes: [{{ pool: web }}]\n"
    )
}

fn first(pool: &Value) -> &Value {
    &pool["backends"][0]
}

fn number(backend: &Value, key: &str) -> u64 {
    backend[key].as_u64().unwrap()
}

#[test]
fn pools_with_the_same_check_share_its_probes() {
    let sick = Arc::new(AtomicBool::new(false));
    let is_sick = Arc::clone(&sick);
    let origin = Origin::new(move |exchange| match is_sick.load(SeqCst) {
        true => exchange.answer("500 Sick", ""),
        false => exchange.ok("well"),
    });
    let check = "http: { path: /healthz }, interval: 200ms, timeout: 190ms, rise: 1";
    let evenkeel = Evenkeel::start(&two(origin.address, &format!("{check}, fall: 1"), &format!("{check}, fall: 9")));
    wait_until("ten probes", || origin.probes().len() >= 10);
    // The probes first: more may come while the page is read.
    let probes = origin.probes().len() as u64;
    let pools = evenkeel.pools();
    let (web, api) = (first(&pools[0]), first(&pools[1]));
    assert!(number(web, "probes_passed").abs_diff(number(api, "probes_passed")) <= 1, "{web} {api}");
    assert!(number(web, "probes_passed") + 1 >= probes, "{probes} probes at the backend, {web}");
    assert!(number(web, "probes_sent") - number(web, "probes_passed") <= 1, "{web}");
    sick.store(true, SeqCst);
    wait_until("web has it out", || first(&evenkeel.pools()[0])["state"] == "unhealthy");
    assert_eq!(first(&evenkeel.pools()[1])["state"], "healthy", "its own fall is 9");
    wait_until("api has it out", || first(&evenkeel.pools()[1])["state"] == "unhealthy");
    evenkeel.logged("pool web: backend", 2);
    evenkeel.logged("became unhealthy: 9 probes failed in a row, the last: status 500", 1);
}

#[test]
fn pools_with_different_checks_have_each_their_own() {
    let origin = Origin::new(|exchange| match exchange.path() {
        "/web" => exchange.answer("500 Sick", ""),
        _ => exchange.ok("well"),
    });
    let check = |path: &str| format!("http: {{ path: {path} }}, interval: 200ms, timeout: 190ms");
    let evenkeel = Evenkeel::start(&two(origin.address, &check("/web"), &check("/api")));
    let pools = evenkeel.pools();
    assert_eq!((&first(&pools[0])["state"], &first(&pools[1])["state"]), (&"unhealthy".into(), &"healthy".into()));
    wait_until("ten probes", || origin.probes().len() >= 10);
    let of = |path: &str| origin.probes().iter().filter(|seen| seen.head.word(1) == path).count();
    assert!(of("/web").abs_diff(of("/api")) <= 2, "{} {}", of("/web"), of("/api"));
}

#[test]
fn an_unhealthy_backend_is_probed_at_its_own_interval() {
    let origin = Origin::new(|exchange| exchange.answer("500 Sick", ""));
    let check = "health_check: { http: {}, interval: 60s, unhealthy_interval: 100ms, timeout: 90ms }";
    let evenkeel = Evenkeel::start(&pool(&[origin.address], check));
    let took = wait_until("eleven probes", || origin.probes().len() >= 11);
    assert!((Duration::from_millis(800)..Duration::from_secs(3)).contains(&took), "{took:?}");
    assert_eq!(evenkeel.backends()[0]["state"], "unhealthy");
}

/// A port at which every address of 127.0.0.0/8 answers, slowly, and which remembers who came when and how many there were.
#[derive(Default)]
struct Many {
    now: AtomicUsize,
    most: AtomicUsize,
    came: Mutex<Vec<(SocketAddr, Instant)>>,
}

impl Many {
    fn listen() -> (Arc<Many>, u16) {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let many = Arc::new(Many::default());
        let shared = Arc::clone(&many);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, many) = (stream.unwrap(), Arc::clone(&shared));
                many.came.lock().unwrap().push((stream.local_addr().unwrap(), Instant::now()));
                many.most.fetch_max(many.now.fetch_add(1, SeqCst) + 1, SeqCst);
                std::thread::spawn(move || {
                    let mut wire = BufReader::new(stream);
                    let _ = Head::read(&mut wire);
                    std::thread::sleep(Duration::from_millis(20));
                    many.now.fetch_sub(1, SeqCst);
                    let _ = wire.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                });
            }
        });
        (many, port)
    }
}

/// A process with a thousand of these backends, all probed once, and how many probes there were by then.
fn thousand(many: &Many, port: u16, times: &str) -> (Evenkeel, usize) {
    let backend = |i: u16| SocketAddr::from(([127, 1, (i / 250) as u8, (i % 250) as u8 + 1], port));
    let backends: Vec<SocketAddr> = (0..1000).map(backend).collect();
    let evenkeel = Evenkeel::start(&pool(&backends, &format!("health_check: {{ http: {{}}, {times} }}")));
    (evenkeel, many.came.lock().unwrap().len())
}

#[test]
fn a_thousand_first_probes_are_no_burst() {
    let (many, port) = Many::listen();
    let began = Instant::now();
    // No second probe comes in between.
    let (evenkeel, count) = thousand(&many, port, "interval: 30d");
    let most = many.most.load(SeqCst);
    println!("{count} first probes within {:?}, at most {most} at once", began.elapsed());
    assert_eq!((count, evenkeel.admitted()), (1000, 1000));
    assert!((32..=64).contains(&most), "{most} at once");
}

#[test]
fn a_thousand_backends_have_each_their_moment() {
    let (many, port) = Many::listen();
    let (_evenkeel, before) = thousand(&many, port, "interval: 4s, timeout: 3s");
    wait_until("a round more", || many.came.lock().unwrap().len() >= before + 1000);
    let came = many.came.lock().unwrap()[before..before + 1000].to_vec();
    let window = Duration::from_secs(4) / 20;
    let within = |from: usize| came[from..].iter().take_while(|(_, at)| *at - came[from].1 <= window).count();
    let busiest = (0..came.len()).map(within).max().unwrap();
    println!("the busiest twentieth of an interval: {busiest} of 1000");
    // 50 on average, 75 by chance; a busy machine brings what is of one twentieth into the next.
    assert!(busiest <= 300, "{busiest}");
    let different: HashSet<SocketAddr> = came.iter().map(|(who, _)| *who).collect();
    assert!(different.len() >= 900, "{} different ones in a round", different.len());
}

#[test]
fn a_request_is_sent_as_it_is_written() {
    let origin = Origin::new(|exchange| {
        let body = exchange.body()?;
        exchange.ok(&format!("{} bytes", body.len()))
    });
    let http = "path: '/check?deep=1', send: '{\"a\": 1}', body: '^8 bytes$', \
                headers: { Content-Type: application/json, User-Agent: 'mine, a health check', X-Empty: '' }";
    let check = format!("health_check: {{ http: {{ {http} }}, interval: 10s, timeout: 5s }}");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], &check));
    assert_eq!(evenkeel.backends()[0]["state"], "healthy", "{}", evenkeel.backends()[0]);
    let head = origin.probes().pop().unwrap().head;
    assert_eq!(head.start, "POST /check?deep=1 HTTP/1.1");
    let expected = [
        ("content-type", "application/json"),
        ("user-agent", "mine, a health check"),
        ("x-empty", ""),
        ("content-length", "8"),
        ("connection", "close"),
    ];
    for (name, value) in expected {
        assert_eq!(head.all(name), [value], "{name}");
    }
}

#[test]
fn so_much_of_a_body_is_looked_at() {
    let origin = Origin::new(|exchange| exchange.ok(&format!("{}end", "x".repeat(100_000))));
    for (max_body, reason) in [("64KiB", "UnexpectedBody: 65536 bytes do not match"), ("1MiB", "")] {
        let http = format!("body: 'end$', max_body: {max_body}");
        let check = format!("health_check: {{ http: {{ {http} }}, interval: 10s, timeout: 5s }}");
        let evenkeel = Evenkeel::start(&pool(&[origin.address], &check));
        assert_eq!(evenkeel.backends()[0]["reason"].as_str().unwrap_or_default(), reason, "{max_body}");
    }
}

/// The state and the reason after one probe.
fn once(backend: SocketAddr, http: &str) -> String {
    let check = format!("health_check: {{ http: {{ {http} }}, interval: 10s, timeout: 5s }}");
    let backend = Evenkeel::start(&pool(&[backend], &check)).backends()[0].clone();
    format!("{} {}", backend["state"].as_str().unwrap(), backend["reason"].as_str().unwrap_or_default())
}

#[test]
fn over_tls_and_in_either_version() {
    if !have_openssl() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(&dir);
    // Another one of us is what is asked: with TLS, and in HTTP/2 without.
    let routes = "routes:\n  - match: { host: localhost, path: /well }\n    respond: { body: \"I am well\" }\n  \
                  - match: { path: /any }\n    respond: {}\n  - respond: { status: 503 }\n";
    let backend = Evenkeel::start(&format!(
        "listeners:\n  - address: 127.0.0.1:0\n    tls: {{ certificates: [{{ certificate: {certificate}, key: {key} }}] }}\n  \
         - {{ address: 127.0.0.1:0, h2c: true }}\n{}{routes}",
        pool(&[SocketAddr::from(([127, 0, 0, 1], 1))], "health_check: off")
    ));
    let (tls, h2c) = (backend.listeners[0], backend.listeners[1]);
    let ca = format!("ca: {certificate}");
    for protocol in ["h1", "h2"] {
        let asked = |host: &str, tls: &str| format!("protocol: {protocol}, {host}tls: {{ {tls} }}");
        let well = "host: localhost, path: /well, body: '^I am well$', ";
        assert_eq!(once(tls, &asked(well, &ca)), "healthy ", "{protocol}");
        assert_eq!(once(tls, &asked("host: localhost, ", &ca)), "unhealthy status 503", "{protocol}");
        assert_eq!(once(tls, &asked("path: /any, ", "insecure_skip_verify: true")), "healthy ", "{protocol}");
        let other = once(tls, &asked("host: other, ", &ca));
        assert!(other.contains("certificate not valid for name \"other\""), "{protocol}: {other}");
        let unknown = once(tls, &asked(well, ""));
        assert!(unknown.starts_with("unhealthy TLSHandshakeFailure: invalid peer certificate"), "{unknown}");
    }
    assert_eq!(once(h2c, "protocol: h2, host: localhost, path: /well, send: x, body: well"), "healthy ");
    let plain = Origin::saying("hello");
    let wrong = once(plain.address, "protocol: h2");
    assert!(wrong.starts_with("unhealthy H2Error"), "{wrong}");
}

#[test]
fn probes_are_measured() {
    let origin = Origin::saying("hello");
    let check = "health_check: { http: {}, interval: 100ms, timeout: 90ms }";
    let evenkeel = Evenkeel::start(&pool(&[origin.address], check));
    let sample = |name: &str| evenkeel.metric(&format!("{name}{{backend=\"{}\",pool=\"web\"}}", origin.address));
    wait_until("some probes", || sample("evenkeel_health_checks_sent_total") >= 5.0);
    let late = sample("evenkeel_health_check_lateness_seconds");
    assert!(late > 0.0 && late < 2.0, "{late}");
    let text = evenkeel.page("/metrics").text();
    assert!(text.contains("evenkeel_health_check_overdue{"), "it is there from the start");
    assert_eq!(sample("evenkeel_health_check_overdue"), 0.0);
    assert_eq!(evenkeel.page("/readyz").text(), "ready\n");
    let without = Evenkeel::start(&pool(&[origin.address], "health_check: off"));
    assert!(!without.page("/metrics").text().contains("evenkeel_health_check_overdue{"));
}
