//! Certificates, made by openssl.

use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A certificate for localhost and its key, in files.
pub fn self_signed(dir: &TempDir) -> (String, String) {
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("site.pem"), path("site.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        // An authority's own certificate is none that a server may show, to rustls.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &certificate])
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    (certificate, key)
}

/// Whether openssl is there; without it a test is skipped, but not in CI.
pub fn have_openssl() -> bool {
    let found = Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "openssl is missing, in CI");
        eprintln!("skipped: openssl is missing");
    }
    found
}
