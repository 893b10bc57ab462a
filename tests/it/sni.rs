//! Several certificates on one listener.

use rustls::{ProtocolVersion, SignatureScheme, version};
use tempfile::tempdir;

use crate::support::evenkeel::{pool, run};
use crate::support::sites::{Settings, connect, rsa_site, site};
use crate::support::tls::have_openssl;
use crate::support::{Evenkeel, Origin};

/// A listener with these keys in its `tls`, in front of one backend.
pub fn over_tls(tls: &str, origin: &Origin) -> Evenkeel {
    Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, tls: {{ {tls} }} }}]\n{}",
        pool(&[origin.address], "")
    ))
}

#[test]
fn the_name_picks_the_certificate() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let first = site(dir.path(), "first", &["first.example"]);
    let second = site(dir.path(), "second", &["second.example", "*.second.example"]);
    let exact = site(dir.path(), "exact", &["exact.second.example"]);
    let yaml = format!("certificates: [{}, {}, {}]", first.yaml(), second.yaml(), exact.yaml());
    let evenkeel = over_tls(&yaml, &origin);
    let (first, second, exact) = (first.der(), second.der(), exact.der());
    for (name, expected) in [
        ("first.example", &first),
        ("second.example", &second),
        ("any.second.example", &second),
        ("ANY.Second.Example", &second),
        ("exact.second.example", &exact),
        ("below.exact.second.example", &first),
        ("other.example", &first),
        // None is asked for.
        ("127.0.0.1", &first),
    ] {
        let mut tls = connect(evenkeel.http(), name, &Settings::default().client()).unwrap();
        assert!(tls.leaf == *expected, "{name}");
        assert_eq!(tls.client.get("/").text(), "hello", "{name}");
    }
}

#[test]
fn ecdsa_for_who_knows_it_and_rsa_for_who_does_not() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let rsa = rsa_site(dir.path(), "rsa", &["site.example"]);
    let ecdsa = site(dir.path(), "ecdsa", &["site.example"]);
    let evenkeel = over_tls(&format!("certificates: [{}, {}]", rsa.yaml(), ecdsa.yaml()), &origin);
    let only_rsa = vec![SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];
    for versions in [[&version::TLS13], [&version::TLS12]] {
        for (schemes, expected) in [(None, ecdsa.der()), (Some(only_rsa.clone()), rsa.der())] {
            for name in ["site.example", "127.0.0.1"] {
                let settings = Settings { versions: &versions, schemes: schemes.clone(), ..Settings::default() };
                let mut tls = connect(evenkeel.http(), name, &settings.client()).unwrap();
                assert!(tls.leaf == expected, "{versions:?} {schemes:?} {name}");
                assert_eq!(tls.client.get("/").status, 200);
            }
        }
    }
}

#[test]
fn an_old_version_is_refused_where_it_is_not_wanted() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let site = site(dir.path(), "site", &["site.example"]);
    for (least, old) in [("1.2", true), ("1.3", false)] {
        let evenkeel = over_tls(&format!("certificates: [{}], min_version: {least}", site.yaml()), &origin);
        let of = |version| Settings { versions: &[version], ..Settings::default() }.client();
        let new = connect(evenkeel.http(), "site.example", &of(&version::TLS13)).unwrap();
        assert_eq!(new.version, ProtocolVersion::TLSv1_3);
        let found = connect(evenkeel.http(), "site.example", &of(&version::TLS12));
        assert_eq!(found.is_ok(), old, "{least}");
        let name = evenkeel.http();
        let sample = format!("evenkeel_tls_handshakes_total{{listener=\"{name}\",outcome=\"incompatible\"}}");
        assert_eq!(evenkeel.metric(&sample), f64::from(u8::from(!old)));
    }
}

#[test]
fn a_client_without_a_protocol_in_common_is_told_so() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let site = site(dir.path(), "site", &["site.example"]);
    let evenkeel = over_tls(&format!("certificates: [{}]", site.yaml()), &origin);
    let speaking = |protocols| connect(evenkeel.http(), "a", &Settings { protocols, ..Settings::default() }.client());
    let refused = speaking(&["spdy/3"]).err().unwrap().to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    for protocols in [&["http/1.1"][..], &["spdy/3", "http/1.1"], &[]] {
        assert_eq!(speaking(protocols).unwrap().client.get("/").status, 200);
    }
}

#[test]
fn check_names_what_cannot_be_served_and_warns_of_what_ends() {
    if !have_openssl() {
        return;
    }
    let dir = tempdir().unwrap();
    let soon = crate::support::sites::site_for(dir.path(), "soon", &["soon.example"], 3);
    let twin = site(dir.path(), "twin", &["soon.example", "other.example"]);
    let file = dir.path().join("lb.yaml");
    let check = |certificates: &[String]| {
        let yaml = format!(
            "listeners: [{{ address: 127.0.0.1:0, tls: {{ certificates: [{}] }} }}]\n\
             pools: {{ web: {{ backends: [127.0.0.1:1] }} }}\nadmin: off\n",
            certificates.join(", ")
        );
        std::fs::write(&file, yaml).unwrap();
        let output = run(&["check", "-c", file.to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check(&[soon.yaml()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("listeners[0].tls.certificates[0].certificate: the certificate "), "{said}");
    assert!(said.starts_with("warning: ") && said.contains("expires in "), "{said}");
    let (code, said) = check(&[soon.yaml(), twin.yaml()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is for soon.example with an ECDSA key, and so is certificates[0]"), "{said}");
}
