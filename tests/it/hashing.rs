//! Hashing: the same key goes to the same backend, whoever balances and whatever else comes and goes.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::support::evenkeel::pool;
use crate::support::tally::tally;
use crate::support::{Evenkeel, Origin, QUICK_CHECK, wait_until};

const TABLES: [&str; 3] = ["consistent_hash", "maglev", "rendezvous"];

fn five() -> [Origin; 5] {
    ["a", "b", "c", "d", "e"].map(Origin::saying)
}

fn balanced(table: &str, key: &str, backends: impl IntoIterator<Item = SocketAddr>, more: &str) -> Evenkeel {
    let backends: Vec<_> = backends.into_iter().collect();
    Evenkeel::start(&pool(&backends, &format!("balance: {{ {table}: {{ key: {key} }} }}\n{more}")))
}

/// Who answers for each of a hundred tenants.
fn homes(evenkeel: &Evenkeel) -> Vec<String> {
    let mut client = evenkeel.client();
    (0..100).map(|tenant| client.get_with("/", &format!("X-Tenant: {tenant}\r\n")).text()).collect()
}

#[test]
fn one_value_has_one_backend_whatever_else_the_request_says() {
    let sources = ["{ header: X-Tenant }", "{ cookie: sid }", "{ query: user }", "path"];
    for table in TABLES {
        let origins = five();
        let key = format!("[{}]", sources.join(", "));
        let evenkeel = balanced(table, &key, origins.each_ref().map(|origin| origin.address), "");
        // A request with the first `given` sources varied and missing, by the one after them, with later ones varied.
        for (number, source) in sources.iter().enumerate() {
            let mut used = BTreeSet::new();
            for value in 0..12 {
                let answers: BTreeSet<_> = (0..4).map(|noise| ask(&evenkeel, number, value, noise)).collect();
                assert_eq!(answers.len(), 1, "{table} by {source}: {value} is at {answers:?}");
                used.extend(answers);
            }
            assert!(used.len() > 1, "{table} by {source}: all are at {used:?}");
        }
    }
}

/// A request whose first source of four is `number`, with this value; those after it have values that matter not.
fn ask(evenkeel: &Evenkeel, number: usize, value: usize, noise: usize) -> String {
    let of = |source: usize| match source {
        source if source < number => None,
        source if source == number => Some(format!("v{value}")),
        _ => Some(format!("noise{noise}")),
    };
    let header = of(0).map(|value| format!("x-tenant: {value}\r\n")).unwrap_or_default();
    let cookie = of(1).map(|value| format!("Cookie: other={noise}; sid={value}\r\n")).unwrap_or_default();
    let query = of(2).map(|value| format!("&user={value}")).unwrap_or_default();
    let path = of(3).unwrap_or_default();
    evenkeel
        .client()
        .get_with(&format!("/{path}?q={noise}{query}"), &format!("{header}{cookie}X-Noise: {noise}\r\n"))
        .text()
}

#[test]
fn a_request_without_a_key_goes_anywhere() {
    for table in TABLES {
        let origins = five();
        let evenkeel = balanced(table, "{ header: X-Tenant }", origins.each_ref().map(|origin| origin.address), "");
        let tally = tally(&evenkeel, 1, 150);
        assert!(tally.len() == 5 && tally.values().all(|count| *count < 100), "{table}: {tally:?}");
    }
}

#[test]
fn a_client_has_one_backend_by_its_address() {
    for table in TABLES {
        let origins = five();
        let addresses = origins.each_ref().map(|origin| origin.address);
        let yaml = pool(&addresses, &format!("balance: {table}"));
        let evenkeel = Evenkeel::start(&format!("trusted_proxies: [127.0.0.1]\n{yaml}"));
        let home =
            |client: usize| evenkeel.client().get_with("/", &format!("X-Forwarded-For: 10.0.0.{client}\r\n")).text();
        let first: Vec<_> = (0..30).map(home).collect();
        let again: Vec<_> = (0..30).map(home).collect();
        assert_eq!(first, again, "{table}");
        assert!(first.iter().collect::<BTreeSet<_>>().len() > 1, "{table}: {first:?}");
    }
}

#[test]
fn another_instance_sends_each_key_to_the_same_backend() {
    for table in TABLES {
        let origins = five();
        let addresses = origins.each_ref().map(|origin| origin.address);
        let one = balanced(table, "{ header: X-Tenant }", addresses, "");
        // The order in the file does not matter.
        let other = balanced(table, "{ header: X-Tenant }", addresses.into_iter().rev(), "");
        assert_ne!(one.http(), other.http());
        assert_eq!(homes(&one), homes(&other), "{table}");
    }
}

#[test]
fn only_the_keys_of_a_dead_backend_move_and_they_return() {
    for table in TABLES {
        let mut origins = five();
        let addresses = origins.each_ref().map(|origin| origin.address);
        let evenkeel = balanced(table, "{ header: X-Tenant }", addresses, QUICK_CHECK);
        let before = homes(&evenkeel);
        assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 5, "{table}: {before:?}");
        origins[2].stop();
        wait_until("four are admitted", || evenkeel.admitted() == 4);
        let without = homes(&evenkeel);
        let (its, others): (Vec<_>, Vec<_>) = before.iter().zip(&without).partition(|(before, _)| *before == "c");
        assert!(its.iter().all(|(_, after)| *after != "c"), "{table}: {its:?}");
        assert!(its.iter().collect::<BTreeSet<_>>().len() > 1, "{table}: all of its keys went to one: {its:?}");
        let moved = others.iter().filter(|(before, after)| before != after).count();
        // A Maglev table pays for its evenness with a few.
        assert!(moved <= if table == "maglev" { 10 } else { 0 }, "{table}: {moved} others have moved");
        origins[2].restart();
        wait_until("five are admitted", || evenkeel.admitted() == 5);
        assert_eq!(homes(&evenkeel), before, "{table}");
    }
}
