//! `tls` and `redirect_to_https` of a listener.

use std::time::Duration;

use super::super::{Hsts, Listener, Redirect, TlsVersion};
use super::{parsed, refuses};

const REST: &str = "pools: { web: { backends: [a:1] } }\n";
const PAIR: &str = "certificates: [{ certificate: c, key: k }]";

fn listener(text: &str) -> Listener {
    parsed(&format!("listeners: [{{ address: :443, {text} }}]\n{REST}")).listeners.remove(0)
}

/// What is said of keys beside `certificates`.
#[track_caller]
fn refused(keys: &str, lines: &[&str]) {
    refuses(&format!("listeners:\n  - address: :443\n    tls: {{ {PAIR}, {keys} }}\n{REST}"), lines);
}

#[test]
fn the_forms_of_tls() {
    let tls = |more: &str| listener(&format!("tls: {{ {PAIR}{more} }}")).tls.unwrap();
    let plain = tls("");
    assert_eq!((plain.clients, plain.min_version, plain.hsts), (None, TlsVersion::Tls12, None));
    assert_eq!(tls(", min_version: 1.3").min_version, TlsVersion::Tls13);
    let clients = |more: &str| tls(more).clients.map(|clients| (clients.ca, clients.required));
    assert_eq!(clients(", client_ca: ca.pem"), Some(("/etc/ca.pem".into(), true)));
    assert_eq!(clients(", client_ca: /ca.pem, client_auth: optional"), Some(("/ca.pem".into(), false)));
    assert_eq!(clients(", client_ca: off"), None);
    let hsts = |more: &str| tls(more).hsts;
    let year = Hsts { max_age: Duration::from_secs(31_536_000), include_subdomains: false, preload: false };
    assert_eq!(hsts(", hsts: 365d"), Some(year.clone()));
    assert_eq!(hsts(", hsts: off"), None);
    assert_eq!(hsts(", hsts: 0s").unwrap().max_age, Duration::ZERO);
    let all = ", hsts: { max_age: 365d, include_subdomains: true, preload: true }";
    assert_eq!(hsts(all), Some(Hsts { include_subdomains: true, preload: true, ..year }));
}

#[test]
fn the_forms_of_a_redirect() {
    let redirect = |form: &str| listener(&format!("redirect_to_https: {form}")).redirect_to_https;
    assert_eq!(redirect("true"), Some(Redirect { port: 443, status: 308 }));
    assert_eq!(redirect("8443"), Some(Redirect { port: 8443, status: 308 }));
    assert_eq!(redirect("{ port: 8443, status: 301 }"), Some(Redirect { port: 8443, status: 301 }));
    assert_eq!(redirect("{}"), Some(Redirect::default()));
    assert_eq!((redirect("false"), redirect("off")), (None, None));
}

#[test]
fn what_asks_of_clients_is_checked() {
    refused(
        "client_auth: optional",
        &["3:69: listeners[0].tls.client_auth: does nothing without 'client_ca', which says who may have signed the \
           clients' certificates"],
    );
    refused(
        "client_ca: c, client_auth: maybe, min_version: 1.1",
        &[
            "3:83: listeners[0].tls.client_auth: must be required or optional, got 'maybe'",
            "3:103: listeners[0].tls.min_version: must be 1.2 or 1.3, got 1.1",
        ],
    );
    refused("client_ca: ''", &["3:67: listeners[0].tls.client_ca: must be the path of a file, got ''"]);
}

#[test]
fn strict_transport_is_checked() {
    let message = "needs 'include_subdomains: true' and a 'max_age' of at least 365d: no list takes it otherwise";
    for keys in ["max_age: 365d", "max_age: 364d, include_subdomains: true"] {
        let text = format!("hsts: {{ {keys}, preload: true }}");
        let column = 56 + text.find("true }").unwrap();
        refused(&text, &[&format!("3:{column}: listeners[0].tls.hsts.preload: {message}")]);
    }
    refused(
        "hsts: yes",
        &[
            "3:62: listeners[0].tls.hsts: must be a duration with its unit, like 2s or 250ms, got 'yes' (units: ms, s, m, h, d)",
        ],
    );
    refused("hsts: 4000d", &["3:62: listeners[0].tls.hsts: must be 0s to 3650d, got '4000d'"]);
    refused("hsts: {}", &["3:56: listeners[0].tls.hsts: needs 'max_age', like max_age: 365d"]);
}

#[test]
fn a_redirect_is_checked() {
    let said = |form: &str| format!("listeners:\n  - address: :80\n    redirect_to_https: {form}\n{REST}");
    let key = "listeners[0].redirect_to_https";
    refuses(&said("yes"), &[&format!("3:24: {key}: must be true, a port or a map of keys, got 'yes'")]);
    refuses(&said("0"), &[&format!("3:24: {key}: must be 1 to 65535, got 0")]);
    refuses(
        &said("{ port: 99999, status: 200 }"),
        &[
            &format!("3:32: {key}.port: must be 1 to 65535, got 99999"),
            &format!("3:47: {key}.status: must be 301, 302, 307 or 308, got 200"),
        ],
    );
    refuses(
        &said(&format!("true\n    tls: {{ {PAIR} }}")),
        &[&format!(
            "3:24: {key}: cannot stand beside 'tls': who comes here has come by HTTPS; set it on the plain listener"
        )],
    );
}

#[test]
fn a_certificate_stands_once() {
    refuses(
        &format!(
            "listeners:\n  - address: :443\n    tls:\n      certificates:\n        - {{ certificate: a, key: k }}\n        \
             - {{ certificate: a, key: l }}\n{REST}"
        ),
        &["6:26: listeners[0].tls.certificates[1].certificate: is certificates[0] (line 5) already"],
    );
}
