//! One process takes another's place.

use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::evenkeel::{complete, pool, run};
use crate::support::{Client, Evenkeel, Origin, signal, wait_until};
use crate::upgrade::{UPGRADE, echo};

/// A process whose program can be replaced: a link in its folder.
struct Replaceable {
    evenkeel: Evenkeel,
    /// Who has taken over, and is to be ended with the test.
    heirs: Vec<u32>,
}

impl Replaceable {
    fn start(yaml: &str) -> Replaceable {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("evenkeel");
        symlink(env!("CARGO_BIN_EXE_evenkeel"), &program).unwrap();
        let yaml = format!("upgrade_sock: DIR/upgrade.sock\n{yaml}");
        let evenkeel = Evenkeel::start_program(&program, &yaml, dir);
        wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
        Replaceable { evenkeel, heirs: Vec::new() }
    }

    fn dir(&self) -> &TempDir {
        &self.evenkeel.dir
    }

    /// From now on, this script is the program.
    fn replace(&self, script: &str) {
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
    fn put_back(&self) {
        let program = self.dir().path().join("evenkeel");
        let _ = std::fs::remove_file(&program);
        symlink(env!("CARGO_BIN_EXE_evenkeel"), &program).unwrap();
    }

    fn configure(&self, yaml: &str) {
        let yaml = format!("upgrade_sock: DIR/upgrade.sock\n{yaml}");
        std::fs::write(self.dir().path().join("evenkeel.yaml"), complete(&yaml, self.dir())).unwrap();
    }

    fn command(&self) -> Output {
        run(&["upgrade", "--admin", &self.evenkeel.admin.to_string()])
    }

    /// Upgrade, which has to succeed; says who serves.
    #[track_caller]
    fn upgrade(&mut self) -> (u32, String) {
        let output = self.command();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let pid = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        self.heirs.push(pid);
        (pid, text)
    }

    /// Try to, which has to fail; says why.
    #[track_caller]
    fn fail_to_upgrade(&mut self) -> String {
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
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(evenkeel: &Evenkeel) -> Load {
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
    fn more(&self) {
        let enough = self.done.load(SeqCst) + 200;
        wait_until("200 more requests", || self.done.load(SeqCst) >= enough);
    }

    /// The failures, when all have ended.
    fn failures(self) -> Vec<String> {
        self.stop.store(true, SeqCst);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

#[test]
fn upgrades_under_load_lose_nothing() {
    let origin = Origin::saying("hello");
    let mut old = Replaceable::start(&pool(&[origin.address], ""));
    let first = old.evenkeel.pid();
    let load = Load::start(&old.evenkeel);
    let (second, text) = old.upgrade();
    assert_eq!(
        text,
        format!(
            "process {second} serves in the place of {first}: 2 sockets handed over, 0 opened, 0 closed; 1 backends known\n"
        )
    );
    load.more();
    assert_eq!(old.evenkeel.ended().code(), Some(0));
    let (third, text) = old.upgrade();
    assert!(text.contains(&format!("in the place of {second}:")) && third != second, "{text}");
    load.more();
    assert_eq!(load.failures(), [""; 0]);
    assert_eq!(old.evenkeel.metric("evenkeel_upgrades_total{result=\"success\"}"), 1.0);
    assert!(!old.dir().path().join("upgrade.sock").exists());
    wait_until("its log goes where ours goes", || {
        !old.evenkeel.lines(&format!("serving in the place of process {second}")).is_empty()
    });
}

#[test]
fn the_signal_does_the_same() {
    let origin = Origin::saying("hello");
    let mut old = Replaceable::start(&pool(&[origin.address], ""));
    old.evenkeel.signal("USR2");
    assert_eq!(old.evenkeel.ended().code(), Some(0));
    let line = old.evenkeel.logged("serves now: ", 1).remove(0);
    old.heirs.push(line.split("process ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap());
    assert_eq!(old.evenkeel.get("/").text(), "hello");
    assert_eq!(old.evenkeel.page("/readyz").status, 200);
}

/// A successor that is not one, in each way that there is, under load. The message says what was wrong, and the next good one
/// takes over.
#[track_caller]
fn bad_successor(more: &str, spoil: impl Fn(&Replaceable, &Origin), expected: &[&str]) {
    let origin = Origin::saying("hello");
    let mut old = Replaceable::start(&(more.to_owned() + &pool(&[origin.address], "")));
    let load = Load::start(&old.evenkeel);
    spoil(&old, &origin);
    let why = old.fail_to_upgrade();
    if let Ok(pid) = std::fs::read_to_string(old.dir().path().join("heir.pid")) {
        let pid: u32 = pid.trim().parse().unwrap();
        old.heirs.push(pid);
        let _ = Command::new("sh").args(["-c", &format!("kill -CONT {pid} 2>/dev/null")]).status();
        wait_until("it ends when it finds that nobody waits for it any more", || {
            std::fs::read_to_string(format!("/proc/{pid}/status")).map_or(true, |status| status.contains("zombie"))
        });
    }
    assert!(why.starts_with("evenkeel: not upgraded, the old process serves on: "), "{why}");
    for part in expected {
        assert!(why.contains(part), "{part} in {why}");
    }
    load.more();
    assert_eq!(old.evenkeel.metric("evenkeel_upgrades_total{result=\"failure\"}"), 1.0);
    assert_eq!(old.evenkeel.lines("not upgraded, serving on as before: ").len(), 1);
    old.put_back();
    old.configure(&pool(&[origin.address], ""));
    // With time enough.
    let reload = run(&["reload", "--admin", &old.evenkeel.admin.to_string()]);
    assert_eq!(reload.status.code(), Some(0), "{}", String::from_utf8_lossy(&reload.stderr));
    old.upgrade();
    load.more();
    assert_eq!(load.failures(), [""; 0]);
    let zombies = Command::new("ps").args(["-o", "stat=", "--ppid", &old.evenkeel.pid().to_string()]).output();
    if let Ok(zombies) = zombies {
        assert!(!String::from_utf8_lossy(&zombies.stdout).contains('Z'), "a child was not reaped");
    }
}

#[test]
fn a_successor_that_ends_at_once() {
    let script = "#!/bin/sh\necho 'no such library' >&2\nexit 127\n";
    bad_successor(
        "",
        |old, _| old.replace(script),
        &["ended before it served (exit status: 127)", "\n  no such library"],
    );
}

#[test]
fn a_successor_that_hangs_at_its_start() {
    let script = "#!/bin/sh\nexec sleep 1000\n";
    let expected = ["not ready within 700ms (killed)"];
    bad_successor("upgrade_timeout: 700ms\n", |old, _| old.replace(script), &expected);
}

#[test]
fn a_successor_that_hangs_after_it_took_the_sockets() {
    let script = "#!/bin/sh\n'REAL' \"$@\" 2>DIR/heir.log & pid=$!\necho $pid >DIR/heir.pid\n\
        until grep -q 'listening on' DIR/heir.log; do sleep 0.01; done\nkill -STOP $pid\nwait $pid\n";
    let slow = "upgrade_timeout: 1500ms\n";
    bad_successor(
        slow,
        |old, origin| stall(old, origin, slow, script),
        &["the new process was not ready within 1.5s ("],
    );
}

/// A successor like this, which is not ready before a probe has given up that nobody answers.
fn stall(old: &Replaceable, origin: &Origin, more: &str, script: &str) {
    let silent = Origin::new(|exchange| exchange.hang());
    let check = "health_check: { http: {}, timeout: 1s }";
    old.configure(&(more.to_owned() + &pool(&[origin.address, silent.address], check)));
    old.replace(script);
    // It lives as long as the successor may probe it.
    std::mem::forget(silent);
}

#[test]
fn a_successor_with_a_broken_configuration() {
    let spoil = |old: &Replaceable, _: &Origin| old.configure("frobnicate: 1\n");
    bad_successor("", spoil, &["ended before it served (exit status: 2)", "frobnicate: unknown key", "needs 'pools'"]);
}

#[test]
fn a_successor_that_cannot_bind_a_new_listener() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let spoil = |old: &Replaceable, origin: &Origin| {
        let listeners = format!("listeners: [{{ address: 127.0.0.1:0 }}, {{ address: '{address}' }}]\n");
        old.configure(&(listeners + &pool(&[origin.address], "")));
    };
    bad_successor(
        "",
        spoil,
        &["the new process cannot serve: cannot listen on 127.0.0.1:", "in use", "(exit status: 1)"],
    );
}

#[test]
fn a_successor_that_crashes_after_it_took_the_sockets() {
    // Stopped before it is killed, so that it is not ready in between.
    let script = "#!/bin/sh\n'REAL' \"$@\" 2>DIR/heir.log & pid=$!\n\
        until grep -q 'listening on' DIR/heir.log; do sleep 0.005; done\nkill -KILL $pid\nexit 1\n";
    bad_successor(
        "",
        |old, origin| stall(old, origin, "", script),
        &["the new process ended before it served (exit status: 1)"],
    );
}

#[test]
fn many_listeners_and_unix_sockets_pass() {
    let origin = Origin::saying("hello");
    let many: String = "{ address: '127.0.0.1:0' }, ".repeat(64);
    let listeners =
        format!("listeners: [{many}{{ address: 'unix:DIR/front.sock' }}, {{ address: 127.0.0.1:0, h2c: true }}]\n");
    let mut old = Replaceable::start(&(listeners + &pool(&[origin.address], "")));
    let socket = old.dir().path().join("front.sock");
    assert_eq!(Client::connect_unix(&socket).get("/").text(), "hello");
    let (_, text) = old.upgrade();
    assert!(text.contains("67 sockets handed over, 0 opened, 0 closed"), "{text}");
    assert_eq!(old.evenkeel.ended().code(), Some(0));
    assert_eq!(old.evenkeel.listeners.len(), 65);
    for address in old.evenkeel.listeners.iter().take(64) {
        assert_eq!(Client::connect(*address).get("/").text(), "hello");
    }
    assert_eq!(Client::connect_unix(&socket).get("/").text(), "hello");
}

#[test]
fn listeners_may_change_on_the_way() {
    let origin = Origin::saying("hello");
    let two = "listeners: [{ address: '127.0.0.1:0' }, { address: 'unix:DIR/front.sock' }]\n";
    let mut old = Replaceable::start(&(two.to_owned() + &pool(&[origin.address], "")));
    let other = "listeners: [{ address: '127.0.0.1:0' }, { address: 'unix:DIR/other.sock' }]\n";
    old.configure(&(other.to_owned() + &pool(&[origin.address], "")));
    let (_, text) = old.upgrade();
    assert!(text.contains("2 sockets handed over, 1 opened, 1 closed"), "{text}");
    assert_eq!(old.evenkeel.ended().code(), Some(0));
    assert_eq!(Client::connect_unix(&old.dir().path().join("other.sock")).get("/").text(), "hello");
    assert!(std::os::unix::net::UnixStream::connect(old.dir().path().join("front.sock")).is_err());
}

#[test]
fn the_dead_stay_dead_and_the_drained_drained() {
    let (alive, drained) = (Origin::saying("alive"), Origin::saying("drained"));
    // It lets nobody but probes wait, and answers those too late.
    let dead = Origin::new(|exchange| exchange.hang());
    let check = "health_check: { http: {}, interval: 30s, timeout: 1s, fall: 1 }";
    let mut old = Replaceable::start(&pool(&[alive.address, dead.address, drained.address], check));
    let state = |old: &Replaceable| -> Vec<String> {
        old.evenkeel.backends().iter().map(|backend| backend["state"].as_str().unwrap().to_owned()).collect()
    };
    let admin = old.evenkeel.admin.to_string();
    let backend = format!("web/{}", drained.address);
    assert_eq!(run(&["drain", &backend, "--admin", &admin]).status.code(), Some(0));
    let before = state(&old);
    assert_eq!(before.iter().filter(|state| *state == "unhealthy").count(), 1);
    let load = Load::start(&old.evenkeel);
    old.upgrade();
    old.evenkeel.ended();
    assert_eq!(state(&old), before);
    load.more();
    assert_eq!(load.failures(), [""; 0]);
    assert_eq!((dead.count(), drained.count()), (0, 0), "requests, not probes");
    assert_eq!(run(&["undrain", &backend, "--admin", &admin]).status.code(), Some(0));
    wait_until("it is asked again", || old.evenkeel.get("/").text() == "drained");
}

#[test]
fn a_websocket_goes_on_in_the_old_process() {
    let origin = echo();
    let mut old = Replaceable::start(&pool(&[origin.address], ""));
    let mut client = old.evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    old.upgrade();
    for _ in 0..3 {
        client.send([0x82, 1, b'x']);
        assert_eq!(client.bytes(3), [0x82, 1, b'x']);
        thread::sleep(Duration::from_millis(500));
    }
    assert!(old.evenkeel.alive());
    old.evenkeel.signal("TERM");
    assert_eq!(client.bytes(4), [0x88, 0x02, 0x03, 0xe9]);
    assert!(client.closed());
    assert_eq!(old.evenkeel.ended().code(), Some(0));
}

#[test]
fn time_is_up_for_what_the_old_process_has_left() {
    let origin = echo();
    let mut old = Replaceable::start(&("grace_period_seconds: 1\n".to_owned() + &pool(&[origin.address], "")));
    let mut client = old.evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    old.upgrade();
    assert_eq!(client.bytes(4), [0x88, 0x02, 0x03, 0xe9]);
    assert_eq!(old.evenkeel.ended().code(), Some(0));
}

#[test]
fn pingoras_way_a_process_started_with_u_and_quit() {
    let origin = Origin::saying("hello");
    let mut old = Replaceable::start(&pool(&[origin.address], ""));
    let file = old.dir().path().join("evenkeel.yaml");
    let mut heir = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    let heir = heir.args(["-u", "-c", file.to_str().unwrap()]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut heir = heir.spawn().unwrap();
    old.heirs.push(heir.id());
    let load = Load::start(&old.evenkeel);
    wait_until("it waits", || old.dir().path().join("upgrade.sock").exists());
    old.evenkeel.signal("QUIT");
    assert_eq!(old.evenkeel.ended().code(), Some(0));
    load.more();
    assert_eq!(load.failures(), [""; 0]);
    signal(heir.id(), "TERM");
    assert_eq!(heir.wait().unwrap().code(), Some(0));
}

#[test]
fn nobody_to_take_over_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("evenkeel.yaml");
    let yaml = format!(
        "upgrade_sock: DIR/upgrade.sock\nupgrade_timeout: 100ms\n{}",
        pool(&["127.0.0.1:1".parse().unwrap()], "")
    );
    std::fs::write(&file, complete(&yaml, &dir)).unwrap();
    let output = run(&["-u", "-c", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("no process has handed over on ") && text.contains(" within 100ms"), "{text}");
    assert!(!dir.path().join("upgrade.sock").exists());
}

#[test]
fn a_unix_socket_whose_file_is_gone_is_bound_anew() {
    let origin = Origin::saying("hello");
    let listeners = "listeners: [{ address: '127.0.0.1:0' }, { address: 'unix:DIR/front.sock' }]\n";
    let mut old = Replaceable::start(&(listeners.to_owned() + &pool(&[origin.address], "")));
    let socket = old.dir().path().join("front.sock");
    assert_eq!(Client::connect_unix(&socket).get("/").text(), "hello");
    std::fs::remove_file(&socket).unwrap();
    let (_, text) = old.upgrade();
    assert!(text.contains("2 sockets handed over, 1 opened, 0 closed"), "{text}");
    assert_eq!(Client::connect_unix(&socket).get("/").text(), "hello");
}

fn echoed(client: &mut Client) -> std::io::Result<()> {
    client.try_send([0x82, 1, b'x'])?;
    std::io::Read::read_exact(&mut client.wire, &mut [0; 3])
}

/// A WebSocket that has carried something. Pingora ends one in a hundred at once where a busy machine has it see the backend's
/// 101 before the end of the request's body, which is empty.
fn tunnel(evenkeel: &Evenkeel) -> Client {
    loop {
        let mut client = evenkeel.client();
        assert_eq!(client.send(UPGRADE).read().status, 101);
        if echoed(&mut client).is_ok() {
            return client;
        }
    }
}

/// Everything at once: clients of both kinds, WebSockets and downloads that were begun before, and one upgrade after the other.
#[test]
fn many_upgrades_in_a_row_cut_nothing_off() {
    let (sockets, upgrades) = if crate::support::big() { (500, 20) } else { (20, 3) };
    let (echo, plain) = (echo(), Origin::saying("hello"));
    let slow = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")?;
        for _ in 0..200 {
            exchange.send("x")?;
            exchange.pause(Duration::from_millis(10));
        }
        Ok(crate::support::Then::Keep)
    });
    let pools = format!(
        "pools:\n  web: {{ backends: ['{}'] }}\n  ws: {{ backends: ['{}'] }}\n  slow: {{ backends: ['{}'] }}\n\
         routes:\n  - {{ match: {{ path: /ws }}, pool: ws }}\n  - {{ match: {{ path: /slow }}, pool: slow }}\n  - {{ pool: web }}\n",
        plain.address, echo.address, slow.address
    );
    let mut old = Replaceable::start(&pools);
    let load = Load::start(&old.evenkeel);
    let mut tunnels = Vec::new();
    let mut downloads = Vec::new();
    for _ in 0..upgrades {
        for _ in 0..sockets / upgrades {
            tunnels.push(tunnel(&old.evenkeel));
        }
        let address = old.evenkeel.http();
        downloads.extend((0..5).map(|_| thread::spawn(move || Client::connect(address).get("/slow").body.len())));
        load.more();
        old.upgrade();
        load.more();
        let cut = tunnels.iter_mut().filter_map(|client| echoed(client).err()).count();
        assert_eq!(cut, 0, "of {}", tunnels.len());
    }
    assert!(downloads.into_iter().all(|download| download.join().unwrap() == 200));
    assert_eq!(load.failures(), [""; 0]);
    assert!(old.evenkeel.alive(), "it has WebSockets");
}

/// Each upgrade would add a process that probes, as long as somebody's stream is open in it.
#[test]
fn a_process_that_has_handed_over_stops_to_probe() {
    let (origin, tunnel) = (Origin::saying("hello"), echo());
    let pools = format!(
        "limits: {{ idle_timeout: 1s }}\npools:\n  web: {{ backends: ['{}'], health_check: {{ http: {{}}, interval: 100ms, timeout: 90ms }} }}\n  \
         ws: {{ backends: ['{}'] }}\nroutes: [{{ match: {{ path: /ws }}, pool: ws }}, {{ pool: web }}]\n",
        origin.address, tunnel.address
    );
    let mut old = Replaceable::start(&pools);
    let mut client = old.evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    let (_, _) = old.upgrade();
    // Two processes probe twenty times a second, one ten times.
    let rate = || {
        let before = origin.probes().len();
        thread::sleep(Duration::from_secs(1));
        origin.probes().len() - before
    };
    let mut last = usize::MAX;
    wait_until("one process is left that probes", || {
        last = rate();
        last <= 14
    });
    assert!(last >= 2, "the new one does: {last}");
    assert!(old.evenkeel.alive());
    client.send([0x82, 1, b'x']);
    assert_eq!(client.bytes(3), [0x82, 1, b'x']);
}
