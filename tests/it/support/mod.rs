//! What the tests stand on.

pub mod client;
pub mod evenkeel;
pub mod gate;
pub mod grpc;
pub mod http2;
pub mod http2_pool;
pub mod message;
pub mod nginx;
pub mod origin;
pub mod pools;
pub mod replaceable;
pub mod sites;
pub mod socket;
pub mod tally;
pub mod tls;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub use client::{Client, get};
pub use evenkeel::Evenkeel;
pub use gate::Gate;
pub use message::{Head, Response};
pub use origin::{Exchange, Origin, Then};

/// How long anything may take that a test waits for.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A health check that sees a backend stop or come back within half a second.
pub const QUICK_CHECK: &str = "health_check: { tcp: {}, interval: 200ms, timeout: 190ms, rise: 1, fall: 2 }";

/// Wait until `condition` holds, and say how long it took.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

/// Whether an outside program is there; without it a test is skipped, but not in CI.
pub fn have(program: &str) -> bool {
    let found = Command::new(program)
        .arg(if program == "nginx" { "-v" } else { "--version" })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing, in CI");
        eprintln!("skipped: {program} is missing");
    }
    found
}

/// Send a signal, like `TERM`, to a process that the test started.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(sent.unwrap().success(), "kill -{name} {pid}");
}

/// A line of `/proc/PID/status` in KiB, like `VmHWM`.
pub fn memory_kib(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Whether the long versions of tests were asked for.
pub fn big() -> bool {
    std::env::var_os("EVENKEEL_BIG").is_some()
}
