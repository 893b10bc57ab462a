//! What systemd gives and is told, with a socket of the test in systemd's place.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, LIMIT, Origin, have};

/// A program that starts the real one as systemd would: `prepare` is shell.
fn program(dir: &TempDir, interpreter: &str, text: &str) -> std::path::PathBuf {
    let program = dir.path().join("start");
    let text = text.replace("REAL", env!("CARGO_BIN_EXE_evenkeel")).replace("DIR", dir.path().to_str().unwrap());
    let written = Command::new("sh")
        .args(["-c", "printf '%s' \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh", program.to_str().unwrap()])
        .arg(format!("#!/usr/bin/env {interpreter}\n{text}"))
        .status();
    assert!(written.unwrap().success());
    program
}

/// Where systemd listens.
struct Systemd(UnixDatagram);

impl Systemd {
    fn listen(path: &Path) -> Systemd {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Systemd(socket)
    }

    /// The next message but for those of the watchdog.
    fn next(&self) -> String {
        loop {
            let mut bytes = [0; 4096];
            let n = self.0.recv(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
            if text != "WATCHDOG=1\n" {
                return text;
            }
        }
    }

    /// How many of the watchdog come in this time.
    fn barks(&self, time: Duration) -> usize {
        let began = std::time::Instant::now();
        let mut barks = 0;
        while began.elapsed() < time {
            let mut bytes = [0; 4096];
            let n = self.0.recv(&mut bytes).unwrap();
            barks += usize::from(&bytes[..n] == b"WATCHDOG=1\n");
        }
        barks
    }
}

#[test]
fn systemd_is_told_how_the_process_is_doing() {
    let dir = tempfile::tempdir().unwrap();
    let systemd = Systemd::listen(&dir.path().join("notify"));
    let text = "export NOTIFY_SOCKET=DIR/notify WATCHDOG_USEC=200000 WATCHDOG_PID=$$\nexec 'REAL' \"$@\"\n";
    let program = program(&dir, "sh", text);
    let origin = Origin::saying("hello");
    let yaml = "upgrade_sock: DIR/upgrade.sock\n".to_owned() + &pool(&[origin.address], "");
    let mut evenkeel = Evenkeel::start_program(&program, &yaml, dir);
    assert_eq!(systemd.next(), "READY=1\n");
    assert_eq!(evenkeel.get("/").text(), "hello");
    assert!(systemd.barks(Duration::from_millis(1000)) >= 5, "every 100 ms, on a machine that is busy");
    evenkeel.signal("HUP");
    let reloading = systemd.next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(systemd.next(), "READY=1\n");

    evenkeel.signal("USR2");
    // In either order: the successor serves before we know.
    let mut told = [systemd.next(), systemd.next()];
    told.sort();
    assert_eq!(told[1], "READY=1\n");
    let heir: u32 = told[0].strip_prefix("MAINPID=").unwrap().trim().parse().unwrap();
    assert_ne!(heir, evenkeel.pid());
    assert_eq!(evenkeel.ended().code(), Some(0));
    assert!(systemd.barks(Duration::from_millis(1000)) >= 5, "the successor's");
    crate::support::signal(heir, "TERM");
    assert_eq!(systemd.next(), "STOPPING=1\n", "and nothing of the old one's end");
}

#[test]
fn sockets_that_systemd_passes_are_listened_on() {
    if !have("python3") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Four sockets: two of listeners, one of nobody, one of the admin pages.
    let text = r#"
import os, socket, sys
sockets = [socket.socket() for _ in range(3)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
    s.listen()
unix = socket.socket(socket.AF_UNIX)
unix.bind("DIR/front.sock")
unix.listen()
tcp, admin, nobody = sockets
port = lambda s: s.getsockname()[1]
path = sys.argv[2]
text = open(path).read().replace("TCP", str(port(tcp))).replace("ADMIN", str(port(admin)))
open(path, "w").write(text)
for number, s in enumerate([tcp, admin, nobody, unix]):
    os.dup2(s.fileno(), 103 + number)
for number in range(4):
    os.dup2(103 + number, 3 + number, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="4")
os.execv("REAL", ["REAL"] + sys.argv[1:])
"#;
    let program = program(&dir, "python3", text);
    let origin = Origin::saying("hello");
    let yaml = "listeners: [{ address: '127.0.0.1:TCP' }, { address: 'unix:DIR/front.sock' }]\n\
        admin: { address: 127.0.0.1:ADMIN }\n";
    let evenkeel = Evenkeel::start_program(&program, &(yaml.to_owned() + &pool(&[origin.address], "")), dir);
    crate::support::wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
    assert_eq!(evenkeel.get("/").text(), "hello");
    assert_eq!(Client::connect_unix(&evenkeel.dir.path().join("front.sock")).get("/").text(), "hello");
    assert_eq!(evenkeel.lines("which was passed, and is no address of this configuration").len(), 1);
}

#[test]
fn the_units_are_ones_that_systemd_understands() {
    if !have("systemd-analyze") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let mut files = Vec::new();
    for name in ["evenkeel.service", "evenkeel.socket"] {
        let text = std::fs::read_to_string(packaging.join(name)).unwrap();
        // It wants the program to be there.
        let text = text.replace("/usr/bin/evenkeel", env!("CARGO_BIN_EXE_evenkeel"));
        std::fs::write(dir.path().join(name), text).unwrap();
        files.push(dir.path().join(name));
    }
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(files).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
