//! What is said of files that cannot be served.

use std::fs;
use std::path::Path;

use super::{examine, warnings};
use crate::config::{Config, Mistake};

const CERTIFICATE: &str = include_str!("pem/site.pem");
const KEY: &str = include_str!("pem/site.key");
const OTHER_KEY: &str = include_str!("pem/other.key");
const AT: &str = "3:42: listeners[0].tls.certificates[0]";

fn said(mistakes: Vec<Mistake>, folder: &Path) -> Vec<String> {
    let line = |m: Mistake| format!("{}:{}: {}: {}", m.at.line, m.at.column, m.key, m.message);
    let folder = format!("{}/", folder.display());
    mistakes.into_iter().map(line).map(|line| line.replace(&folder, "")).collect()
}

/// What is wrong with these `tls` keys in a folder that has these files.
fn examined(tls: &str, files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let text = format!(
        "listeners:\n  - address: :443\n    tls: {{ {tls} }}\npools: {{ web: {{ backends: [127.0.0.1:1] }} }}\n"
    );
    let file = folder.path().join("lb.yaml");
    fs::write(&file, text).unwrap();
    said(examine(&Config::load(&file).unwrap()), folder.path())
}

/// The same of one certificate; `None` leaves a file out.
fn pair(certificate: Option<&str>, key: Option<&str>) -> Vec<String> {
    let files = [("c.pem", certificate), ("k.pem", key)];
    let files: Vec<_> = files.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    examined("certificates: [{ certificate: c.pem, key: k.pem }]", &files)
}

#[test]
fn a_certificate_and_its_key_are_usable() {
    assert_eq!(pair(Some(CERTIFICATE), Some(KEY)), [""; 0]);
}

#[test]
fn both_files_must_be_readable() {
    assert_eq!(
        pair(None, None),
        [
            format!("{AT}.certificate: not usable here: cannot read c.pem: no such file or folder"),
            format!("{AT}.key: not usable here: cannot read k.pem: no such file or folder"),
        ]
    );
}

#[test]
fn both_files_must_hold_what_they_are_named_for() {
    let certificate = |why: &str| [format!("{AT}.certificate: not usable here: {why}")];
    assert_eq!(pair(Some(KEY), Some(KEY)), certificate("c.pem has no CERTIFICATE in it"));
    assert_eq!(
        pair(Some(CERTIFICATE), Some(CERTIFICATE)),
        [format!("{AT}.key: not usable here: k.pem has no unencrypted PRIVATE KEY in it")]
    );
    let broken = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
    assert_eq!(pair(Some(broken), Some(KEY)), certificate("c.pem is not valid PEM"));
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let lines = pair(Some(nonsense), Some(KEY));
    assert!(lines[0].starts_with(&format!("{AT}.certificate: not usable here: ")), "{lines:?}");
}

#[test]
fn the_key_must_be_the_certificates() {
    assert_eq!(
        pair(Some(CERTIFICATE), Some(OTHER_KEY)),
        [format!("{AT}.certificate: not usable here: the key in k.pem is another certificate's")]
    );
}

#[test]
fn a_name_is_served_by_one_certificate_of_a_kind() {
    let files = [("c.pem", CERTIFICATE), ("d.pem", CERTIFICATE), ("k.pem", KEY)];
    let two = "certificates: [{ certificate: c.pem, key: k.pem }, { certificate: d.pem, key: k.pem }]";
    let lines = examined(two, &files);
    let begins = "3:78: listeners[0].tls.certificates[1].certificate: not usable here: is for ";
    assert!(lines.len() == 1 && lines[0].starts_with(begins), "{lines:?}");
    assert!(lines[0].ends_with(" key, and so is certificates[0]"), "{lines:?}");
}

#[test]
fn authorities_must_be_there() {
    let files = [("c.pem", CERTIFICATE), ("k.pem", KEY)];
    let ca = |path: &str| {
        examined(&format!("certificates: [{{ certificate: c.pem, key: k.pem }}], client_ca: {path}"), &files)
    };
    let at = "3:75: listeners[0].tls.client_ca: not usable here:";
    assert_eq!(ca("none.pem"), [format!("{at} cannot read none.pem: no such file or folder")]);
    assert_eq!(ca("k.pem"), [format!("{at} k.pem has no CERTIFICATE in it")]);
    assert_eq!(ca("c.pem"), [""; 0]);
}

#[test]
fn what_has_long_to_go_is_no_warning() {
    let text = "listeners: [{ address: :80 }]\npools: { web: { backends: [127.0.0.1:1] } }\n";
    assert_eq!(warnings(&Config::parse(text, None).unwrap()), []);
}
