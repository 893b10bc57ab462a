//! Sessions that are gone on with: for any number of clients, over upgrades, and only where the same is asked of clients.

use std::process::Command;
use std::sync::Arc;

use rustls::{ClientConfig, version};
use tempfile::tempdir;

use crate::sni::over_tls;
use crate::support::evenkeel::pool;
use crate::support::replaceable::Replaceable;
use crate::support::sites::{Settings, authority, client, connect, site};
use crate::support::tls::have_openssl;
use crate::support::{Evenkeel, Origin};

/// Connect, and take the tickets, which come with the first answer.
#[track_caller]
fn visit(address: std::net::SocketAddr, client: &Arc<ClientConfig>) -> bool {
    let mut tls = connect(address, "localhost", client).unwrap();
    assert_eq!(tls.client.get("/").status, 200);
    tls.resumed
}

#[test]
fn more_clients_than_any_cache_come_back() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let evenkeel = over_tls(&format!("certificates: [{}]", site(dir.path(), "site", &["localhost"]).yaml()), &origin);
    let address = evenkeel.http();
    for versions in [[&version::TLS13], [&version::TLS12]] {
        let clients: Vec<_> =
            (0..300).map(|_| Settings { versions: &versions, ..Settings::default() }.client()).collect();
        let first = clients.iter().filter(|client| visit(address, client)).count();
        assert_eq!(first, 0);
        let again = clients.iter().filter(|client| visit(address, client)).count();
        assert_eq!(again, 300, "{versions:?}");
    }
    let sample = format!("evenkeel_tls_handshakes_total{{listener=\"{address}\",outcome=\"resumed\"}}");
    assert_eq!(evenkeel.metric(&sample), 600.0);
}

#[test]
fn sessions_outlive_reloads_and_upgrades() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let site = site(dir.path(), "site", &["localhost"]);
    let yaml = |more: &str| {
        format!(
            "listeners: [{{ address: 127.0.0.1:0, tls: {{ certificates: [{}]{more} }} }}]\n{}",
            site.yaml(),
            pool(&[origin.address], "")
        )
    };
    let mut replaceable = Replaceable::start(&yaml(""));
    let address = replaceable.evenkeel.http();
    let clients: Vec<_> = (0..10).map(|_| Settings::default().client()).collect();
    assert!(clients.iter().all(|client| !visit(address, client)));
    replaceable.configure(&yaml(", hsts: 1d"));
    assert!(replaceable.evenkeel.ask("reload", &[]).status.success());
    assert!(clients.iter().all(|client| visit(address, client)), "after a reload");
    replaceable.upgrade();
    assert!(clients.iter().all(|client| visit(address, client)), "after an upgrade");
    assert!(!visit(address, &Settings::default().client()));
}

#[test]
fn a_session_of_one_door_opens_no_other() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let (site, one) = (site(dir.path(), "site", &["localhost"]), authority(dir.path(), "one"));
    let (other, alice) = (authority(dir.path(), "other"), client(dir.path(), "alice", "/CN=alice", "DNS:a", &one));
    let listener =
        |more: &str| format!("  - {{ address: 127.0.0.1:0, tls: {{ certificates: [{}]{more} }} }}\n", site.yaml());
    let ca = |pair: &crate::support::sites::Pair| format!(", client_ca: {}", pair.certificate);
    let listeners = [
        listener(""),
        listener(""),
        listener(&(ca(&one) + ", client_auth: optional")),
        listener(&ca(&one)),
        listener(&ca(&other)),
    ];
    let evenkeel = Evenkeel::start(&format!("listeners:\n{}{}", listeners.concat(), pool(&[origin.address], "")));
    let [open, too, optional, required, elsewhere] = evenkeel.listeners[..] else { panic!() };
    for versions in [[&version::TLS13], [&version::TLS12]] {
        let make = |certificate| Settings { versions: &versions, certificate, ..Settings::default() }.client();
        let anybody = make(None);
        assert!(!visit(open, &anybody));
        assert!(visit(too, &anybody), "the same is asked for");
        assert!(!visit(optional, &anybody));
        // It has a session without a certificate, which is not enough.
        let tls = connect(required, "localhost", &anybody).map(|mut tls| tls.client.try_get("/").is_ok());
        assert!(!tls.unwrap_or(false));
        let alice = make(Some(&alice));
        assert!(!visit(required, &alice));
        assert!(visit(required, &alice));
        assert_eq!(origin.last().head.all("x-client-cert-subject"), ["CN=alice"], "it is known when it comes back");
        let tls = connect(elsewhere, "localhost", &alice).map(|mut tls| tls.client.try_get("/").is_ok());
        assert!(!tls.unwrap_or(false), "nobody has asked this authority");
    }
}

#[test]
fn openssl_comes_back_too() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let evenkeel = over_tls(&format!("certificates: [{}]", site(dir.path(), "site", &["localhost"]).yaml()), &origin);
    let session = dir.path().join("session");
    let session = session.to_str().unwrap();
    let visit = |version: &str, how: &str| {
        let command = format!(
            "printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client -quiet -no_ign_eof \
             -connect {} -servername localhost {version} {how} {session} 2>&1; true",
            evenkeel.http()
        );
        let command = command.replace("-quiet -no_ign_eof", "-ign_eof");
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for version in ["-tls1_3", "-tls1_2"] {
        let first = visit(version, "-sess_out");
        assert!(first.contains("New, TLS") && first.contains("hello"), "{first}");
        let again = visit(version, "-sess_in");
        assert!(again.contains("Reused, TLS") && again.contains("hello"), "{again}");
    }
}
