//! Listeners come and go with the configuration.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use crate::support::evenkeel::pool;
use crate::support::tls::{have_openssl, self_signed};
use crate::support::{Client, Evenkeel, Gate, Origin, get, have};

/// An address that nobody listens on. It is on a loopback address of its own, so that nobody else takes it meanwhile.
fn free(last: u8) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.77.0".parse::<std::net::Ipv4Addr>().unwrap(), 0)).unwrap();
    let address = SocketAddr::from(([127, 0, 77, last], listener.local_addr().unwrap().port()));
    drop(listener);
    address
}

fn listening(addresses: &[SocketAddr], rest: &str) -> String {
    let list: Vec<_> = addresses.iter().map(|address| format!("{{ address: \"{address}\" }}")).collect();
    format!("listeners: [{}]\n{rest}", list.join(", "))
}

#[test]
fn one_more_and_one_less() {
    let (origin, gate) = Gate::holding("hello");
    let rest = pool(&[origin.address], "");
    let [first, second] = [free(1), free(2)];
    let evenkeel = Evenkeel::start(&listening(&[first], &rest));
    let (mut kept, mut waiting) = (Client::connect(first), Client::connect(first));
    assert_eq!(kept.get("/").text(), "hello");
    waiting.ask("/hold", "");
    gate.holds(1);
    let receipt = evenkeel.reload(&listening(&[first, second], &rest));
    assert_eq!(receipt, "generation 2: pools 1 kept; backends 1 kept; listeners 1 kept, 1 added; routes 1 kept");
    assert_eq!(get(second, "/").text(), "hello");
    assert_eq!(kept.get("/").header("connection"), Some("keep-alive"), "the first has not been touched");

    let receipt = evenkeel.reload(&listening(&[second], &rest));
    assert!(receipt.contains("listeners 1 kept, 1 removed"), "{receipt}");
    assert!(Client::try_connect(first).is_err());
    assert_eq!(get(second, "/").text(), "hello");
    let last = kept.get("/");
    assert_eq!((last.text().as_str(), last.header("connection")), ("hello", Some("close")), "one that is idle");
    assert!(kept.closed());
    gate.open();
    let response = waiting.read();
    assert_eq!((response.text().as_str(), response.header("connection")), ("hello", Some("close")));
    let shown: Vec<String> = serde_json::from_slice(&evenkeel.page("/api/v1/listeners").body).unwrap();
    assert_eq!(shown, [second.to_string(), evenkeel.admin.to_string()]);
}

#[test]
fn a_port_that_is_taken_changes_nothing() {
    let [a, b] = ["a", "b"].map(Origin::saying);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let [first, third] = [free(3), free(4)];
    let evenkeel = Evenkeel::start(&listening(&[first], &pool(&[a.address], "")));
    evenkeel.write(&listening(&[third, taken.local_addr().unwrap()], &pool(&[b.address], "max_in_flight: 1")));
    let output = evenkeel.ask("reload", &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("cannot listen on {}", taken.local_addr().unwrap())), "{said}");
    assert_eq!(get(first, "/").text(), "a");
    assert!(Client::try_connect(third).is_err(), "none of it");
    assert_eq!(evenkeel.metric("evenkeel_config_last_reload_successful"), 0.0);
    assert!(evenkeel.backends()[0]["max_in_flight"].is_null());
}

/// The subject's serial number is what differs between two certificates of one name.
fn serial(address: SocketAddr) -> String {
    let command = format!("openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial");
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_renewed_certificate_is_shown_and_nobody_is_turned_away() {
    if !have("openssl") || !have_openssl() {
        return;
    }
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::saying("hello"));
    let (certificate, key) = self_signed(&dir);
    let yaml = |more: &str| {
        format!(
            "listeners:\n  - address: 127.0.0.1:0\n    tls: {{ certificates: [{{ certificate: {certificate}, key: {key} }}] }}\n{}",
            pool(&[origin.address], more)
        )
    };
    let evenkeel = Evenkeel::start(&yaml(""));
    let address = evenkeel.http();
    let before = serial(address);
    assert!(before.starts_with("serial="), "{before}");
    let receipt = evenkeel.reload(&yaml("retry: { attempts: 2 }"));
    assert!(receipt.contains("listeners 1 kept"), "{receipt}");
    assert_eq!(serial(address), before);
    self_signed(&dir);
    let receipt = evenkeel.reload(&yaml(""));
    assert!(receipt.contains("listeners 1 changed"), "{receipt}");
    let after = serial(address);
    assert!(after.starts_with("serial=") && after != before, "{after}");
}
