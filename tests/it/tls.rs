//! TLS and HTTP/2 towards clients, with curl.

use std::process::Command;

use tempfile::TempDir;

use crate::support::evenkeel::pool;
use crate::support::tls::{have_openssl, self_signed};
use crate::support::{Evenkeel, Origin, have};

pub fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "-m", "10"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn curl_speaks_http2() -> bool {
    let version = Command::new("curl").arg("--version").output().unwrap();
    let speaks = String::from_utf8_lossy(&version.stdout).contains("HTTP2");
    if !speaks {
        assert!(std::env::var_os("CI").is_none(), "this curl has no HTTP/2, in CI");
        eprintln!("skipped: this curl has no HTTP/2");
    }
    speaks
}

/// A TLS listener in front of one pool, and its certificate.
fn over_tls(dir: &TempDir, origin: &Origin, more: &str) -> (Evenkeel, String) {
    let (certificate, key) = self_signed(dir);
    let evenkeel = Evenkeel::start(&format!(
        "listeners:\n  - address: 127.0.0.1:0\n    tls: {{ certificates: [{{ certificate: {certificate}, key: {key} }}] }}\n{}",
        pool(&[origin.address], more)
    ));
    (evenkeel, certificate)
}

#[test]
fn https_with_either_version() {
    if !have("curl") || !have_openssl() || !curl_speaks_http2() {
        return;
    }
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::saying("hello"));
    let (evenkeel, certificate) = over_tls(&dir, &origin, "");
    let port = evenkeel.http().port();
    let (url, resolve) = (format!("https://localhost:{port}/a"), format!("localhost:{port}:127.0.0.1"));
    let trust = ["--cacert", &certificate, "--resolve", &resolve, "-w", " %{http_version}", &url];
    for (version, says) in [("--http2", "hello 2"), ("--http1.1", "hello 1.1")] {
        assert_eq!(curl(&[&[version][..], &trust[..]].concat()), says);
        let head = origin.last().head;
        assert_eq!(head.all("x-forwarded-proto"), ["https"]);
        assert_eq!(head.all("host"), [format!("localhost:{port}")]);
        assert_eq!(head.start, "GET /a HTTP/1.1");
    }
}

#[test]
fn a_sticky_cookie_stays_on_tls() {
    if !have("curl") || !have_openssl() {
        return;
    }
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::saying("hello"));
    let (evenkeel, certificate) = over_tls(&dir, &origin, "sticky: { cookie: lb, ttl: 1h }");
    let port = evenkeel.http().port();
    let (url, resolve) = (format!("https://localhost:{port}/"), format!("localhost:{port}:127.0.0.1"));
    let trust = ["--cacert", &certificate, "--resolve", &resolve, "-i", &url];
    let set_cookie = |more: &[&str]| {
        let said = curl(&[more, &trust].concat());
        let lines = said.lines().filter(|line| line.to_ascii_lowercase().starts_with("set-cookie: lb="));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for version in ["--http1.1", "--http2"] {
        let cookies = set_cookie(&[version]);
        assert!(cookies.len() == 1 && cookies[0].trim().ends_with("; Secure"), "{cookies:?}");
        let value = cookies[0].split([' ', ';']).nth(1).unwrap();
        assert_eq!(set_cookie(&[version, "-b", value]), [""; 0]);
    }
}

#[test]
fn http2_without_tls() {
    if !have("curl") || !curl_speaks_http2() {
        return;
    }
    let origin = Origin::new(|exchange| {
        let length = exchange.body()?.len();
        exchange.ok(&format!("{} {length}", exchange.method().to_owned()))
    });
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: '127.0.0.1:0', h2c: true }}]\n{}",
        pool(&[origin.address], "")
    ));
    let url = format!("http://{}/b?c", evenkeel.http());
    let prior = ["--http2-prior-knowledge", "-w", " %{http_version}"];
    assert_eq!(curl(&[&prior[..], &[&url]].concat()), "GET 0 2");
    let head = origin.last().head;
    assert_eq!(
        (head.start.as_str(), head.all("host")),
        ("GET /b?c HTTP/1.1", vec![evenkeel.http().to_string().as_str()])
    );
    assert_eq!(head.all("x-forwarded-host"), [evenkeel.http().to_string()]);
    let body = "x".repeat(50_000);
    assert_eq!(curl(&[&prior[..], &["--data", &body, &url]].concat()), "POST 50000 2");
    // A backend speaking HTTP/1.1 wants one Cookie header.
    curl(&[&prior[..], &["-H", "Cookie: a=1; b=2", &url]].concat());
    assert_eq!(origin.last().head.all("cookie"), ["a=1; b=2"]);
    assert_eq!(evenkeel.requests(3)[2]["protocol"], "HTTP/2.0");
    // HEAD, and a failure.
    assert!(curl(&["--http2-prior-knowledge", "-I", &url]).starts_with("HTTP/2 200"));
}

#[test]
fn an_error_over_http2_has_its_reason_too() {
    if !have("curl") || !curl_speaks_http2() {
        return;
    }
    let mut origin = Origin::saying("closed");
    origin.stop();
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: '127.0.0.1:0', h2c: true }}]\n{}",
        pool(&[origin.address], "")
    ));
    let url = format!("http://{}/", evenkeel.http());
    let said = curl(&["--http2-prior-knowledge", "-i", &url]);
    assert!(said.starts_with("HTTP/2 502"), "{said}");
    assert!(said.contains("x-evenkeel-reason: connect_failed"), "{said}");
}
