//! Certificates that change under a listener that is open.

use std::fs;

use tempfile::tempdir;

use crate::sni::over_tls;
use crate::support::evenkeel::pool;
use crate::support::sites::{Pair, Settings, connect, site, site_for};
use crate::support::tls::have_openssl;
use crate::support::{Evenkeel, Origin, wait_until};

/// The certificate that a new client gets.
fn served(evenkeel: &Evenkeel) -> Vec<u8> {
    connect(evenkeel.http(), "localhost", &Settings::default().client()).unwrap().leaf
}

fn renewals(evenkeel: &Evenkeel, result: &str) -> f64 {
    let name = evenkeel.http();
    evenkeel.metric(&format!("evenkeel_certificate_renewals_total{{listener=\"{name}\",result=\"{result}\"}}"))
}

/// As Kubernetes and certbot do it: at once.
fn replace(old: &str, new: &str) {
    let aside = format!("{old}.new");
    fs::copy(new, &aside).unwrap();
    fs::rename(aside, old).unwrap();
}

#[test]
fn a_renewed_certificate_is_served_and_nobody_notices() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let (live, next) = (site(dir.path(), "live", &["localhost"]), site(dir.path(), "next", &["localhost"]));
    let (before, after) = (live.der(), next.der());
    let evenkeel = over_tls(&format!("certificates: [{}]", live.yaml()), &origin);
    let mut kept = connect(evenkeel.http(), "localhost", &Settings::default().client()).unwrap();
    assert_eq!(kept.client.get("/").status, 200);
    assert!(served(&evenkeel) == before);
    // The certificate comes first, and its key is not there yet.
    replace(&live.certificate, &next.certificate);
    wait_until("the half-written pair is noticed", || renewals(&evenkeel, "failure") == 1.0);
    assert!(served(&evenkeel) == before);
    let lines = evenkeel.logged("serving on with the certificate of before", 1);
    assert!(lines[0].contains(&format!("the key in {} is another certificate's", live.key)), "{lines:?}");
    replace(&live.key, &next.key);
    wait_until("the new one is served", || served(&evenkeel) == after);
    wait_until("it is counted", || renewals(&evenkeel, "success") == 1.0);
    evenkeel.logged("has changed, and is served from now on", 1);
    assert_eq!(kept.client.get("/").text(), "hello", "who was there stays");
    evenkeel.logged("serving on with the certificate of before", 1);
    evenkeel.logged("listening on", 1);
}

#[test]
fn one_bad_file_does_not_hold_up_the_others() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let (one, two) = (site(dir.path(), "one", &["one"]), site(dir.path(), "two", &["two"]));
    let next = site(dir.path(), "next", &["two"]);
    let (of_one, of_two) = (one.der(), next.der());
    let evenkeel = over_tls(&format!("certificates: [{}, {}]", one.yaml(), two.yaml()), &origin);
    fs::write(&one.certificate, "gone").unwrap();
    replace(&two.key, &next.key);
    replace(&two.certificate, &next.certificate);
    let leaf = |name: &str| connect(evenkeel.http(), name, &Settings::default().client()).unwrap().leaf;
    wait_until("the good one is served", || leaf("two") == of_two);
    assert!(leaf("one") == of_one);
}

fn yaml(certificates: &[&Pair], more: &str, origin: &Origin) -> String {
    let certificates: Vec<_> = certificates.iter().map(|pair| pair.yaml()).collect();
    format!(
        "listeners: [{{ address: 127.0.0.1:0, tls: {{ certificates: [{}]{more} }} }}]\n{}",
        certificates.join(", "),
        pool(&[origin.address], "")
    )
}

#[test]
fn a_reload_with_other_certificates_closes_no_connection() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let (one, two) = (site(dir.path(), "one", &["one"]), site(dir.path(), "two", &["two"]));
    let evenkeel = Evenkeel::start(&yaml(&[&one], "", &origin));
    let expiry = |pair: &Pair| {
        let (listener, file) = (evenkeel.http(), &pair.certificate);
        let family = "evenkeel_certificate_expiry_timestamp_seconds";
        evenkeel.metric(&format!("{family}{{certificate=\"{file}\",listener=\"{listener}\"}}"))
    };
    assert!(expiry(&one) > 1e9 && expiry(&two) == 0.0);
    let mut kept = connect(evenkeel.http(), "one", &Settings::default().client()).unwrap();
    assert_eq!(kept.client.get("/").header("strict-transport-security"), None);
    let receipt = evenkeel.reload(&yaml(&[&two], ", hsts: 1d", &origin));
    assert!(receipt.contains("1 changed"), "{receipt}");
    let mut tls = connect(evenkeel.http(), "one", &Settings::default().client()).unwrap();
    assert!(tls.leaf == two.der());
    assert_eq!(tls.client.get("/").header("strict-transport-security"), Some("max-age=86400"));
    let response = kept.client.get("/");
    assert_eq!((response.status, response.header("connection")), (200, Some("keep-alive")));
    assert!(expiry(&two) > 1e9 && expiry(&one) == 0.0);
    // What is asked of clients is another matter.
    evenkeel.reload(&yaml(&[&two], ", min_version: 1.3", &origin));
    assert_eq!(kept.client.get("/").header("connection"), Some("close"));
    assert!(expiry(&two) > 1e9);
    // What cannot be served changes nothing.
    fs::write(&one.key, "none").unwrap();
    evenkeel.write(&yaml(&[&one], "", &origin));
    assert_eq!(evenkeel.ask("reload", &[]).status.code(), Some(2));
    assert!(served(&evenkeel) == two.der());
}

#[test]
fn a_certificate_that_ends_soon_is_spoken_of() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let soon = site_for(dir.path(), "soon", &["localhost"], 5);
    let evenkeel = over_tls(&format!("certificates: [{}]", soon.yaml()), &origin);
    let lines = evenkeel.logged("expires in ", 1);
    assert!(lines[0].contains(&soon.certificate), "{lines:?}");
}
