//! Signals, and an end that loses nothing.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::evenkeel::{complete, pool, run};
use crate::support::{Client, Evenkeel, Origin, wait_until};

#[test]
fn an_idle_process_ends_soon_and_well() {
    for signal in ["TERM", "INT"] {
        let origin = Origin::saying("hello");
        let mut evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
        let mut idle = evenkeel.client();
        assert_eq!(idle.get("/").text(), "hello");
        let began = Instant::now();
        evenkeel.signal(signal);
        assert_eq!(evenkeel.ended().code(), Some(0), "{signal}");
        assert!(began.elapsed() < Duration::from_secs(2), "{signal}: {:?}", began.elapsed());
        assert!(idle.closed());
    }
}

/// A backend that answers when the gate opens.
fn gated() -> (Origin, Arc<AtomicBool>) {
    let gate = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&gate);
    let origin = Origin::new(move |exchange| {
        while !open.load(SeqCst) {
            exchange.pause(Duration::from_millis(5));
        }
        exchange.ok("late")
    });
    (origin, gate)
}

#[test]
fn a_request_in_flight_is_finished() {
    let (origin, gate) = gated();
    let mut evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_until("the request is at the backend", || origin.count() == 1);
    evenkeel.signal("TERM");
    wait_until("it stops listening", || Client::try_connect(evenkeel.http()).is_err());
    assert_eq!(evenkeel.page_if_any("/readyz").map(|page| page.status).unwrap_or(503), 503);
    // Longer than the looks that find nothing in flight; the process must still be there.
    std::thread::sleep(Duration::from_millis(400));
    assert!(evenkeel.alive());
    gate.store(true, SeqCst);
    let response = client.read();
    assert_eq!((response.status, response.text().as_str()), (200, "late"));
    assert_eq!(evenkeel.ended().code(), Some(0));
    assert_eq!(evenkeel.requests(1)[0]["status"], 200);
}

#[test]
fn a_download_in_flight_is_finished() {
    const SIZE: usize = 32 * 1024 * 1024;
    let origin = Origin::new(|exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"))?;
        exchange.send(vec![b'x'; SIZE])?;
        Ok(crate::support::Then::Keep)
    });
    let mut evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = crate::support::Response::read_head(&mut client.wire).unwrap();
    evenkeel.signal("TERM");
    wait_until("it stops listening", || Client::try_connect(evenkeel.http()).is_err());
    std::thread::sleep(Duration::from_millis(400));
    let read = response.head.copy_body(&mut client.wire, &mut std::io::sink(), false).unwrap();
    assert_eq!(read, SIZE as u64);
    assert_eq!(evenkeel.ended().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let (origin, _gate) = gated();
    let mut evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_until("the request is at the backend", || origin.count() == 1);
    evenkeel.signal("TERM");
    wait_until("it says so", || !evenkeel.lines("stopping: no new connections").is_empty());
    wait_until("it stops listening", || Client::try_connect(evenkeel.http()).is_err());
    evenkeel.signal("TERM");
    assert_eq!(evenkeel.ended().code(), Some(0));
    assert!(client.closed());
}

#[test]
fn the_grace_period_is_an_end() {
    let (origin, _gate) = gated();
    let pools = pool(&[origin.address], "");
    let mut evenkeel =
        Evenkeel::start(&format!("grace_period_seconds: 1\ngraceful_shutdown_timeout_seconds: 1\n{pools}"));
    let mut client = evenkeel.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_until("the request is at the backend", || origin.count() == 1);
    let began = Instant::now();
    evenkeel.signal("TERM");
    evenkeel.ended();
    let took = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

#[test]
fn no_other_signal_kills() {
    let origin = Origin::saying("hello");
    let pools = pool(&[origin.address], "");
    let mut evenkeel = Evenkeel::start(&format!("upgrade_sock: DIR/upgrade.sock\n{pools}"));
    // QUIT hands over to a process started with -u, and there is none. With USR2 the process does end, when another serves.
    for (name, said) in [
        ("HUP", "generation 2: "),
        ("USR1", "log files are open anew"),
        ("QUIT", "not upgraded, serving on as before: no process started with -u waits on "),
    ] {
        evenkeel.signal(name);
        wait_until("it says so", || !evenkeel.lines(said).is_empty());
        assert_eq!(evenkeel.get("/").text(), "hello", "after {name}");
        assert!(evenkeel.alive(), "after {name}");
    }
}

#[test]
fn a_start_without_a_file() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let to = format!("{},{}", one.address, two.address);
    let evenkeel = match Evenkeel::quick(&["--listen", "127.0.0.1:0", "--to", &to]) {
        Ok(evenkeel) => evenkeel,
        // Its admin address is the default one, which somebody else may have.
        Err(log) => {
            assert!(log.contains("cannot listen on 127.0.0.1:9901"), "{log}");
            return eprintln!("skipped: 127.0.0.1:9901 is taken");
        }
    };
    let mut client = evenkeel.client();
    let mut answers: Vec<_> = (0..4).map(|_| client.get("/").text()).collect();
    answers.sort();
    assert_eq!(answers, ["one", "one", "two", "two"]);
}

#[test]
fn a_start_without_a_file_is_checked_too() {
    let output = run(&["-t", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = run(&["-t", "--listen", "127.0.0.1:0", "--to", "nowhere"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_signal_while_it_is_starting_does_not_end_it() {
    // HUP and USR1 ended a process that was not serving yet: a reload or a log rotation at the wrong moment, and nothing ran.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.yaml");
    let yaml = format!("upgrade_sock: DIR/upgrade.sock\n{}", pool(&["127.0.0.1:1".parse().unwrap()], ""));
    std::fs::write(&file, complete(&yaml, &dir)).unwrap();
    // It waits for a process that is not there, as long as it is allowed to.
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    let mut waiting = waiting.args(["-u", "-c", file.to_str().unwrap()]).stderr(Stdio::null()).spawn().unwrap();
    wait_until("it waits", || dir.path().join("upgrade.sock").exists());
    for name in ["HUP", "USR1", "TERM"] {
        let sent = Command::new("kill").args(["-s", name, &waiting.id().to_string()]).status().unwrap();
        assert!(sent.success(), "{name}: it has ended");
    }
    let status = waiting.wait().unwrap();
    assert_eq!(status.signal(), Some(15), "TERM alone ends it: {status}");
}
