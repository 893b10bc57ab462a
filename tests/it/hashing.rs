//! Hashing: the same key goes to the same backend, whoever balances and whatever else comes and goes.

use std::collections::BTreeSet;

use crate::support::pools::by_algorithm;
use crate::support::tally::tally_of;
use crate::support::{Evenkeel, Origin, QUICK_CHECK, wait_until};

const TABLES: [&str; 3] = ["consistent_hash", "maglev", "rendezvous"];

/// Five backends, and a pool of them for each of the tables, by this key.
fn five(key: &str, more: &str) -> ([Origin; 5], Evenkeel) {
    let origins = ["a", "b", "c", "d", "e"].map(Origin::saying);
    let evenkeel = balanced(&origins.iter().collect::<Vec<_>>(), key, more);
    (origins, evenkeel)
}

fn balanced(origins: &[&Origin], key: &str, more: &str) -> Evenkeel {
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    let algorithms = TABLES.map(|table| format!("{{ {table}: {{ key: {key} }} }}"));
    by_algorithm(&algorithms.each_ref().map(String::as_str), &addresses, more)
}

/// Who answers for each of a hundred tenants.
fn homes(evenkeel: &Evenkeel, table: &str) -> Vec<String> {
    let mut client = evenkeel.client();
    let path = format!("/{table}");
    (0..100).map(|tenant| client.get_with(&path, &format!("X-Tenant: {tenant}\r\n")).text()).collect()
}

#[test]
fn one_value_has_one_backend_whatever_else_the_request_says() {
    let sources = ["{ header: X-Tenant }", "{ cookie: sid }", "{ query: user }", "path"];
    let (_origins, evenkeel) = five(&format!("[{}]", sources.join(", ")), "");
    for table in TABLES {
        for (number, source) in sources.iter().enumerate() {
            let mut used = BTreeSet::new();
            for value in 0..12 {
                let answers: BTreeSet<_> = (0..3).map(|noise| ask(&evenkeel, table, number, value, noise)).collect();
                assert_eq!(answers.len(), 1, "{table} by {source}: {value} is at {answers:?}");
                used.extend(answers);
            }
            assert!(used.len() > 1, "{table} by {source}: all are at {used:?}");
        }
    }
}

/// A request without the first `number` of the four sources, with this value of the one after them, and with other values of
/// the rest, which matter not.
fn ask(evenkeel: &Evenkeel, table: &str, number: usize, value: usize, noise: usize) -> String {
    let of = |source: usize| match source {
        source if source < number => None,
        source if source == number => Some(format!("v{value}")),
        _ => Some(format!("noise{noise}")),
    };
    let header = of(0).map(|value| format!("x-tenant: {value}\r\n")).unwrap_or_default();
    let cookie = of(1).map(|value| format!("Cookie: other={noise}; sid={value}\r\n")).unwrap_or_default();
    let query = of(2).map(|value| format!("&user={value}")).unwrap_or_default();
    let path = of(3).unwrap_or_default();
    let headers = format!("{header}{cookie}X-Noise: {noise}\r\n");
    evenkeel.client().get_with(&format!("/{table}/{path}?q={noise}{query}"), &headers).text()
}

#[test]
fn a_request_without_a_key_goes_anywhere() {
    let (_origins, evenkeel) = five("{ header: X-Tenant }", "");
    for table in TABLES {
        let tally = tally_of(&evenkeel, 1, 120, |_| (format!("/{table}"), String::new()));
        assert!(tally.len() == 5 && tally.values().all(|count| *count < 80), "{table}: {tally:?}");
    }
}

#[test]
fn a_client_has_one_backend_by_its_address() {
    let origins = ["a", "b", "c", "d", "e"].map(Origin::saying);
    let addresses = origins.each_ref().map(|origin| origin.address);
    // Nothing said of the key: it is the client's address, here as a trusted proxy tells it.
    let yaml = crate::support::evenkeel::pool(&addresses, "balance: consistent_hash");
    let evenkeel = Evenkeel::start(&format!("trusted_proxies: [127.0.0.1]\n{yaml}"));
    let home = |n: usize| evenkeel.client().get_with("/", &format!("X-Forwarded-For: 10.0.0.{n}\r\n")).text();
    let first: Vec<_> = (0..30).map(home).collect();
    let again: Vec<_> = (0..30).map(home).collect();
    assert_eq!(first, again);
    assert!(first.iter().collect::<BTreeSet<_>>().len() > 1, "{first:?}");
}

#[test]
fn another_instance_sends_each_key_to_the_same_backend() {
    let (origins, one) = five("{ header: X-Tenant }", "");
    // The order in the file does not matter.
    let other = balanced(&origins.iter().rev().collect::<Vec<_>>(), "{ header: X-Tenant }", "");
    assert_ne!(one.http(), other.http());
    for table in TABLES {
        assert_eq!(homes(&one, table), homes(&other, table), "{table}");
    }
}

/// Wait until so many backends are admitted in each pool.
fn admitted(evenkeel: &Evenkeel, count: u64) {
    let all = || evenkeel.pools().iter().all(|pool| pool["admitted"] == count);
    wait_until(&format!("{count} are admitted in each pool"), all);
}

#[test]
fn only_the_keys_of_a_dead_backend_move_and_they_return() {
    let (mut origins, evenkeel) = five("{ header: X-Tenant }", QUICK_CHECK);
    let before = TABLES.map(|table| homes(&evenkeel, table));
    origins[2].stop();
    admitted(&evenkeel, 4);
    for (before, table) in before.iter().zip(TABLES) {
        assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 5, "{table}: {before:?}");
        let without = homes(&evenkeel, table);
        let (its, others): (Vec<_>, Vec<_>) = before.iter().zip(&without).partition(|(before, _)| *before == "c");
        let heirs: BTreeSet<_> = its.iter().map(|(_, after)| after.as_str()).collect();
        assert!(heirs.len() > 1 && !heirs.contains("c"), "{table}: its keys went to {heirs:?}");
        let moved = others.iter().filter(|(before, after)| before != after).count();
        // A Maglev table pays for its evenness with a few.
        assert!(moved <= if table == "maglev" { 10 } else { 0 }, "{table}: {moved} others have moved");
    }
    origins[2].restart();
    admitted(&evenkeel, 5);
    for (before, table) in before.iter().zip(TABLES) {
        assert_eq!(homes(&evenkeel, table), *before, "{table}");
    }
}
