//! Draining by an operator: no new work, and an end that is awaited.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::examples::example;
use crate::support::evenkeel::{pool, run};
use crate::support::{Evenkeel, Gate, Origin, have, wait_until};
use crate::tls::{curl, curl_speaks_http2};
use crate::upgrade::{UPGRADE, echo};

/// A command about a backend of pool `web`, run to its end.
pub fn operate(evenkeel: &Evenkeel, command: &str, backend: SocketAddr, options: &str) -> Output {
    let (target, admin) = (format!("web/{backend}"), evenkeel.admin.to_string());
    let arguments = [command, &target, "--admin", &admin].into_iter().chain(options.split_whitespace());
    run(&arguments.collect::<Vec<_>>())
}

/// The same aside.
fn aside(evenkeel: &Evenkeel, command: &'static str, backend: SocketAddr, options: &'static str) -> JoinHandle<Output> {
    let arguments = format!("{command} web/{backend} --admin {} {options}", evenkeel.admin);
    thread::spawn(move || run(&arguments.split_whitespace().collect::<Vec<_>>()))
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Its exit code was 0.
#[track_caller]
pub fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
    stdout(output)
}

/// Its exit code, and what it said on standard error.
pub fn refused(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), stderr(output))
}

/// What it said at last: `drained after 1.2s`, with the time taken out.
fn last_line(output: &Output) -> String {
    let text = stdout(output);
    let line = text.lines().last().unwrap_or_default();
    let (what, seconds) = line.rsplit_once(' ').unwrap();
    let seconds: f64 = seconds.strip_suffix('s').unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    assert!(seconds < 60.0, "{text}");
    what.to_owned()
}

pub fn backend(evenkeel: &Evenkeel, address: SocketAddr) -> Value {
    let found = evenkeel.backends().into_iter().find(|backend| backend["address"] == address.to_string());
    found.unwrap()
}

fn wait_until_draining(evenkeel: &Evenkeel, address: SocketAddr) {
    wait_until("it drains", || backend(evenkeel, address)["state"] == "draining");
}

/// Answers of `b` alone.
fn only_b(evenkeel: &Evenkeel) {
    let mut client = evenkeel.client();
    assert_eq!((0..10).map(|_| client.get("/").text()).collect::<String>(), "b".repeat(10));
}

#[test]
fn a_drain_waits_for_requests_and_undrain_takes_it_back() {
    let ((a, gate), b) = (Gate::holding("a"), Origin::saying("b"));
    let evenkeel = Evenkeel::start(&pool(&[a.address, b.address], ""));
    let mut held = evenkeel.client();
    held.ask("/hold", "");
    gate.holds(1);
    let drain = aside(&evenkeel, "drain", a.address, "--wait");
    wait_until_draining(&evenkeel, a.address);
    only_b(&evenkeel);
    assert!(!drain.is_finished());
    let reason = backend(&evenkeel, a.address)["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("drained by an operator ") && reason.ends_with("s ago"), "{reason}");
    let status = stdout(&run(&["status", "--admin", &evenkeel.admin.to_string()]));
    assert!(status.contains("draining") && status.contains("drained by an operator"), "{status}");
    let label = format!("backend=\"{}\",cause=\"operator\",pool=\"web\"", a.address);
    wait_until("the metric counts", || evenkeel.metric(&format!("evenkeel_backend_draining_seconds{{{label}}}")) > 0.0);
    gate.open();
    assert_eq!(held.read().text(), "a");
    let drain = drain.join().unwrap();
    assert!(done(&drain).starts_with(&format!("web/{}: draining, 1 in flight\n", a.address)), "{}", stdout(&drain));
    assert_eq!(last_line(&drain), format!("web/{}: drained after", a.address));
    only_b(&evenkeel);

    let again = operate(&evenkeel, "drain", a.address, "");
    assert_eq!(done(&again), format!("web/{}: drained; it was asked for before\n", a.address));
    let undrain = operate(&evenkeel, "undrain", a.address, "--wait");
    assert_eq!(
        (done(&undrain).lines().count(), last_line(&undrain)),
        (1, format!("web/{}: admitted after", a.address))
    );
    let mut client = evenkeel.client();
    assert_eq!((0..10).filter(|_| client.get("/").text() == "a").count(), 5);
    let again = operate(&evenkeel, "undrain", a.address, "");
    assert_eq!(done(&again), format!("web/{}: admitted; no operator had it drain\n", a.address));
    evenkeel.logged("drains: an operator wants it to; 1 in flight", 1);
    evenkeel.logged("is undrained by an operator, and healthy", 1);
}

#[test]
fn a_websocket_is_waited_for_and_counted_at_the_timeout() {
    let (a, b) = (echo(), Origin::saying("b"));
    let evenkeel = Evenkeel::start(&pool(&[a.address, b.address], ""));
    let mut tunnel = evenkeel.client();
    assert_eq!(tunnel.send(UPGRADE).read().status, 101);
    let (code, text) = refused(&operate(&evenkeel, "drain", a.address, "--wait --timeout 300ms"));
    let expected = format!("evenkeel: web/{}: not drained within 300ms: draining, 1 in flight\n", a.address);
    assert_eq!((code, text), (1, expected));
    only_b(&evenkeel);
    tunnel.send("still there");
    assert_eq!(tunnel.bytes(11), b"still there", "it is not cut off");
    let drain = aside(&evenkeel, "drain", a.address, "--wait --timeout 10s");
    tunnel.finish();
    assert!(tunnel.closed());
    assert_eq!(last_line(&drain.join().unwrap()), format!("web/{}: drained after", a.address));
}

#[test]
fn streams_of_http2_are_waited_for() {
    if !have("curl") || !curl_speaks_http2() {
        return;
    }
    let ((a, gate), b) = (Gate::holding("a"), Origin::saying("b"));
    let h2c = "listeners: [{ address: '127.0.0.1:0' }, { address: '127.0.0.1:0', h2c: true }]\n";
    let evenkeel = Evenkeel::start(&(h2c.to_owned() + &pool(&[a.address, b.address], "")));
    let url = format!("http://{}/hold", evenkeel.listeners[1]);
    let stream = thread::spawn(move || curl(&["--http2-prior-knowledge", &url]));
    gate.holds(1);
    let drain = aside(&evenkeel, "drain", a.address, "--wait");
    wait_until_draining(&evenkeel, a.address);
    only_b(&evenkeel);
    assert!(!drain.is_finished());
    gate.open();
    assert_eq!(stream.join().unwrap(), "a");
    assert!(done(&drain.join().unwrap()).contains("draining, 1 in flight\n"));
}

/// The answer's text and the cookie that it sets, of a client with or without one.
fn stick(evenkeel: &Evenkeel, cookie: Option<&str>) -> (String, Option<String>) {
    let header = cookie.map(|cookie| format!("Cookie: lb={cookie}\r\n")).unwrap_or_default();
    let response = evenkeel.client().get_with("/", &header);
    let set = response.header("set-cookie").map(|set| set.split(['=', ';']).nth(1).unwrap().to_owned());
    (response.text(), set)
}

#[test]
fn sticky_clients_come_for_the_grace_and_then_go_elsewhere() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let evenkeel = Evenkeel::start(&pool(&[a.address, b.address], "sticky: { cookie: lb, drain_grace: 1500ms }"));
    let bound = std::iter::repeat_with(|| stick(&evenkeel, None)).find(|(home, _)| home == "a").unwrap().1.unwrap();
    let begun = Instant::now();
    let drain = aside(&evenkeel, "drain", a.address, "--wait");
    wait_until_draining(&evenkeel, a.address);
    let mut in_grace = 0;
    let moved = loop {
        // Looked at first: the answer is of a later moment.
        let drained = drain.is_finished();
        match stick(&evenkeel, Some(&bound)) {
            (home, None) if home == "a" => {
                assert!(!drained, "it was said to be drained, and a client came");
                in_grace += 1;
            }
            (home, new) => {
                assert_eq!((home.as_str(), begun.elapsed() >= Duration::from_millis(1400)), ("b", true));
                break new.unwrap();
            }
        }
        assert_eq!(stick(&evenkeel, None).0, "b", "new clients go elsewhere at once");
    };
    assert!(in_grace > 0);
    assert_eq!(stick(&evenkeel, Some(&moved)), ("b".to_owned(), None), "with a cookie of its own");
    let drain = drain.join().unwrap();
    assert!(done(&drain).contains("its sticky clients still come\n"), "{}", stdout(&drain));
    done(&operate(&evenkeel, "undrain", a.address, "--wait"));
    assert_eq!(stick(&evenkeel, Some(&moved)).0, "b", "who has gone stays where it is");
}

#[test]
fn the_grace_is_part_of_what_a_timeout_says() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let evenkeel = Evenkeel::start(&pool(&[a.address, b.address], "sticky: { cookie: lb }"));
    let (code, text) = refused(&operate(&evenkeel, "drain", a.address, "--wait --timeout 100ms"));
    assert_eq!(code, 1);
    assert!(text.contains("not drained within 100ms: draining, 0 in flight; its sticky clients still come"), "{text}");
    let left = backend(&evenkeel, a.address)["drain"]["grace_left_seconds"].as_f64().unwrap();
    assert!((0.0..=10.0).contains(&left), "{left}");
}

#[test]
fn undrained_it_is_probed_at_once_and_starts_slowly() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let check = "health_check: { tcp: {}, interval: 60s, timeout: 5s }\nslow_start: 2s";
    let evenkeel = Evenkeel::start(&pool(&[a.address, b.address], check));
    let started = Instant::now();
    done(&operate(&evenkeel, "drain", a.address, "--wait"));
    wait_until("the one that stays, which is new as well, has grown up", || started.elapsed() > Duration::from_secs(2));
    // Its turn may have come once more by chance: the second is at any time of the interval.
    let passed = || backend(&evenkeel, a.address)["probes_passed"].as_u64().unwrap();
    let (begun, before) = (Instant::now(), passed());
    done(&operate(&evenkeel, "undrain", a.address, "--wait"));
    assert!(begun.elapsed() < Duration::from_secs(30), "not at its next turn");
    assert!(passed() > before, "it is admitted by a new probe");
    let mut client = evenkeel.client();
    let mut share = || (0..40).filter(|_| client.get("/").text() == "a").count();
    let first = share();
    let late = begun.elapsed();
    assert!(first <= 12 || late > Duration::from_millis(500), "{first} of 40 at first, after {late:?}");
    wait_until("it has its share", || (19..=21).contains(&share()));
}

#[test]
fn undrained_but_dead_it_is_not_admitted() {
    let (mut a, b) = (Origin::saying("a"), Origin::saying("b"));
    // It would be healthy for minutes, by its last probe.
    let check = "health_check: { tcp: {}, interval: 60s, timeout: 5s, fall: 5 }";
    let evenkeel = Evenkeel::start(&pool(&[a.address, b.address], check));
    done(&operate(&evenkeel, "drain", a.address, "--wait"));
    a.stop();
    let (code, text) = refused(&operate(&evenkeel, "undrain", a.address, "--wait --timeout 1s"));
    let expected = format!("evenkeel: web/{}: not admitted within 1s: unhealthy: ", a.address);
    assert!(code == 1 && text.starts_with(&expected), "{code} {text}");
    only_b(&evenkeel);
    assert_eq!(evenkeel.metric("evenkeel_retries_total{pool=\"web\"}"), 0.0);
}

#[test]
fn the_last_one_may_be_drained_with_a_warning() {
    let a = Origin::saying("a");
    let evenkeel = Evenkeel::start(&pool(&[a.address], ""));
    let drain = operate(&evenkeel, "drain", a.address, "");
    assert_eq!(done(&drain), format!("web/{}: drained\n", a.address));
    assert_eq!(stderr(&drain), format!("warning: web/{}: no backend of pool web is admitted any more\n", a.address));
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.reason()), (503, "no_backend"));
    let undrain = operate(&evenkeel, "undrain", a.address, "");
    assert_eq!((done(&undrain), stderr(&undrain)), (format!("web/{}: admitted\n", a.address), String::new()));
    assert_eq!(evenkeel.get("/").text(), "a");
}

#[test]
fn a_process_that_ends_meanwhile_is_said() {
    let (a, gate) = Gate::holding("a");
    let evenkeel = Evenkeel::start(&pool(&[a.address], ""));
    evenkeel.client().ask("/hold", "");
    let mut held = evenkeel.client();
    held.ask("/hold", "");
    gate.holds(2);
    let (target, admin) = (format!("web/{}", a.address), evenkeel.admin.to_string());
    let mut drain = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    let drain = drain.args(["drain", &target, "--admin", &admin, "--wait"]).stdout(Stdio::null());
    let mut drain = drain.stderr(Stdio::piped()).spawn().unwrap();
    // It says that nobody is left as soon as it has been heard.
    let (mut said, mut warning) = (BufReader::new(drain.stderr.take().unwrap()), String::new());
    said.read_line(&mut warning).unwrap();
    assert!(warning.starts_with("warning: "), "{warning}");
    evenkeel.signal("KILL");
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    let code = drain.wait().unwrap().code().unwrap();
    assert!(code == 1 && text.contains(": how it went on is not known: no answer from "), "{code} {text}");
    gate.open();
}

#[test]
fn undrain_does_not_lift_a_weight_of_0() {
    let Some(program) = example("discovery") else { return };
    let (one, zero) = (Origin::saying("one"), Origin::saying("zero"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("backends"), format!("{} 1\n{} 0\n", one.address, zero.address)).unwrap();
    let yaml = "pools:\n  web:\n    discovery: { lines: { file: DIR/backends } }\n    health_check: off\n";
    let evenkeel = Evenkeel::start_program(&program, yaml, dir);
    wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
    assert_eq!(backend(&evenkeel, zero.address)["reason"], "weight 0");
    done(&operate(&evenkeel, "drain", zero.address, "--wait"));
    let reason = backend(&evenkeel, zero.address)["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("drained by an operator") && reason.ends_with(", weight 0"), "{reason}");
    let undrain = operate(&evenkeel, "undrain", zero.address, "");
    assert!(done(&undrain).contains("it drains on, by the weight 0"), "{}", stdout(&undrain));
    assert!(stderr(&undrain).contains("its source gives it the weight 0"), "{}", stderr(&undrain));
    let (code, text) = refused(&operate(&evenkeel, "undrain", zero.address, "--wait"));
    assert!(code == 1 && text.contains("it drains on, by the weight 0"), "{code} {text}");
    let by_weight = format!("backend=\"{}\",cause=\"weight\",pool=\"web\"", zero.address);
    wait_until("the metric counts", || {
        evenkeel.metric(&format!("evenkeel_backend_draining_seconds{{{by_weight}}}")) > 0.0
    });
}
