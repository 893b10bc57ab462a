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

/// An authority's files, with which certificates are signed.
pub struct Authority {
    pub certificate: String,
    key: String,
}

impl Authority {
    pub fn new(dir: &TempDir, name: &str) -> Authority {
        let path = |end: &str| dir.path().join(format!("{name}.{end}")).to_str().unwrap().to_owned();
        let authority = Authority { certificate: path("pem"), key: path("key") };
        openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
            &["-subj", &format!("/CN={name}"), "-keyout", &authority.key, "-out", &authority.certificate],
        );
        authority
    }

    /// A certificate for this name (`DNS:a` or `IP:1.2.3.4`) and its key, in files. All have the same serial number.
    pub fn sign(&self, dir: &TempDir, name: &str, subject: &str) -> (String, String) {
        let path = |end: &str| dir.path().join(format!("{name}.{end}")).to_str().unwrap().to_owned();
        let (certificate, key, request, extensions) = (path("pem"), path("key"), path("csr"), path("ext"));
        openssl(
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-subj", &format!("/CN={name}"), "-keyout", &key, "-out", &request],
        );
        std::fs::write(&extensions, format!("subjectAltName={subject}\nbasicConstraints=critical,CA:FALSE\n")).unwrap();
        openssl(
            &["x509", "-req", "-in", &request, "-CA", &self.certificate, "-CAkey", &self.key, "-set_serial", "7"],
            &["-days", "2", "-extfile", &extensions, "-out", &certificate],
        );
        (certificate, key)
    }
}

fn openssl(one: &[&str], other: &[&str]) {
    let output = Command::new("openssl").args(one).args(other).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
