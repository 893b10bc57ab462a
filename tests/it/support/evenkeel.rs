//! The program under test, as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub use super::pools::{pool, pool_of};
use super::{Client, Response, signal, wait_until};

/// A running process, ended with the test.
pub struct Evenkeel {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Its folder, which `DIR` stands for in a configuration.
    pub dir: TempDir,
    /// Where its listeners are, as far as they are on TCP.
    pub listeners: Vec<SocketAddr>,
    pub admin: SocketAddr,
}

/// How long a process that no test asks to end well may take for it.
const SHORT: Duration = Duration::from_millis(50);

/// What a configuration gets unless it says otherwise.
const DEFAULTS: [(&str, &str); 5] = [
    ("version:", "version: 1\n"),
    ("threads:", "threads: 2\n"),
    ("listeners:", "listeners: [{ address: 127.0.0.1:0 }]\n"),
    ("admin:", "admin: { address: 127.0.0.1:0 }\n"),
    ("access_log:", "access_log: { path: DIR/access.log, format: json }\n"),
];

/// `yaml` with what it leaves out, and `DIR` replaced.
pub fn complete(yaml: &str, dir: &TempDir) -> String {
    let given = |key: &str| yaml.lines().any(|line| line.starts_with(key));
    let defaults = DEFAULTS.iter().filter(|(key, _)| !given(key)).map(|(_, text)| *text);
    let whole: String = defaults.chain([yaml]).collect();
    whole.replace("DIR", dir.path().to_str().unwrap())
}

impl Evenkeel {
    /// Start it with this configuration, and wait until it takes traffic.
    #[track_caller]
    pub fn start(yaml: &str) -> Evenkeel {
        let evenkeel = Evenkeel::start_unready(yaml);
        wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
        evenkeel
    }

    /// Start it, and wait until it answers on the admin address.
    #[track_caller]
    pub fn start_unready(yaml: &str) -> Evenkeel {
        Evenkeel::start_program(env!("CARGO_BIN_EXE_evenkeel").as_ref(), yaml, tempfile::tempdir().unwrap())
    }

    /// Start a program that has evenkeel's command line, and wait until it answers on the admin address. `dir` may hold files
    /// already.
    #[track_caller]
    pub fn start_program(program: &Path, yaml: &str, dir: TempDir) -> Evenkeel {
        let file = dir.path().join("evenkeel.yaml");
        std::fs::write(&file, complete(yaml, &dir)).unwrap();
        let started = Evenkeel::spawn_program(program, &["-c", file.to_str().unwrap()], dir);
        started.unwrap_or_else(|log| panic!("it has ended:\n{log}"))
    }

    /// Start it without a file, and wait until it takes traffic; its log if it does not start.
    #[track_caller]
    pub fn quick(arguments: &[&str]) -> Result<Evenkeel, String> {
        let evenkeel = Evenkeel::spawn(arguments, tempfile::tempdir().unwrap())?;
        wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
        Ok(evenkeel)
    }

    #[track_caller]
    fn spawn(arguments: &[&str], dir: TempDir) -> Result<Evenkeel, String> {
        Evenkeel::spawn_program(env!("CARGO_BIN_EXE_evenkeel").as_ref(), arguments, dir)
    }

    #[track_caller]
    fn spawn_program(program: &Path, arguments: &[&str], dir: TempDir) -> Result<Evenkeel, String> {
        let mut command = Command::new(program);
        let command = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        let admin = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut evenkeel = Evenkeel { child, log, dir, listeners: Vec::new(), admin };
        let mut ended = false;
        wait_until("the log says 'admin on'", || {
            ended = !evenkeel.alive();
            ended || !evenkeel.lines("admin on ").is_empty()
        });
        if ended {
            // The thread above may still be at its last line.
            wait_until("the log says why it has ended", || !evenkeel.log().is_empty());
            return Err(evenkeel.log());
        }
        let behind = |what: &str| -> Vec<SocketAddr> {
            let lines = evenkeel.lines(what);
            let addresses = lines.iter().map(|line| line.split(what).nth(1).unwrap());
            addresses.filter_map(|address| address.trim().parse().ok()).collect()
        };
        (evenkeel.listeners, evenkeel.admin) = (behind("listening on "), behind("admin on ")[0]);
        wait_until("/healthz says 200", || evenkeel.page_if_any("/healthz").is_some_and(|page| page.status == 200));
        Ok(evenkeel)
    }

    /// Its configuration file.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("evenkeel.yaml")
    }

    /// Write another configuration into its file.
    pub fn write(&self, yaml: &str) {
        std::fs::write(self.file(), complete(yaml, &self.dir)).unwrap();
    }

    /// Run a command line of the program that asks this process, about its own file.
    pub fn ask(&self, command: &str, more: &[&str]) -> Output {
        let (file, admin) = (self.file(), self.admin.to_string());
        let arguments = [command, "-c", file.to_str().unwrap(), "--admin", &admin];
        run(&[&arguments, more].concat())
    }

    /// Write another configuration and load it. Says the receipt.
    #[track_caller]
    pub fn reload(&self, yaml: &str) -> String {
        self.write(yaml);
        let output = self.ask("reload", &[]);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{err}");
        out.trim_end().to_owned()
    }

    /// The first listener.
    pub fn http(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// A connection to the first listener.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.http())
    }

    /// GET a path on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Wait for its end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// The lines of its log that contain `what`.
    pub fn lines(&self, what: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(what)).cloned().collect()
    }

    /// The lines of its log that contain `what`, of which there must be `n`. A state is seen before it is logged, so they are
    /// awaited.
    #[track_caller]
    pub fn logged(&self, what: &str, n: usize) -> Vec<String> {
        wait_until(&format!("{n} lines of the log say {what:?}"), || self.lines(what).len() >= n);
        let lines = self.lines(what);
        assert_eq!(lines.len(), n, "{what:?} in\n{}", self.log());
        lines
    }

    /// A page of the admin address.
    #[track_caller]
    pub fn page(&self, path: &str) -> Response {
        super::get(self.admin, path)
    }

    /// The same from a process that may be gone.
    pub fn page_if_any(&self, path: &str) -> Option<Response> {
        Client::try_connect(self.admin).ok()?.try_get(path).ok()
    }

    /// A sample of `/metrics` by its name and labels as they are printed; 0 if there is none.
    #[track_caller]
    pub fn metric(&self, sample: &str) -> f64 {
        let text = self.page("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Requests that failed for this reason, over all pools.
    #[track_caller]
    pub fn failures(&self, reason: &str) -> f64 {
        ["", "web"]
            .iter()
            .map(|pool| {
                let sample = format!("evenkeel_request_failures_total{{pool=\"{pool}\",reason=\"{reason}\"}}");
                self.metric(&sample)
            })
            .sum()
    }

    /// The pools, in the order of the configuration.
    pub fn pools(&self) -> Vec<Value> {
        serde_json::from_slice(&self.page("/api/v1/pools").body).unwrap()
    }

    /// The first pool.
    pub fn pool(&self) -> Value {
        self.pools().swap_remove(0)
    }

    /// The backends of the first pool.
    pub fn backends(&self) -> Vec<Value> {
        self.pool()["backends"].as_array().unwrap().clone()
    }

    /// How many backends of the first pool requests are shared among: a moment after the last one's state has changed.
    pub fn admitted(&self) -> u64 {
        self.pool()["admitted"].as_u64().unwrap()
    }

    /// How many requests are at the backends of the first pool.
    pub fn in_flight(&self) -> u64 {
        self.backends().iter().map(|backend| backend["in_flight"].as_u64().unwrap()).sum()
    }

    /// How many requests wait for room in the first pool.
    pub fn waiting(&self) -> u64 {
        self.pool()["waiting"].as_u64().unwrap()
    }

    pub fn access_log(&self) -> PathBuf {
        self.dir.path().join("access.log")
    }

    /// The first `n` lines of the access log, awaited.
    #[track_caller]
    pub fn requests(&self, n: usize) -> Vec<Value> {
        let mut lines = Vec::new();
        wait_until(&format!("{n} lines in the access log"), || {
            let text = std::fs::read_to_string(self.access_log()).unwrap_or_default();
            let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines = whole.map(|line| serde_json::from_str(line).unwrap()).collect();
            lines.len() >= n
        });
        lines
    }
}

impl Drop for Evenkeel {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.pid())]).status();
            let began = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < SHORT {
                thread::sleep(SHORT / 10);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- the log of evenkeel:\n{}\n---", self.log());
        }
    }
}

/// Run a command line of the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// What `check` says of a filter, whose line is the third of the configuration.
pub fn check_filter(filter: &str) -> String {
    let pool = "pools: { web: { backends: [127.0.0.1:1] } }";
    check(&format!("listeners: [{{ address: 127.0.0.1:0 }}]\nfilters:\n  - {filter}\n{pool}\n"))
}

/// What `check` says of a configuration.
pub fn check(yaml: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    let output = run(&["check", "-c", file.path().to_str().unwrap()]);
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
