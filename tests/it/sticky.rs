//! Sticky sessions: a client stays with its backend by a cookie that only Evenkeel can make and read.

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::support::evenkeel::{pool, pool_of};
use crate::support::{Evenkeel, Gate, Origin, QUICK_CHECK, Response, wait_until};

const STICKY: &str = "balance: random\nsticky: { cookie: lb, ttl: 1h }";

fn four() -> [Origin; 4] {
    ["a", "b", "c", "d"].map(Origin::saying)
}

fn start(origins: &[Origin], more: &str) -> Evenkeel {
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    Evenkeel::start(&pool(&addresses, more))
}

/// The value of the cookie `lb` that a response sets, if it sets one.
fn issued(response: &Response) -> Option<String> {
    let cookies = response.head.all("set-cookie");
    assert!(cookies.len() <= 1, "{cookies:?}");
    let cookie = cookies.first()?.strip_prefix("lb=").unwrap();
    Some(cookie.split(';').next().unwrap().to_owned())
}

/// GET with this value of the cookie, among other cookies.
fn get(evenkeel: &Evenkeel, path: &str, value: &str) -> Response {
    evenkeel.client().get_with(path, &format!("Cookie: other=1; lb={value}; last=2\r\n"))
}

/// A client's first answer, and the cookie that came with it.
fn first(evenkeel: &Evenkeel) -> (String, String) {
    let response = evenkeel.get("/");
    (response.text(), issued(&response).unwrap())
}

#[test]
fn the_cookie_has_all_its_attributes() {
    let origins = four();
    for (more, age) in [("ttl: 1h", Some("Max-Age=3600")), ("", None)] {
        let evenkeel = start(&origins, &format!("sticky: {{ cookie: lb, {more} }}"));
        let response = evenkeel.get("/");
        let cookie = response.header("set-cookie").unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert!(pair.strip_prefix("lb=").unwrap().len() >= 16, "{cookie}");
        let mut attributes: Vec<_> = attributes.split("; ").collect();
        attributes.sort_unstable();
        let expected: Vec<_> = ["HttpOnly"].into_iter().chain(age).chain(["Path=/", "SameSite=Lax"]).collect();
        assert_eq!(attributes, expected, "{cookie}");
    }
}

#[test]
fn a_client_stays_with_its_backend_and_gets_the_cookie_once() {
    let origins = four();
    let evenkeel = start(&origins, STICKY);
    let mut used = BTreeSet::new();
    for _ in 0..8 {
        let (home, cookie) = first(&evenkeel);
        for n in 0..50 {
            let response = get(&evenkeel, "/", &cookie);
            assert_eq!((response.text(), issued(&response)), (home.clone(), None), "request {n}");
        }
        used.insert(home);
    }
    assert!(used.len() > 1, "all clients are at {used:?}");
}

#[test]
fn the_cookie_tells_nothing_of_the_backend() {
    let origins = four();
    let evenkeel = start(&origins, STICKY);
    let (home, cookie) = first(&evenkeel);
    let address = origins.iter().zip(["a", "b", "c", "d"]).find(|(_, name)| *name == home).unwrap().0.address;
    let IpAddr::V4(ip) = address.ip() else { panic!("{address}") };
    let (ip_text, port_text) = (ip.to_string(), address.port().to_string());
    let hexadecimal: String = ip.octets().iter().map(|octet| format!("{octet:02x}")).collect();
    let spoken = [ip_text.as_bytes(), port_text.as_bytes(), hexadecimal.as_bytes(), &ip.octets()];
    let forms = [
        Some(cookie.clone().into_bytes()),
        BASE64_URL_SAFE_NO_PAD.decode(&cookie).ok(),
        BASE64_STANDARD_NO_PAD.decode(&cookie).ok(),
    ];
    for form in forms.into_iter().flatten() {
        for what in spoken {
            assert!(!form.windows(what.len()).any(|part| part == what), "{address} is in {cookie}");
        }
        let backwards: Vec<u8> = ip.octets().into_iter().rev().collect();
        assert!(!form.windows(4).any(|part| part == backwards), "{address} is in {cookie}");
    }
}

#[test]
fn what_we_did_not_issue_is_ignored_and_replaced() {
    let origins = four();
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address.to_string()).collect();
    let one = |name: &str| {
        let sticky = "sticky: { cookie: lb }";
        format!("  {name}: {{ balance: random, backends: {addresses:?}, health_check: off, {sticky} }}\n")
    };
    let routes = "routes: [{ pool: web }, { match: { path_prefix: /api }, pool: api }]\n";
    let evenkeel = Evenkeel::start(&format!("pools:\n{}{}{routes}", one("web"), one("api")));
    let (_, cookie) = first(&evenkeel);
    let of_api = issued(&evenkeel.get("/api")).unwrap();
    assert_eq!(issued(&get(&evenkeel, "/api", &of_api)), None);
    let mut forged = cookie.clone().into_bytes();
    forged[0] = if forged[0] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let (longer, shorter) = (format!("{cookie}A"), &cookie[1..]);
    let address = addresses[0].as_str();
    for value in [&forged, &longer, shorter, address, "", "\"", "%00", "a b", &"x".repeat(4000), &of_api] {
        let response = get(&evenkeel, "/", value);
        assert_eq!(response.status, 200, "{value}");
        let again = issued(&response).unwrap_or_else(|| panic!("{value} is taken for one of ours"));
        assert_eq!(get(&evenkeel, "/", &again).text(), response.text());
    }
}

#[test]
fn when_the_backend_dies_the_client_moves_for_good() {
    let mut origins = four();
    let evenkeel = start(&origins, &format!("{STICKY}\n{QUICK_CHECK}"));
    let (home, old) = first(&evenkeel);
    let dying = ["a", "b", "c", "d"].iter().position(|name| *name == home).unwrap();
    origins[dying].stop();
    // At once, by a second attempt, and once the check has seen it.
    for admitted in [4, 3] {
        wait_until("so many are admitted", || evenkeel.admitted() <= admitted);
        let response = get(&evenkeel, "/", &old);
        assert_eq!(response.status, 200);
        assert_ne!(response.text(), home);
        let new = issued(&response).unwrap();
        let stays: Vec<_> = (0..10).map(|_| get(&evenkeel, "/", &new)).collect();
        assert!(stays.iter().all(|next| next.text() == response.text() && issued(next).is_none()));
    }
    // The client with the old cookie finds its backend again.
    origins[dying].restart();
    wait_until("all are admitted", || evenkeel.admitted() == 4);
    let response = get(&evenkeel, "/", &old);
    assert_eq!((response.text(), issued(&response)), (home, None));
}

/// Stickiness with a secret in a file.
fn signed(secret: &tempfile::TempDir) -> String {
    let file = secret.path().join("secret");
    if !file.exists() {
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    }
    format!("balance: random\nsticky: {{ cookie: lb, secret_file: {} }}", file.display())
}

#[test]
fn with_one_secret_instances_honour_each_others_cookies() {
    let (origins, secret) = (four(), tempfile::tempdir().unwrap());
    let (one, other) = (start(&origins, &signed(&secret)), start(&origins, &signed(&secret)));
    let stranger = start(&origins, STICKY);
    for _ in 0..5 {
        let (home, cookie) = first(&one);
        let response = get(&other, "/", &cookie);
        assert_eq!((response.text(), issued(&response)), (home, None));
        assert!(issued(&get(&stranger, "/", &cookie)).is_some());
    }
}

#[test]
fn with_a_secret_a_cookie_outlives_the_process() {
    let (origins, secret) = (four(), tempfile::tempdir().unwrap());
    let before = start(&origins, &signed(&secret));
    let clients: Vec<_> = (0..5).map(|_| first(&before)).collect();
    drop(before);
    let after = start(&origins, &signed(&secret));
    for (home, cookie) in clients {
        let response = get(&after, "/", &cookie);
        assert_eq!((response.text(), issued(&response)), (home, None));
    }
}

#[test]
fn a_full_backend_keeps_its_clients() {
    let ((a, gate), b) = (Gate::holding("a"), Origin::saying("b"));
    let more = "sticky: { cookie: lb }\nmax_in_flight: 100";
    let backends = [(a.address, "max_in_flight: 1"), (b.address, "")];
    let evenkeel = Evenkeel::start(&pool_of(&backends, more));
    let cookie = std::iter::repeat_with(|| first(&evenkeel)).find(|(home, _)| home == "a").unwrap().1;
    // A request has its answer a moment before it gives up its room, and there is room for one.
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    let mut first = evenkeel.client();
    first.ask("/hold", &format!("Cookie: lb={cookie}\r\n"));
    gate.holds(1);
    // No room for another there: it goes elsewhere this time, and keeps its cookie.
    let response = get(&evenkeel, "/", &cookie);
    assert_eq!((response.text().as_str(), issued(&response)), ("b", None));
    gate.open();
    assert_eq!(first.read().text(), "a");
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    assert_eq!(get(&evenkeel, "/", &cookie).text(), "a");
}
