//! Mutual TLS: who may come, and what backends are told of whom.

use tempfile::{TempDir, tempdir};

use crate::sni::over_tls;
use crate::support::evenkeel::pool;
use crate::support::sites::{Pair, Settings, authority, client, connect, site};
use crate::support::tls::have_openssl;
use crate::support::{Evenkeel, Origin};
use crate::tls::{curl, curl_speaks_http2};

/// Two authorities, and a client of each.
struct People {
    dir: TempDir,
    site: Pair,
    trusted: Pair,
    alice: Pair,
    mallory: Pair,
}

fn people() -> People {
    let dir = tempdir().unwrap();
    let (trusted, other) = (authority(dir.path(), "trusted"), authority(dir.path(), "other"));
    let names = "DNS:alice.example,URI:spiffe://example/alice,IP:10.1.2.3";
    let alice = client(dir.path(), "alice", "/C=DE/O=Example\\, Inc/CN=alice", names, &trusted);
    let mallory = client(dir.path(), "mallory", "/CN=alice", names, &other);
    People { site: site(dir.path(), "site", &["localhost"]), dir, trusted, alice, mallory }
}

fn as_client(certificate: Option<&Pair>) -> std::sync::Arc<rustls::ClientConfig> {
    Settings { certificate, ..Settings::default() }.client()
}

/// The status that a client gets, or that it gets none. In TLS 1.3 it finds out after its own part of the handshake.
fn status(evenkeel: &Evenkeel, certificate: Option<&Pair>) -> Result<u16, String> {
    let mut tls = connect(evenkeel.http(), "localhost", &as_client(certificate)).map_err(|e| e.to_string())?;
    tls.client.try_get("/").map(|response| response.status).map_err(|e| e.to_string())
}

const SPOOFED: &str = "Client-Cert: :AAAA:\r\nclient-cert-chain: :AAAA:\r\nX-Client-Cert-Subject: CN=root\r\n\
    X_Client_Cert_Subject: CN=root\r\nX-Client-Cert-Fingerprint: 00\r\nX-Client-Cert-Anything: 1\r\nX-Client: me\r\n";

#[test]
fn only_who_shows_a_good_certificate_comes_in() {
    if !have_openssl() {
        return;
    }
    let (people, origin) = (people(), Origin::saying("hello"));
    let tls = format!("certificates: [{}], client_ca: {}", people.site.yaml(), people.trusted.certificate);
    let evenkeel = over_tls(&tls, &origin);
    assert_eq!(status(&evenkeel, Some(&people.alice)), Ok(200));
    let refused = status(&evenkeel, None).unwrap_err();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let refused = status(&evenkeel, Some(&people.mallory)).unwrap_err();
    assert!(refused.contains("UnknownCA") || refused.contains("DecryptError"), "{refused}");
    assert_eq!(origin.count(), 1);
    let name = evenkeel.http();
    let count = |outcome| {
        evenkeel.metric(&format!("evenkeel_tls_handshakes_total{{listener=\"{name}\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!((count("full"), count("client_certificate")), (1.0, 2.0));
}

#[test]
fn a_certificate_may_be_optional_but_not_bad() {
    if !have_openssl() {
        return;
    }
    let (people, origin) = (people(), Origin::saying("hello"));
    let tls = format!(
        "certificates: [{}], client_ca: {}, client_auth: optional",
        people.site.yaml(),
        people.trusted.certificate
    );
    let evenkeel = over_tls(&tls, &origin);
    assert_eq!(status(&evenkeel, None), Ok(200));
    assert_eq!(origin.last().head.all("client-cert"), [""; 0]);
    assert_eq!(status(&evenkeel, Some(&people.alice)), Ok(200));
    assert_eq!(origin.last().head.all("x-client-cert-subject"), ["CN=alice,O=Example\\, Inc,C=DE"]);
    assert!(status(&evenkeel, Some(&people.mallory)).is_err());
}

#[test]
fn backends_are_told_of_the_certificate_and_never_by_the_client() {
    if !have_openssl() || !curl_speaks_http2() {
        return;
    }
    let (people, origin) = (people(), Origin::saying("hello"));
    let tls = format!("certificates: [{}], client_ca: {}", people.site.yaml(), people.trusted.certificate);
    let evenkeel = over_tls(&tls, &origin);
    let mut tls = connect(evenkeel.http(), "localhost", &as_client(Some(&people.alice))).unwrap();
    let port = evenkeel.http().port();
    let (url, resolve) = (format!("https://localhost:{port}/"), format!("localhost:{port}:127.0.0.1"));
    for http2 in [false, true] {
        if http2 {
            let (cert, key) = (&people.alice.certificate, &people.alice.key);
            let trust = ["--cacert", &people.site.certificate, "--resolve", &resolve, "--cert", cert, "--key", key];
            curl(
                &[&["--http2", "-H", "X-Client-Cert-Subject: CN=root", "-H", "Client-Cert: :AA:"], &trust[..], &[&url]]
                    .concat(),
            );
        } else {
            assert_eq!(tls.client.get_with("/", SPOOFED).status, 200);
        }
        let head = origin.last().head;
        assert_eq!(head.all("x-client-cert-subject"), ["CN=alice,O=Example\\, Inc,C=DE"]);
        let fingerprint = ring::digest::digest(&ring::digest::SHA256, &people.alice.der());
        let fingerprint: String = fingerprint.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(head.all("x-client-cert-fingerprint"), [fingerprint]);
        let pem = std::fs::read_to_string(&people.alice.certificate).unwrap();
        let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        assert_eq!(head.all("client-cert"), [format!(":{base64}:")]);
        for spoofed in ["client-cert-chain", "x_client_cert_subject", "x-client-cert-anything"] {
            assert_eq!(head.all(spoofed), [""; 0], "{spoofed}");
        }
    }
    drop(people.dir);
}

#[test]
fn nobody_pretends_on_a_plain_listener() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&format!("trusted_proxies: [127.0.0.0/8]\n{}", pool(&[origin.address], "")));
    assert_eq!(evenkeel.client().get_with("/", SPOOFED).status, 200);
    let head = origin.last().head;
    for name in ["client-cert", "client-cert-chain", "x-client-cert-subject", "x_client_cert_subject"] {
        assert_eq!(head.all(name), [""; 0], "{name}");
    }
    assert_eq!(head.all("x-client"), ["me"]);
}
