//! `ip_allow` and `ip_deny`, in every place where a filter may stand.

use crate::support::evenkeel::{check, pool};
use crate::support::{Evenkeel, Origin};

/// The status and the reason of a request for `path` that says it is for this client.
fn ask(evenkeel: &Evenkeel, path: &str, client: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {client}\r\n\r\n");
    let response = evenkeel.client().send(request).read();
    (response.status, response.reason().to_owned())
}

fn fine() -> (u16, String) {
    (200, String::new())
}

fn forbidden() -> (u16, String) {
    (403, "forbidden".to_owned())
}

#[test]
fn who_may_come_in_by_address() {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, filters: [{{ ip_deny: ['2001:db8::/32'] }}] }}]\n\
         trusted_proxies: [127.0.0.1]\nfilters: [{{ ip_deny: [10.6.6.6] }}]\n{}\
         routes: [{{ pool: web }}, {{ match: {{ path: /admin }}, pool: web, filters: [{{ ip_allow: [10.0.0.0/8] }}] }}]\n",
        pool(&[origin.address], "")
    ));
    for (path, client, answer) in [
        ("/", "192.0.2.1", fine()),
        ("/", "10.6.6.6", forbidden()),
        ("/", "::ffff:10.6.6.6", forbidden()),
        ("/", "2001:db8::1", forbidden()),
        ("/", "2001:db9::1", fine()),
        ("/admin", "192.0.2.1", forbidden()),
        ("/admin", "10.0.0.1", fine()),
        ("/admin", "10.6.6.6", forbidden()),
    ] {
        assert_eq!(ask(&evenkeel, path, client), answer, "{path} {client}");
    }
    assert_eq!(origin.seen().len(), 3, "who is refused reaches nobody");
}

#[test]
fn its_mistakes_have_their_place() {
    let yaml = |filter: &str| {
        format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nfilters:\n  - {filter}\npools: {{ web: {{ backends: [127.0.0.1:1] }} }}\n"
        )
    };
    for (filter, message) in [
        ("ip_allow: []", "3:5: filters[0].ip_allow: needs at least one address or range, like [10.0.0.0/8]"),
        ("ip_allow", "3:5: filters[0].ip_allow: must be a list, got map"),
        ("ip_alow: []", "3:5: filters[0].ip_alow: unknown filter 'ip_alow', did you mean 'ip_allow'?"),
        (
            "ip_deny: [10.0.0.0/33]",
            "3:5: filters[0].ip_deny: must be IP addresses and ranges of them, like [10.0.0.0/8]",
        ),
    ] {
        let output = check(&yaml(filter));
        assert!(output.contains(message), "{filter}: {output}");
    }
}
