//! A successor that is no good, in each way that there is: the old process serves on, and says why.

use std::process::Command;

use crate::support::evenkeel::{pool, run};
use crate::support::replaceable::{Load, Replaceable};
use crate::support::{Origin, wait_until};

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
        until grep -q 'listening on' DIR/heir.log; do sleep 0.01; done\nkill -STOP $pid\nexec sleep 1000\n";
    let slow = "upgrade_timeout: 1500ms\n";
    bad_successor(slow, |old, origin| stall(old, origin, slow, script), &["not ready within 1.5s (killed)"]);
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
