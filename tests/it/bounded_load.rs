//! Bounded loads: a key that is asked for more than its backend may have goes on to the next.

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Gate, wait_until};

/// Ask for one key so often at once, each request begun when the one before is at a backend. Says how many each of four
/// backends holds, and gives the names in the order of the answers.
fn eight_of_one_key(balance: &str) -> ([usize; 4], String) {
    let behind = ["a", "b", "c", "d"].map(Gate::holding);
    let addresses = behind.each_ref().map(|(origin, _)| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, &format!("balance: {balance}")));
    let held = || behind.each_ref().map(|(_, gate)| gate.held());
    let begin = |number: usize| {
        let mut client = evenkeel.client();
        client.ask("/hold", "X-Tenant: ann\r\n");
        wait_until("the request is at a backend", || held().iter().sum::<usize>() == number + 1);
        client
    };
    let mut clients: Vec<Client> = (0..8).map(begin).collect();
    let held = held();
    behind.iter().for_each(|(_, gate)| gate.open());
    let names: String = clients.iter_mut().map(|client| client.read().text()).collect();
    // With nothing in the way, the key is at home.
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    let home = clients[0].get_with("/", "X-Tenant: ann\r\n").text();
    assert!(names.starts_with(&home), "{balance}: {names}, at home at {home}");
    (held, names)
}

#[test]
fn a_key_overflows_at_125_percent_and_comes_home() {
    for table in ["consistent_hash", "maglev", "rendezvous"] {
        let bounded = format!("{{ {table}: {{ key: {{ header: X-Tenant }}, bounded_load: 125% }} }}");
        let (mut held, names) = eight_of_one_key(&bounded);
        held.sort_unstable();
        // With eight under way the average is two, and 125 % of it less than three and more than two.
        assert_eq!(held, [0, 2, 3, 3], "{table}: {names}");
    }
}

#[test]
fn without_a_bound_a_key_stays_at_home() {
    for table in ["consistent_hash", "maglev", "rendezvous"] {
        let (mut held, names) = eight_of_one_key(&format!("{{ {table}: {{ key: {{ header: X-Tenant }} }} }}"));
        held.sort_unstable();
        assert_eq!(held, [0, 0, 0, 8], "{table}: {names}");
    }
}
