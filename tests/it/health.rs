//! Active health checks: who is admitted, since when, and why not.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, Then, have, signal, wait_until};

/// A backend whose `/healthz` answers with a status that can be changed; 0 hangs.
fn switched() -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let shown = Arc::clone(&status);
    let origin = Origin::new(move |exchange| match (exchange.path(), shown.load(SeqCst)) {
        ("/healthz", 0) => exchange.hang(),
        ("/healthz", status) => exchange.answer(&format!("{status} Some"), "health: fine"),
        _ => exchange.ok("hello"),
    });
    (origin, status)
}

fn http(more: &str) -> String {
    format!("health_check: {{ http: {{ path: /healthz }}, interval: 100ms, timeout: 80ms, {more} }}")
}

/// Of the backend, which is there a moment after the admin address is.
fn state(evenkeel: &Evenkeel) -> String {
    evenkeel.backends().first().map_or("not there", |backend| backend["state"].as_str().unwrap()).to_owned()
}

#[track_caller]
fn becomes(evenkeel: &Evenkeel, expected: &str) {
    wait_until(&format!("the backend is {expected}"), || state(evenkeel) == expected);
}

#[test]
fn an_unprobed_backend_gets_no_traffic_and_readiness_waits() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let origin = Origin::new(move |exchange| {
        while exchange.path() == "/healthz" && !gate.load(SeqCst) {
            exchange.pause(Duration::from_millis(5));
        }
        exchange.ok("hello")
    });
    let check = "health_check: { http: { path: /healthz }, interval: 10s, timeout: 8s }";
    let evenkeel = Evenkeel::start_unready(&pool(&[origin.address], check));
    wait_until("the probe is at the backend", || origin.probes().len() == 1);
    let ready = evenkeel.page("/readyz");
    assert_eq!((ready.status, evenkeel.page("/healthz").status), (503, 200));
    assert!(ready.text().starts_with("starting"), "{}", ready.text());
    let backend = evenkeel.backends()[0].clone();
    assert_eq!((&backend["state"], &backend["admitted"]), (&"unprobed".into(), &false.into()));
    assert!(backend["last_probe_age_seconds"].is_null());
    // A client that comes now waits, or is told that nobody is there; the backend does not see it.
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(origin.count(), 0);
    open.store(true, SeqCst);
    wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
    assert_eq!(client.read().text(), "hello");
    evenkeel.logged("is healthy: first probe passed", 1);
}

#[test]
fn a_first_probe_that_fails_decides_alone() {
    let (origin, status) = switched();
    status.store(500, SeqCst);
    let evenkeel = Evenkeel::start(&pool(&[origin.address], &http("rise: 2, fall: 3")));
    assert_eq!((state(&evenkeel).as_str(), evenkeel.get("/").status), ("unhealthy", 503));
    assert_eq!(evenkeel.backends()[0]["reason"], "status 500");
}

#[test]
fn initial_up_serves_before_the_first_probe() {
    let (origin, status) = switched();
    status.store(0, SeqCst);
    let check = "health_check: { http: { path: /healthz }, interval: 10s, timeout: 9s, initial: up }";
    let evenkeel = Evenkeel::start_unready(&pool(&[origin.address], check));
    becomes(&evenkeel, "healthy");
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read().text(), "hello");
}

#[test]
fn initial_down_waits_for_rise_passes() {
    let (origin, _status) = switched();
    let evenkeel = Evenkeel::start_unready(&pool(&[origin.address], &http("rise: 3, initial: down")));
    becomes(&evenkeel, "healthy");
    assert!(origin.probes().len() >= 3);
    evenkeel.logged("became healthy: 3 probes passed in a row", 1);
}

#[test]
fn it_takes_fall_failures_and_rise_passes() {
    let failing = Arc::new(AtomicBool::new(false));
    let passed = Arc::clone(&failing);
    let origin = Origin::new(move |exchange| match (exchange.path(), passed.load(SeqCst)) {
        ("/healthz", true) => exchange.answer("500 Bad", ""),
        _ => exchange.ok("hello"),
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], &http("rise: 3, fall: 4")));
    failing.store(true, SeqCst);
    becomes(&evenkeel, "unhealthy");
    let backend = evenkeel.backends()[0].clone();
    assert!(backend["probes_failed"].as_u64().unwrap() >= 4, "{backend}");
    let passes = backend["probes_passed"].as_u64().unwrap();
    failing.store(false, SeqCst);
    becomes(&evenkeel, "healthy");
    let backend = evenkeel.backends()[0].clone();
    assert!(backend["probes_passed"].as_u64().unwrap() >= passes + 3, "{backend}");
    assert!(backend["reason"].is_null(), "{backend}");
    // Once per change, with the reason, however many probes failed.
    let down = evenkeel.logged("became unhealthy: 4 probes failed in a row, the last: status 500", 1);
    evenkeel.logged("became healthy: 3 probes passed in a row", 1);
    assert!(down[0].contains(&origin.address.to_string()) && down[0].contains("WARN"), "{down:?}");
}

#[test]
fn an_http_check_asks_and_expects_as_it_is_told() {
    let (origin, status) = switched();
    let cases = [
        ("path: /healthz", 204, "healthy", ""),
        ("path: /healthz", 302, "unhealthy", "status 302"),
        ("path: /healthz, expect: [200-299, 302]", 302, "healthy", ""),
        ("path: /healthz, body: 'health: *fine'", 200, "healthy", ""),
        ("path: /healthz, body: '^fine'", 200, "unhealthy", "UnexpectedBody: 12 bytes do not match"),
        ("path: /healthz, host: api.internal", 200, "healthy", ""),
    ];
    for (probe, answer, expected, why) in cases {
        status.store(answer, SeqCst);
        let check = format!("health_check: {{ http: {{ {probe} }}, interval: 10s, timeout: 5s }}");
        let evenkeel = Evenkeel::start(&pool(&[origin.address], &check));
        let backend = evenkeel.backends()[0].clone();
        assert_eq!(backend["state"], expected, "{probe}: {backend}");
        assert_eq!(backend["reason"].as_str().unwrap_or_default(), why, "{probe}");
        let asked = origin.probes().pop().unwrap().head;
        let host = if probe.contains("host:") { "api.internal".to_owned() } else { origin.address.to_string() };
        assert_eq!(asked.header("host"), Some(host.as_str()));
        assert_eq!(asked.start, "GET /healthz HTTP/1.1");
    }
}

#[test]
fn an_http_check_may_ask_another_port() {
    let mut origin = Origin::saying("hello");
    // A backend whose own port is closed, with a health page on another port of the same host.
    let health = std::net::TcpListener::bind((origin.address.ip(), 0)).unwrap();
    let port = health.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in health.incoming() {
            use std::io::Write;
            let mut wire = BufReader::new(stream.unwrap());
            let _ = crate::support::Head::read(&mut wire);
            let _ = wire.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    origin.stop();
    let check = format!("health_check: {{ http: {{ port: {port} }}, interval: 10s, timeout: 5s }}");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], &check));
    assert_eq!(state(&evenkeel), "healthy");
    origin.restart();
    assert_eq!(evenkeel.get("/").text(), "hello");
}

#[test]
fn a_hanging_probe_delays_no_other() {
    let (hanging, status) = switched();
    let (quick, _) = switched();
    let check = "health_check: { http: { path: /healthz }, interval: 200ms, timeout: 150ms, fall: 2 }";
    let evenkeel = Evenkeel::start(&pool(&[hanging.address, quick.address], check));
    status.store(0, SeqCst);
    let began = quick.probes().len();
    wait_until("ten more probes of the quick one", || quick.probes().len() >= began + 10);
    let probes = quick.probes();
    let times: Vec<_> = probes[began..].windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    let mean = times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap();
    // Probed one after the other, they would be 350 ms apart.
    assert!((150..300).contains(&mean.as_millis()), "{times:?}");
    let backends = evenkeel.backends();
    let of = |origin: &Origin| -> Value {
        let address = origin.address.to_string();
        backends.iter().find(|backend| backend["address"] == address.as_str()).unwrap().clone()
    };
    assert_eq!((&of(&hanging)["state"], &of(&quick)["state"]), (&"unhealthy".into(), &"healthy".into()));
    assert_eq!(of(&hanging)["reason"], "no answer within 150ms");
}

#[test]
fn a_probe_that_drips_is_over_in_time() {
    let origin = Origin::new(|exchange| {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" {
            exchange.send([*byte])?;
            exchange.pause(Duration::from_millis(50));
        }
        Ok(Then::Keep)
    });
    let check = "health_check: { http: {}, interval: 300ms, timeout: 200ms }";
    let evenkeel = Evenkeel::start(&pool(&[origin.address], check));
    assert_eq!(evenkeel.backends()[0]["reason"], "no answer within 200ms");
}

#[test]
fn a_killed_backend_leaves_and_returns_with_a_line_each() {
    let mut origin = Origin::saying("one");
    let other = Origin::saying("two");
    let check = "health_check: { tcp: {}, interval: 100ms, timeout: 50ms, rise: 2, fall: 2 }";
    let evenkeel = Evenkeel::start(&pool(&[origin.address, other.address], check));
    let mut client = evenkeel.client();
    origin.stop();
    becomes(&evenkeel, "unhealthy");
    for _ in 0..6 {
        assert_eq!(client.get("/").text(), "two");
    }
    assert_eq!(evenkeel.metric("evenkeel_retries_total{pool=\"web\"}"), 0.0);
    origin.restart();
    wait_until("both are admitted", || evenkeel.admitted() == 2);
    let answers: String = (0..4).map(|_| client.get("/").text()).collect();
    assert_eq!((answers.matches("one").count(), answers.matches("two").count()), (2, 2));
    let label = origin.address.to_string();
    evenkeel.logged(&format!("{label} became unhealthy"), 1);
    evenkeel.logged(&format!("{label} became healthy"), 1);
    assert!(evenkeel.log().contains("Connection refused"), "{}", evenkeel.log());
}

/// A backend in a process of its own.
struct Python(Child);

impl Python {
    fn start() -> (Python, SocketAddr) {
        let script = "import http.server, sys\n\
            s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n\
            print(s.server_address[1], flush=True)\n\
            s.serve_forever()";
        let mut command = Command::new("python3");
        let command = command.args(["-c", script]).current_dir(std::env::temp_dir());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Python(child), SocketAddr::from(([127, 0, 0, 1], line.trim().parse().unwrap())))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stopped_process_is_out_in_time() {
    if !have("python3") {
        return;
    }
    let (python, address) = Python::start();
    let other = Origin::saying("two");
    let check = "health_check: { http: {}, interval: 300ms, timeout: 200ms, fall: 3 }";
    let evenkeel = Evenkeel::start(&pool(&[address, other.address], check));
    assert!(evenkeel.backends().iter().all(|backend| backend["admitted"] == true), "{:?}", evenkeel.backends());
    signal(python.0.id(), "STOP");
    let took = wait_until("the stopped process is out", || evenkeel.admitted() == 1);
    // fall × interval + timeout, a tenth of jitter, and something for a busy machine.
    assert!(took < Duration::from_millis(3 * 330 + 200 + 500), "{took:?}");
    assert_eq!(evenkeel.get("/").text(), "two");
    let probes = other.probes();
    let longest = probes.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(longest < Duration::from_millis(800), "{longest:?}");
    signal(python.0.id(), "CONT");
    wait_until("it is back", || evenkeel.admitted() == 2);
}

#[test]
fn probes_are_counted_and_dated() {
    let (origin, status) = switched();
    let evenkeel = Evenkeel::start(&pool(&[origin.address], &http("fall: 1")));
    let label = format!("backend=\"{}\",pool=\"web\"", origin.address);
    let sample = |name: &str, more: &str| evenkeel.metric(&format!("{name}{{{label}{more}}}"));
    wait_until("a few probes", || sample("evenkeel_health_checks_total", ",result=\"passed\"") >= 3.0);
    let age = sample("evenkeel_health_check_last_age_seconds", "");
    assert!((0.0..5.0).contains(&age), "{age}");
    status.store(500, SeqCst);
    wait_until("a failed probe", || sample("evenkeel_health_checks_total", ",result=\"failed\"") >= 1.0);
    becomes(&evenkeel, "unhealthy");
    assert_eq!(sample("evenkeel_backend_state", ",state=\"unhealthy\""), 1.0);
    assert_eq!(sample("evenkeel_backend_admitted", ""), 0.0);
}
