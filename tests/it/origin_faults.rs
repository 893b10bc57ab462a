//! What goes wrong with the origin of `bench/faults` when it is told to, as its load generator counts it.

use std::io::{BufRead, BufReader, ErrorKind, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::examples::example;
use crate::load::load;
use crate::support::{signal, wait_until};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// An origin of one address, and what it prints. Ends with the test.
struct Faulty {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Faulty {
    fn start(fault: &str) -> Option<Faulty> {
        let mut command = Command::new(example("origin")?);
        command.args(["127.0.0.1:0=1ms", "--constant", "--count", "--fault", fault]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap().parse().unwrap();
        Some(Faulty { child, lines, address })
    }

    /// Sends it a signal and waits until it has been obeyed.
    fn tell(&mut self, name: &str) {
        signal(self.child.id(), name);
        assert_eq!(self.lines.next().unwrap().unwrap(), if name == "USR1" { "broken" } else { "well" });
    }

    fn broken(fault: &str) -> Option<Faulty> {
        let mut origin = Faulty::start(fault)?;
        origin.tell("USR1");
        Some(origin)
    }

    fn load(&self, arguments: &str) -> Value {
        load(self.address, "/", arguments).unwrap()
    }

    /// Ends it and returns what it counted.
    fn counts(&mut self) -> Value {
        signal(self.child.id(), "INT");
        let line = self.lines.next().unwrap().unwrap();
        let counts: Value = serde_json::from_str(&line).unwrap();
        counts[self.address.to_string()].clone()
    }
}

#[test]
fn each_fault_is_what_its_name_says() {
    for (fault, kind) in [
        ("errors=1", "status_500"),
        ("reset", "reset"),
        ("hang", "timeout"),
        ("drip", "timeout"),
        ("drip_header", "timeout"),
        ("syn_drop", "connect_timeout"),
        ("blackhole", "connect_timeout"),
    ] {
        let Some(mut origin) = Faulty::start(fault) else { return };
        let report = origin.load("--seconds 0.2");
        assert_eq!(report["failures"], json!({}), "{fault} before it begins");
        origin.tell("USR1");
        if kind == "connect_timeout" {
            // The kernel may complete connections until there is no room for one more.
            wait_until("nobody can connect", || {
                origin.load("--seconds 0.02 --timeout 100ms")["failures"].get(kind).is_some()
            });
        }
        let report = origin.load("--seconds 0.2 --timeout 300ms");
        assert_eq!(report["failures"], json!({ kind: report["sent"] }), "{fault}");
        origin.tell("USR2");
        let report = origin.load("--seconds 0.2");
        assert_eq!(report["failures"], json!({}), "{fault} after its end");
    }
}

#[test]
fn errors_have_their_share() {
    let Some(origin) = Faulty::broken("errors=0.5") else { return };
    let report = origin.load("--seconds 0.5 --rate 1000");
    let share = report["failures"]["status_500"].as_f64().unwrap() / report["sent"].as_f64().unwrap();
    // Five standard deviations of 500 draws.
    assert!((0.39..0.61).contains(&share), "{share}");
}

#[test]
fn slow_is_that_many_times_slower() {
    let Some(origin) = Faulty::broken("slow=50") else { return };
    let report = origin.load("--seconds 0.2 --rate 20");
    assert!(report["p50_ms"].as_f64().unwrap() >= 50.0, "{report}");
}

#[test]
fn a_kept_connection_falls_silent_in_a_black_hole_and_ends_where_only_new_ones_are_dropped() {
    for (fault, what_is_read) in [("blackhole", Err(ErrorKind::WouldBlock)), ("syn_drop", Ok(0))] {
        let Some(mut origin) = Faulty::start(fault) else { return };
        let mut stream = TcpStream::connect(origin.address).unwrap();
        stream.write_all(REQUEST).unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        origin.tell("USR1");
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        if fault == "blackhole" {
            stream.write_all(REQUEST).unwrap();
        }
        assert_eq!(stream.read(&mut [0]).map_err(|error| error.kind()), what_is_read, "{fault}");
    }
}

#[test]
fn requests_are_counted_and_those_apart_that_met_the_fault() {
    let Some(mut origin) = Faulty::start("errors=1") else { return };
    let before = origin.load("--seconds 0.2")["sent"].as_u64().unwrap();
    origin.tell("USR1");
    let after = origin.load("--seconds 0.2")["sent"].as_u64().unwrap();
    assert_eq!(origin.counts(), json!({ "requests": before + after, "faulty": after }));
}

#[test]
fn the_last_failure_is_told_and_good_answers_have_percentiles_of_their_own() {
    let Some(origin) = Faulty::broken("errors=0.5") else { return };
    let report = origin.load("--seconds 0.5 --timeout 5s");
    assert_eq!(report["p99_ms"], 5000.0, "{report}");
    assert!(report["ok_p99_ms"].as_f64().unwrap() < 5000.0, "{report}");
    let last = report["last_failure_s"].as_f64().unwrap();
    assert!(last > 0.0 && last < 0.5, "{last}");
}
