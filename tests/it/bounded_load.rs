//! Bounded loads: a key that is asked for more than its backend may have goes on to the next.

use crate::support::pools::by_algorithm;
use crate::support::{Client, Gate, wait_until};

const TABLES: [&str; 3] = ["consistent_hash", "maglev", "rendezvous"];

/// Eight requests of one key by each table, each begun when the one before is at a backend. Says how many of them each of four
/// backends held, the fewest first.
fn eight_of_one_key(options: &str) -> [[usize; 4]; 3] {
    let behind = ["a", "b", "c", "d"].map(Gate::holding);
    let addresses = behind.each_ref().map(|(origin, _)| origin.address);
    let algorithms = TABLES.map(|table| format!("{{ {table}: {{ key: {{ header: X-Tenant }}, {options} }} }}"));
    let evenkeel = by_algorithm(&algorithms.each_ref().map(String::as_str), &addresses, "");
    let held = || behind.each_ref().map(|(_, gate)| gate.held());
    let all = || held().iter().sum::<usize>();
    let ask = |path: String| {
        let (mut client, before) = (evenkeel.client(), all());
        client.ask(&path, "X-Tenant: ann\r\n");
        wait_until("the request is at a backend", || all() == before + 1);
        client
    };
    let mut before = [0; 4];
    let mut clients: Vec<(&str, Vec<Client>)> = Vec::new();
    let counts = TABLES.map(|table| {
        clients.push((table, (0..8).map(|_| ask(format!("/{table}/hold"))).collect()));
        let mut gained: [usize; 4] = std::array::from_fn(|n| held()[n] - before[n]);
        before = held();
        gained.sort_unstable();
        gained
    });
    behind.iter().for_each(|(_, gate)| gate.open());
    for (table, clients) in &mut clients {
        let names: Vec<_> = clients.iter_mut().map(|client| client.read().text()).collect();
        wait_until("nothing is in flight", || evenkeel.pools().iter().all(idle));
        // With nothing in the way, the key is at home, where its first request was.
        assert_eq!(clients[0].get_with(&format!("/{table}"), "X-Tenant: ann\r\n").text(), names[0], "{table}");
    }
    counts
}

fn idle(pool: &serde_json::Value) -> bool {
    pool["backends"].as_array().unwrap().iter().all(|backend| backend["in_flight"] == 0)
}

#[test]
fn a_key_overflows_at_125_percent_and_comes_home() {
    // With eight under way the average is two, and 125 % of it less than three and more than two.
    assert_eq!(eight_of_one_key("bounded_load: 125%"), [[0, 2, 3, 3]; 3]);
}

#[test]
fn without_a_bound_a_key_stays_at_home() {
    assert_eq!(eight_of_one_key("bounded_load: off"), [[0, 0, 0, 8]; 3]);
}
