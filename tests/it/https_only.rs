//! Clients are told to come by TLS: `redirect_to_https` and `hsts`.

use tempfile::tempdir;

use crate::sni::over_tls;
use crate::support::evenkeel::pool;
use crate::support::sites::{Settings, connect, site};
use crate::support::tls::have_openssl;
use crate::support::{Evenkeel, Origin};
use crate::tls::{curl, curl_speaks_http2};

fn redirecting(form: &str, more: &str, origin: &Origin) -> Evenkeel {
    Evenkeel::start(&format!(
        "{more}listeners: [{{ address: 127.0.0.1:0, redirect_to_https: {form} }}]\n{}",
        pool(&[origin.address], "")
    ))
}

#[test]
fn everything_is_sent_to_https() {
    let origin = Origin::saying("hello");
    let evenkeel = redirecting("true", "", &origin);
    let mut client = evenkeel.client();
    for request in [
        "GET /a/b?c=d HTTP/1.1\r\nHost: example.com:8080\r\n\r\n",
        "POST /a/b?c=d HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody",
    ] {
        let response = client.send(request).read();
        assert_eq!((response.status, response.header("location")), (308, Some("https://example.com/a/b?c=d")));
        assert_eq!(response.header("strict-transport-security"), None);
    }
    assert_eq!(evenkeel.client().send("GET / HTTP/1.0\r\n\r\n").read().status, 400);
    assert_eq!(origin.count(), 0);
    let lines = evenkeel.requests(3);
    assert!(lines[0]["reason"].is_null() && lines[0]["status"] == 308, "{lines:?}");
}

#[test]
fn the_port_and_the_status_are_as_configured() {
    let origin = Origin::saying("hello");
    for (form, status, location) in [
        ("8443", 308, "https://test:8443/"),
        ("{ port: 443, status: 301 }", 301, "https://test/"),
        ("{ port: 8443, status: 302 }", 302, "https://test:8443/"),
    ] {
        let response = redirecting(form, "", &origin).get("/");
        assert_eq!((response.status, response.header("location")), (status, Some(location)));
    }
}

#[test]
fn an_authoritys_token_and_who_has_come_by_tls_pass() {
    let origin = Origin::saying("token");
    let evenkeel = redirecting("true", "", &origin);
    assert_eq!(evenkeel.get("/.well-known/acme-challenge/abc_DEF-1").text(), "token");
    assert_eq!(evenkeel.get("/.well-known/acme-challenge/a/../../../admin").status, 308);
    let behind = "X-Forwarded-Proto: https\r\n";
    assert_eq!(evenkeel.client().get_with("/", behind).status, 308, "nobody believes a stranger");
    let evenkeel = redirecting("true", "trusted_proxies: [127.0.0.1]\n", &origin);
    assert_eq!(evenkeel.client().get_with("/", behind).status, 200);
    assert_eq!(evenkeel.client().get_with("/", "X-Forwarded-Proto: http\r\n").status, 308);
}

#[test]
fn every_answer_over_tls_is_strict() {
    if !have_openssl() || !curl_speaks_http2() {
        return;
    }
    let dir = tempdir().unwrap();
    let mut origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 0\r\n\r\n")?;
        Ok(crate::support::Then::Keep)
    });
    let site = site(dir.path(), "site", &["localhost"]);
    let tls = "hsts: { max_age: 365d, include_subdomains: true, preload: true }";
    let evenkeel = over_tls(&format!("certificates: [{}], {tls}", site.yaml()), &origin);
    let value = "max-age=31536000; includeSubDomains; preload";
    let port = evenkeel.http().port();
    let (url, resolve) = (format!("https://localhost:{port}/"), format!("localhost:{port}:127.0.0.1"));
    let http2 = || curl(&["--http2", "-i", "--cacert", &site.certificate, "--resolve", &resolve, &url]);
    let connect = || connect(evenkeel.http(), "localhost", &Settings::default().client()).unwrap().client;
    assert_eq!(connect().get("/").head.all("strict-transport-security"), [value], "in the place of the backend's");
    assert!(http2().contains(&format!("strict-transport-security: {value}")));
    // Before there is a request.
    let malformed = connect().send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").read();
    assert_eq!((malformed.status, malformed.head.all("strict-transport-security")), (400, vec![value]));
    origin.stop();
    let response = connect().get("/");
    assert_eq!((response.status, response.head.all("strict-transport-security")), (502, vec![value]));
    let said = http2();
    assert!(said.starts_with("HTTP/2 502") && said.contains(value), "{said}");
}

#[test]
fn a_hedged_answer_is_strict_too() {
    if !have_openssl() {
        return;
    }
    let (dir, one, two) = (tempdir().unwrap(), Origin::saying("one"), Origin::saying("two"));
    let site = site(dir.path(), "site", &["localhost"]);
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, tls: {{ certificates: [{}], hsts: 1h }} }}]\n{}",
        site.yaml(),
        pool(&[one.address, two.address], "hedge: { after: 500ms }")
    ));
    let mut client = connect(evenkeel.http(), "localhost", &Settings::default().client()).unwrap().client;
    let response = client.get("/");
    assert_eq!((response.status, response.header("strict-transport-security")), (200, Some("max-age=3600")));
}
