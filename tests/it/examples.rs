//! The examples, run: what a library user registers under a name works as what is built in.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, wait_until};

/// The program of an example, which `cargo test` builds beside the tests; `None`, said, where only these were built.
pub fn example(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_evenkeel")).with_file_name("examples").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is not built", path.display());
    println!("skipped: {} is not built, cargo build --examples builds it", path.display());
    None
}

fn start(program: &Path, yaml: &str) -> Evenkeel {
    let evenkeel = Evenkeel::start_program(program, yaml, tempfile::tempdir().unwrap());
    wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
    evenkeel
}

#[test]
fn a_hook_lets_in_who_has_a_key() {
    let Some(program) = example("hook") else { return };
    let origin = Origin::saying("in");
    let routes = "routes: [{ pool: web, filters: [{ api_key: { keys: { sesame: alice } } }] }]\n";
    let evenkeel = start(&program, &(pool(&[origin.address], "") + routes));
    let ask = |key: &str| {
        let mut client = evenkeel.client();
        let response = client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{key}\r\n")).read();
        (response.status, response.reason().to_owned())
    };
    assert_eq!(ask(""), (401, "unauthorized".to_owned()));
    assert_eq!(ask("X-Api-Key: wrong\r\n"), (403, "forbidden".to_owned()));
    assert_eq!(ask("X-Api-Key: sesame\r\n"), (200, String::new()));
    let seen = origin.seen();
    assert_eq!(seen.len(), 1, "a refused request goes to nobody");
    assert_eq!(seen[0].head.header("x-api-client"), Some("alice"));
    assert_eq!(seen[0].head.header("x-api-key"), None);
}

#[test]
fn an_algorithm_prefers_the_idle_backend() {
    let Some(program) = example("algorithm") else { return };
    let slow = Origin::new(|exchange| exchange.hang());
    let quick = Origin::saying("quick");
    let evenkeel = start(&program, &pool(&[slow.address, quick.address], "balance: least_in_flight"));
    // An answer is read before its lease ends: what is in flight is awaited, or the quick one looks as busy as the other.
    let in_flight = || evenkeel.backends().iter().map(|backend| backend["in_flight"].as_u64().unwrap()).sum::<u64>();
    let settled = || wait_until("the quick one is idle", || in_flight() == slow.count() as u64);
    // While both are idle either may be asked; in the end a request hangs on the slow one, which is the busier from then on.
    let mut clients = Vec::new();
    while slow.count() == 0 {
        let mut client = evenkeel.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        clients.push(client);
        wait_until("somebody has it", || slow.count() + quick.count() == clients.len());
        let in_flight =
            || evenkeel.backends().iter().map(|backend| backend["in_flight"].as_u64().unwrap()).sum::<u64>();
        wait_until("the quick one is idle", || in_flight() == slow.count() as u64);
    }
    for _ in 0..20 {
        assert_eq!(evenkeel.get("/").text(), "quick");
        settled();
    }
    assert_eq!(slow.count(), 1);
}

#[test]
fn a_health_check_asks_redis() {
    let Some(program) = example("health_check") else { return };
    let redis = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = redis.local_addr().unwrap().port();
    let well = Arc::new(AtomicBool::new(true));
    let is_well = Arc::clone(&well);
    // A stand-in that answers as Redis does; it ends with the test's process.
    thread::spawn(move || {
        for stream in redis.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 6];
            if stream.read_exact(&mut asked).is_ok() && &asked == b"PING\r\n" {
                let answer = if is_well.load(SeqCst) { "+PONG\r\n" } else { "-LOADING wait\r\n" };
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    let backend = Origin::saying("answer");
    let backend = [std::net::SocketAddr::from(([127, 0, 0, 1], backend.address.port()))];
    let check =
        format!("health_check: {{ redis: {{ port: {port} }}, interval: 100ms, timeout: 50ms, rise: 1, fall: 2 }}");
    let evenkeel = start(&program, &pool(&backend, &check));
    assert_eq!(evenkeel.admitted(), 1);
    well.store(false, SeqCst);
    wait_until("nobody is admitted", || evenkeel.admitted() == 0);
    let reason = evenkeel.backends()[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("NotPong: Redis answers '-LOADIN"), "{reason}");
    well.store(true, SeqCst);
    wait_until("it is admitted again", || evenkeel.admitted() == 1);
}

#[test]
fn a_discovery_reads_its_file() {
    let Some(program) = example("discovery") else { return };
    let (one, two, drained) = (Origin::saying("one"), Origin::saying("two"), Origin::saying("drained"));
    let dir = tempfile::tempdir().unwrap();
    let lines = format!("{} 3\n{} 1\n{} 0\n", one.address, two.address, drained.address);
    std::fs::write(dir.path().join("backends"), lines).unwrap();
    let yaml = "pools:\n  web:\n    discovery: { lines: { file: DIR/backends } }\n    health_check: off\n";
    let evenkeel = Evenkeel::start_program(&program, yaml, dir);
    wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
    let answers: String = (0..8).map(|_| evenkeel.get("/").text()).collect();
    assert_eq!((answers.matches("one").count(), answers.matches("two").count()), (6, 2));
    assert!(evenkeel.page("/api/v1/pools").text().contains("\"state\": \"draining\""));
}
