//! Processes whose program is replaced, and clients that notice if anything goes wrong meanwhile.

use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use super::evenkeel::{complete, run};
use super::{Client, Evenkeel, wait_until};

/// A process whose program can be replaced: a link in its folder.
pub struct Replaceable {
    pub evenkeel: Evenkeel,
    /// Who has taken over, and is to be ended with the test.
    pub heirs: Vec<u32>,
}

impl Replaceable {
    pub fn start(yaml: &str) -> Replaceable {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("evenkeel");
        symlink(env!("CARGO_BIN_EXE_evenkeel"), &program).unwrap();
        let yaml = format!("upgrade_sock: DIR/upgrade.sock\n{yaml}");
        let evenkeel = Evenkeel::start_program(&program, &yaml, dir);
        wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
        Replaceable { evenkeel, heirs: Vec::new() }
    }

    pub fn dir(&self) -> &TempDir {
        &self.evenkeel.dir
    }

    /// From now on, this script is the program.
    pub fn replace(&self, script: &str) {
        let program = self.dir().path().join("evenkeel");
        std::fs::remove_file(&program).unwrap();
        let real = env!("CARGO_BIN_EXE_evenkeel");
        let script = script.replace("REAL", real).replace("DIR", self.dir().path().to_str().unwrap());
        // By another process: none that is started meanwhile may have the file open for writing.
        let write = format!("cat > '{0}' && chmod 755 '{0}'", program.display());
        let mut shell = Command::new("sh").args(["-c", &write]).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut shell.stdin.take().unwrap(), script.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
    }

    /// From now on, the program is what it was at first.
    pub fn put_back(&self) {
        let program = self.dir().path().join("evenkeel");
        let _ = std::fs::remove_file(&program);
        symlink(env!("CARGO_BIN_EXE_evenkeel"), &program).unwrap();
    }

    pub fn configure(&self, yaml: &str) {
        let yaml = format!("upgrade_sock: DIR/upgrade.sock\n{yaml}");
        std::fs::write(self.dir().path().join("evenkeel.yaml"), complete(&yaml, self.dir())).unwrap();
    }

    pub fn command(&self) -> Output {
        run(&["upgrade", "--admin", &self.evenkeel.admin.to_string()])
    }

    /// Upgrade, which has to succeed; says who serves.
    #[track_caller]
    pub fn upgrade(&mut self) -> (u32, String) {
        let output = self.command();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let pid = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        self.heirs.push(pid);
        (pid, text)
    }

    /// Try to, which has to fail; says why.
    #[track_caller]
    pub fn fail_to_upgrade(&mut self) -> String {
        let output = self.command();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&output.stdout));
        assert!(self.evenkeel.alive(), "{text}");
        text
    }
}

impl Drop for Replaceable {
    fn drop(&mut self) {
        for pid in &self.heirs {
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {pid} 2>/dev/null")]).status();
        }
    }
}

/// Clients that keep their connections, and clients that do not, each with one request after the other.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub fn start(evenkeel: &Evenkeel) -> Load {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let address = evenkeel.http();
        let client = |keeps: bool| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                let (mut failures, mut kept) = (Vec::new(), None::<Client>);
                while !stop.load(SeqCst) {
                    let client = kept.take().map_or_else(|| Client::try_connect(address), Ok);
                    let answered = client.and_then(|mut client| Ok((client.try_get("/")?, client)));
                    match answered {
                        Ok((response, client)) if response.status == 200 => {
                            let last = response.header("connection") == Some("close");
                            kept = (keeps && !last).then_some(client);
                        }
                        Ok((response, _)) => failures.push(format!("status {}", response.status)),
                        Err(e) => failures.push(e.to_string()),
                    }
                    done.fetch_add(1, SeqCst);
                    thread::sleep(Duration::from_millis(1));
                }
                failures
            })
        };
        let clients = [true, true, true, false, false, false].map(client).into();
        let load = Load { stop, done, clients };
        load.more();
        load
    }

    /// Wait for some more requests.
    #[track_caller]
    pub fn more(&self) {
        let enough = self.done.load(SeqCst) + 200;
        wait_until("200 more requests", || self.done.load(SeqCst) >= enough);
    }

    /// The failures, when all have ended.
    pub fn failures(self) -> Vec<String> {
        self.stop.store(true, SeqCst);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}
