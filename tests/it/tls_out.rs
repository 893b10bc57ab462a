//! TLS towards backends, with nginx at the other end.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::evenkeel::run;
use crate::support::nginx::{Nginx, free};
use crate::support::tls::{Authority, have_openssl};
use crate::support::{Evenkeel, have, wait_until};

/// Says whom it was asked as, by whom, in what and on which connection.
const SAYS: &str = "return 200 \"$ssl_server_name|$ssl_client_s_dn|$server_protocol|$http_upgrade|$connection\";";

struct Backend {
    dir: TempDir,
    authority: Authority,
    /// With HTTP/2, and with HTTP/1.1 alone.
    http2: SocketAddr,
    http1: SocketAddr,
    _nginx: Nginx,
}

impl Backend {
    /// `None`, said, where something is missing.
    fn start() -> Option<Backend> {
        if !have("nginx") || !have_openssl() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(&dir, "authority");
        let (certificate, key) = authority.sign(&dir, "site", "DNS:localhost");
        let (http2, http1) = (free(), free());
        let tls = format!(
            "ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_verify_client optional_no_ca; location / {{ {SAYS} }}"
        );
        let servers = format!("server {{ listen {http2} ssl http2; {tls} }}\nserver {{ listen {http1} ssl; {tls} }}\n");
        let nginx = Nginx::start(dir.path(), &servers, http1);
        Some(Backend { dir, authority, http2, http1, _nginx: nginx })
    }

    fn ca(&self) -> &str {
        &self.authority.certificate
    }
}

/// A pool for each of these, reached below `/NAME`, with one backend and no second attempts.
fn pools(of: &[(&str, String)]) -> String {
    let mut text = String::from("pools:\n");
    let mut routes = String::from("routes:\n");
    for (name, keys) in of {
        text.push_str(&format!("  {name}: {{ {keys}, health_check: off, ejection: off, retry: off }}\n"));
        routes.push_str(&format!("  - {{ match: {{ path_prefix: /{name} }}, pool: {name} }}\n"));
    }
    text + &routes
}

fn on(address: SocketAddr, keys: &str) -> String {
    format!("backends: ['{address}'], {keys}")
}

fn said(evenkeel: &Evenkeel, path: &str) -> Vec<String> {
    let response = evenkeel.get(path);
    assert_eq!(response.status, 200, "{path}: {}", evenkeel.log());
    response.text().split('|').map(str::to_owned).collect()
}

#[track_caller]
fn refused(evenkeel: &Evenkeel, path: &str, reason: &str) {
    let response = evenkeel.get(path);
    assert_eq!((response.status, response.reason()), (502, reason), "{path}: {}", response.text());
}

#[test]
fn a_backend_is_verified() {
    let Some(backend) = Backend::start() else { return };
    let other = Authority::new(&backend.dir, "other");
    let (address, ca) = (backend.http1, backend.ca());
    let port = address.port();
    let evenkeel = Evenkeel::start(&pools(&[
        ("good", on(address, &format!("tls: {{ server_name: localhost, ca: {ca} }}"))),
        ("named", format!("backends: ['localhost:{port}'], tls: {{ ca: {ca} }}")),
        ("unknown", on(address, "tls: { server_name: localhost }")),
        ("stranger", on(address, &format!("tls: {{ server_name: localhost, ca: {} }}", other.certificate))),
        ("elsewhere", on(address, &format!("tls: {{ server_name: example.com, ca: {ca} }}"))),
        ("address", on(address, &format!("tls: {{ ca: {ca} }}"))),
        ("anybody", on(address, "tls: { insecure_skip_verify: true }")),
        ("plain", on(address, "tls: off")),
    ]));
    // Ahead of the others, who could use its connection.
    assert_eq!(said(&evenkeel, "/good")[..3], ["localhost", "", "HTTP/1.1"]);
    assert_eq!(said(&evenkeel, "/named")[0], "localhost");
    for path in ["/unknown", "/stranger", "/elsewhere", "/address"] {
        refused(&evenkeel, path, "connect_failed");
    }
    assert_eq!(said(&evenkeel, "/anybody")[0], "", "an address is not sent as a name");
    assert_eq!(evenkeel.get("/plain").status, 400);
    let lines = evenkeel.lines("invalid peer certificate");
    assert!(lines.len() >= 4 && lines.iter().any(|line| line.contains("not valid for name")), "{}", evenkeel.log());
}

#[test]
fn an_address_may_be_verified() {
    let Some(backend) = Backend::start() else { return };
    let (certificate, key) = backend.authority.sign(&backend.dir, "address", "IP:127.0.0.1");
    let address = free();
    let server = format!(
        "server {{ listen {address} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; location / {{ {SAYS} }} }}"
    );
    let dir = tempfile::tempdir().unwrap();
    let _nginx = Nginx::start(dir.path(), &server, address);
    let evenkeel = Evenkeel::start(&pools(&[("good", on(address, &format!("tls: {{ ca: {} }}", backend.ca())))]));
    assert_eq!(said(&evenkeel, "/good")[2], "HTTP/1.1");
}

#[test]
fn connections_are_not_shared_by_those_who_show_different_certificates() {
    let Some(backend) = Backend::start() else { return };
    let client = |name: &str| {
        let (certificate, key) = backend.authority.sign(&backend.dir, name, "DNS:client");
        format!("certificate: {certificate}, key: {key}")
    };
    let (one, two) = (client("one"), client("two"));
    let pool = |address, protocol: &str, shown: &str| {
        on(address, &format!("protocol: {protocol}, tls: {{ server_name: localhost, ca: {}, {shown} }}", backend.ca()))
    };
    let evenkeel = Evenkeel::start(&pools(&[
        ("a1", pool(backend.http1, "h1", &one)),
        ("b1", pool(backend.http1, "h1", &two)),
        ("c1", pool(backend.http1, "h1", "insecure_skip_verify: false")),
        ("a2", pool(backend.http2, "h2", &one)),
        ("b2", pool(backend.http2, "h2", &two)),
        ("c2", pool(backend.http2, "h2", "insecure_skip_verify: false")),
    ]));
    for version in ["1", "2"] {
        let mut owners = std::collections::HashMap::new();
        for _ in 0..3 {
            for (pool, subject) in [("a", "CN=one"), ("b", "CN=two"), ("c", "")] {
                let said = said(&evenkeel, &format!("/{pool}{version}"));
                assert_eq!(said[1], subject);
                // How many there are depends on how busy the machine is.
                let owner = *owners.entry(said[4].clone()).or_insert(subject);
                assert_eq!(owner, subject, "each pool keeps its own: {owners:?}");
            }
        }
    }
}

#[test]
fn the_protocol_is_what_was_asked_for_or_nothing() {
    let Some(backend) = Backend::start() else { return };
    let tls = format!("tls: {{ server_name: localhost, ca: {} }}", backend.ca());
    let pool = |address, protocol: &str| on(address, &format!("protocol: {protocol}, {tls}"));
    let evenkeel = Evenkeel::start(&pools(&[
        ("h1", pool(backend.http2, "h1")),
        ("h2", pool(backend.http2, "h2")),
        ("auto", pool(backend.http2, "auto")),
        ("h2old", pool(backend.http1, "h2")),
        ("autoold", pool(backend.http1, "auto")),
    ]));
    for _ in 0..2 {
        assert_eq!(said(&evenkeel, "/h1")[2], "HTTP/1.1");
        assert_eq!(said(&evenkeel, "/h2")[2], "HTTP/2.0");
        assert_eq!(said(&evenkeel, "/auto")[2], "HTTP/2.0");
        // nginx refuses the handshake, as it should where nothing can be agreed on.
        refused(&evenkeel, "/h2old", "connect_failed");
        assert_eq!(said(&evenkeel, "/autoold")[2], "HTTP/1.1");
    }
}

#[test]
fn a_backend_that_says_nothing_by_alpn_gets_nothing_in_http1() {
    let Some(backend) = Backend::start() else { return };
    let (site, key) = backend.authority.sign(&backend.dir, "silent", "DNS:localhost");
    let address = free();
    let mut command = Command::new("openssl");
    let command =
        command.args(["s_server", "-quiet", "-www", "-cert", &site, "-key", &key, "-accept", &address.to_string()]);
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("it listens", || TcpStream::connect(address).is_ok());
    let tls = format!("tls: {{ server_name: localhost, ca: {} }}", backend.ca());
    let evenkeel = Evenkeel::start(&pools(&[
        ("h2", on(address, &format!("protocol: h2, {tls}"))),
        ("auto", on(address, &format!("protocol: auto, {tls}"))),
    ]));
    for _ in 0..2 {
        refused(&evenkeel, "/h2", "backend_protocol");
    }
    assert_eq!(evenkeel.get("/auto").status, 200);
    evenkeel.logged("the backend does not agree to h2 by ALPN", 2);
    let _ = server.kill();
    let _ = server.wait();
}

#[test]
fn an_upgrade_is_asked_for_in_http1() {
    let Some(backend) = Backend::start() else { return };
    let tls = format!("tls: {{ server_name: localhost, ca: {} }}", backend.ca());
    let evenkeel = Evenkeel::start(&pools(&[("auto", on(backend.http2, &format!("protocol: auto, {tls}")))]));
    assert_eq!(said(&evenkeel, "/auto")[2], "HTTP/2.0");
    let mut client = evenkeel.client();
    client.send("GET /auto HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert!(client.read().text().contains("|HTTP/1.1|websocket|"));
    assert_eq!(said(&evenkeel, "/auto")[2], "HTTP/2.0", "its connection is for upgrades alone");
}

#[test]
fn a_reload_takes_renewed_files_up() {
    let Some(backend) = Backend::start() else { return };
    let other = Authority::new(&backend.dir, "other");
    let file = backend.dir.path().join("trusted.pem");
    std::fs::copy(&other.certificate, &file).unwrap();
    let yaml = pools(&[(
        "web",
        on(backend.http2, &format!("protocol: h2, tls: {{ server_name: localhost, ca: {} }}", file.display())),
    )]);
    let evenkeel = Evenkeel::start(&yaml);
    refused(&evenkeel, "/web", "connect_failed");
    std::fs::copy(backend.ca(), &file).unwrap();
    let receipt = evenkeel.reload(&yaml);
    assert!(receipt.contains("pools 1 changed"), "{receipt}");
    assert_eq!(said(&evenkeel, "/web")[2], "HTTP/2.0");
    std::fs::copy(&other.certificate, &file).unwrap();
    evenkeel.reload(&yaml);
    // The connection that is open was made with another in mind.
    refused(&evenkeel, "/web", "connect_failed");
}

#[test]
fn files_that_cannot_be_used_are_mistakes() {
    if !have_openssl() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(&dir, "authority");
    let (certificate, _) = authority.sign(&dir, "one", "DNS:one");
    let (_, key) = authority.sign(&dir, "two", "DNS:two");
    let file = dir.path().join("lb.yaml");
    let check = |tls: &str| {
        let yaml = format!(
            "listeners: [{{ address: '127.0.0.1:0' }}]\npools:\n  web:\n    backends: ['127.0.0.1:1']\n    tls: {{ server_name: a, {tls} }}\n"
        );
        std::fs::write(&file, yaml).unwrap();
        let output = run(&["check", "-c", file.to_str().unwrap()]);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (tls, says) in [
        (
            format!("certificate: {certificate}, key: {key}"),
            "pools.web.tls.certificate: not usable here: the certificate and the key do not fit",
        ),
        (format!("certificate: {certificate}, key: {certificate}"), "pools.web.tls.key: not usable here: "),
        (format!("ca: {key}"), "pools.web.tls.ca: not usable here: "),
        ("ca: nowhere.pem".to_owned(), "nowhere.pem: no such file or folder"),
    ] {
        let said = check(&tls);
        assert!(said.contains("lb.yaml:5:") && said.contains(says), "{tls}: {said}");
    }
}

#[test]
fn health_checks_go_the_same_way() {
    let Some(backend) = Backend::start() else { return };
    let (certificate, key) = backend.authority.sign(&backend.dir, "one", "DNS:client");
    let dir = tempfile::tempdir().unwrap();
    let address = free();
    let (site, site_key) = backend.authority.sign(&backend.dir, "strict", "DNS:strict");
    let server = format!(
        "server {{ listen {address} ssl http2; ssl_certificate {site}; ssl_certificate_key {site_key}; ssl_client_certificate {}; ssl_verify_client on; location / {{ {SAYS} }} }}",
        backend.ca()
    );
    let _nginx = Nginx::start(dir.path(), &server, address);
    let tls = format!("server_name: strict, ca: {}", backend.ca());
    let pool = |tls: &str| {
        format!(
            "pools: {{ web: {{ {}, tls: {{ {tls} }}, health_check: {{ http: {{}}, timeout: 4s }} }} }}\n",
            on(address, "protocol: h2")
        )
    };
    let known = Evenkeel::start(&pool(&format!("{tls}, certificate: {certificate}, key: {key}")));
    assert_eq!(known.backends()[0]["state"], "healthy", "{}", known.backends()[0]);
    assert_eq!(said(&known, "/")[1], "CN=one");
    let stranger = Evenkeel::start_unready(&pool(&tls));
    let refused = |backend: &serde_json::Value| backend["state"] == "unhealthy";
    wait_until("the stranger is refused", || stranger.backends().first().is_some_and(refused));
}
