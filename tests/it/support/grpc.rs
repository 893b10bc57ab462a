//! Real gRPC servers and clients: scripts for Python's `grpcio`.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A Python that has the packages: the one that `.ci/setup` makes, or the machine's; `None`, said, without.
pub fn python() -> Option<PathBuf> {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("grpc-peer").join("bin/python3");
    let has = |python: &PathBuf| {
        let asked = Command::new(python).args(["-c", "import grpc_health.v1.health"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    let found = [made, PathBuf::from("python3")].into_iter().find(has);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "grpcio-health-checking is missing, in CI");
        eprintln!("skipped: no Python with grpcio-health-checking; `.ci/setup test` makes one");
    }
    found
}

/// A server, ended with the test.
pub struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Peer {
    pub fn start(python: &Path, script: &str, address: &str, tls: &[&str]) -> Peer {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers").join(script);
        let mut command = Command::new(python);
        let command = command.arg(script).arg(address).args(tls).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut peer = Peer { child, to, from, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let port = peer.line();
        peer.address.set_port(port.parse().unwrap());
        peer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    pub fn tell(&mut self, what: &str) {
        writeln!(self.to, "{what}").unwrap();
        assert_eq!(self.line(), "done");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Make a call with the client, and say what came of it.
#[track_caller]
pub fn call(python: &Path, address: SocketAddr, method: &str, argument: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers/grpc_client.py");
    let output = Command::new(python).arg(script).args([&address.to_string(), method, argument]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
