//! One process takes another's place.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::evenkeel::{complete, pool, run};
use crate::support::replaceable::{Load, Replaceable};
use crate::support::{Client, Evenkeel, Origin, signal, wait_until};
use crate::upgrade::{UPGRADE, echo};

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

/// A WebSocket that has carried something.
fn tunnel(evenkeel: &Evenkeel) -> Client {
    let mut client = evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    echoed(&mut client).unwrap();
    client
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
