//! The programs that the benchmarks measure with, in `bench/`: a figure is worth no more than what counted it.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::examples::example;
use crate::support::{Client, Exchange, Origin, Then};

/// Runs the load generator to its end. 100 requests per second, unless the arguments say otherwise.
pub fn load(address: SocketAddr, path: &str, arguments: &str) -> Option<Value> {
    let mut command = Command::new(example("load")?);
    command.arg(format!("http://{address}{path}")).args(arguments.split_whitespace());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// That every request failed, each in this way.
#[track_caller]
fn assert_all(report: &Value, kind: &str) {
    let sent = report["sent"].as_u64().unwrap();
    assert!(sent > 0);
    assert_eq!(report["failures"], serde_json::json!({ kind: sent }));
    assert_eq!(report["ok"], 0);
}

fn misbehave(exchange: &mut Exchange<'_>) -> std::io::Result<Then> {
    match exchange.path() {
        "/503" => return exchange.answer("503 Service Unavailable", "no"),
        "/404" => return exchange.answer("404 Not Found", "no"),
        "/hang" => return exchange.hang(),
        "/malformed" => exchange.send("who is there?\r\n\r\n")?,
        "/truncated" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")?,
        _ => {}
    }
    Ok(Then::Close)
}

#[test]
fn every_failure_is_counted_by_its_kind() {
    let mut origin = Origin::new(misbehave);
    for (path, kind) in [
        ("/503", "status_503"),
        ("/404", "status_404"),
        ("/hang", "timeout"),
        ("/malformed", "malformed"),
        ("/truncated", "truncated"),
        ("/closed", "closed"),
    ] {
        let Some(report) = load(origin.address, path, "--seconds 0.2 --timeout 300ms") else { return };
        assert_all(&report, kind);
        assert_eq!(report["p50_ms"], 300.0, "nobody gains by failing quickly");
    }
    origin.stop();
    let Some(report) = load(origin.address, "/", "--seconds 0.2") else { return };
    assert_all(&report, "connect");
}

#[test]
fn a_reset_is_told_from_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's process. What is closed before all was read is reset.
    thread::spawn(move || listener.incoming().for_each(|stream| drop(stream.unwrap().peek(&mut [0]))));
    let Some(report) = load(address, "/", "--seconds 0.2") else { return };
    assert_all(&report, "reset");
}

#[test]
fn latency_counts_from_when_a_request_was_due() {
    let stalled = AtomicBool::new(false);
    let origin = Origin::new(move |exchange| {
        // Stands still once, for longer than requests arrive.
        if !stalled.swap(true, SeqCst) {
            exchange.pause(Duration::from_secs(1));
        }
        exchange.ok("")
    });
    let Some(report) = load(origin.address, "/", "--seconds 0.5 --connections 1") else { return };
    // Only one was slow to serve, but all those that were due meanwhile had to wait.
    assert!(report["p50_ms"].as_f64().unwrap() > 400.0, "{report}");
    assert_eq!((&report["ok"], &report["failures"]), (&report["sent"], &serde_json::json!({})));
    assert_eq!(origin.connections(), 1);
    assert!(report["waited"].as_u64().unwrap() > report["sent"].as_u64().unwrap() / 2, "{report}");
}

#[test]
fn the_same_seed_sends_as_much() {
    let origin = Origin::saying("");
    let sent = |arguments| load(origin.address, "/", arguments).map(|report| report["sent"].clone());
    assert_eq!(sent("--seconds 0.3 --seed 7"), sent("--seconds 0.3 --seed 7"));
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_origin_serves_a_few_at_a_time() {
    let Some(program) = example("origin") else { return };
    let mut command = Command::new(program);
    command.args(["127.0.0.1:0=100ms", "--parallel=2", "--constant"]).stdout(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end();
    let begin = Instant::now();
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(address.parse().unwrap())).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let response = client.read();
        assert_eq!((response.status, response.head.header("x-origin")), (200, Some(address)));
        // The first two at once, then the other two: a lower bound, which a busy machine does not break.
        let least = Duration::from_millis(100) * (1 + number as u32 / 2);
        assert!(begin.elapsed() >= least, "{number} after {:?}", begin.elapsed());
    }
}

#[test]
fn every_benchmark_says_what_it_takes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench");
    // Those without an extension are the commands.
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let commands: Vec<_> = entries.filter(|path| path.is_file() && path.extension().is_none()).collect();
    assert!(commands.len() >= 4, "{commands:?}");
    for command in commands {
        let output = Command::new(&command).arg("--help").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("--profile"), "{}: {output:?}", command.display());
    }
}
