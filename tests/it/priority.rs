//! Priorities and backups: who gets nothing while others can, and what spills over when they cannot.

use crate::support::evenkeel::pool_of;
use crate::support::tally::{about, of, tally};
use crate::support::{Evenkeel, Gate, Origin, QUICK_CHECK, wait_until};

#[test]
fn a_backup_serves_only_while_all_primaries_are_dead() {
    let (mut one, mut two, backup) = (Origin::saying("one"), Origin::saying("two"), Origin::saying("backup"));
    let backends = [(one.address, ""), (two.address, ""), (backup.address, "backup: true")];
    let evenkeel = Evenkeel::start(&pool_of(&backends, QUICK_CHECK));
    let primaries = |tally| of(&tally, &["one", "two"]);
    assert_eq!(primaries(tally(&evenkeel, 4, 60)), 60);
    one.stop();
    wait_until("one is out", || evenkeel.admitted() == 2);
    assert_eq!(of(&tally(&evenkeel, 4, 60), &["two"]), 60);
    two.stop();
    // Before the check has seen it, by a second attempt; after that, by the first.
    assert_eq!(of(&tally(&evenkeel, 4, 20), &["backup"]), 20);
    wait_until("both are out", || evenkeel.admitted() == 1);
    let retries = evenkeel.metric("evenkeel_retries_total{pool=\"web\"}");
    assert_eq!(of(&tally(&evenkeel, 4, 60), &["backup"]), 60);
    assert_eq!(evenkeel.metric("evenkeel_retries_total{pool=\"web\"}"), retries);
    one.restart();
    two.restart();
    wait_until("both are back", || evenkeel.admitted() == 3);
    assert_eq!(primaries(tally(&evenkeel, 4, 60)), 60);
}

#[test]
fn priorities_are_asked_in_their_order() {
    let mut origins = ["0", "3", "9"].map(Origin::saying);
    let keys = ["priority: 0", "priority: 3", "priority: 9"];
    // The order in the file does not matter.
    let backends: Vec<_> = origins.iter().map(|origin| origin.address).zip(keys).rev().collect();
    let evenkeel = Evenkeel::start(&pool_of(&backends, QUICK_CHECK));
    for (dead, name) in ["0", "3", "9"].into_iter().enumerate() {
        wait_until("the dead are out", || evenkeel.admitted() == 3 - dead as u64);
        assert_eq!(of(&tally(&evenkeel, 2, 20), &[name]), 20);
        origins[dead].stop();
    }
}

#[test]
fn a_backup_takes_what_full_primaries_cannot() {
    let ((one, gate_one), (two, gate_two)) = (Gate::holding("one"), Gate::holding("two"));
    let backup = Origin::saying("backup");
    let backends =
        [(one.address, "max_in_flight: 2"), (two.address, "max_in_flight: 2"), (backup.address, "backup: true")];
    let evenkeel = Evenkeel::start(&pool_of(&backends, ""));
    let mut held = [(); 4].map(|()| evenkeel.client());
    for (n, client) in held.iter_mut().enumerate() {
        client.ask("/hold", "");
        wait_until("a primary has it", || gate_one.held() + gate_two.held() == n + 1);
    }
    assert_eq!((gate_one.held(), gate_two.held()), (2, 2));
    assert_eq!(of(&tally(&evenkeel, 2, 20), &["backup"]), 20);
    [gate_one, gate_two].iter().for_each(|gate| gate.open());
    held.iter_mut().for_each(|client| assert_eq!(client.read().status, 200));
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    assert_eq!(of(&tally(&evenkeel, 1, 20), &["one", "two"]), 20);
}

#[test]
fn what_a_weak_priority_lacks_overflows_in_proportion() {
    let mut first = ["0a", "0b", "0c", "0d"].map(Origin::saying);
    let second = ["1a", "1b"].map(Origin::saying);
    let addresses = first.iter().map(|origin| (origin.address, ""));
    let backends: Vec<_> = addresses.chain(second.iter().map(|origin| (origin.address, "priority: 1"))).collect();
    let evenkeel = Evenkeel::start(&pool_of(&backends, &format!("balance: random\noverflow: 70%\n{QUICK_CHECK}")));
    // Three of four are 75 %, and enough.
    first[0].stop();
    wait_until("one is out", || evenkeel.admitted() == 5);
    assert_eq!(of(&tally(&evenkeel, 4, 60), &["0b", "0c", "0d"]), 60);
    // Two of four are 50 %, of the 70 % that would be enough.
    first[1].stop();
    wait_until("two are out", || evenkeel.admitted() == 4);
    let split = tally(&evenkeel, 4, 600);
    about(of(&split, &["0c", "0d"]), 600, 50.0 / 70.0);
    about(split["0c"], of(&split, &["0c", "0d"]), 0.5);
    about(split["1a"], of(&split, &["1a", "1b"]), 0.5);
    first[1].restart();
    wait_until("one is out", || evenkeel.admitted() == 5);
    assert_eq!(of(&tally(&evenkeel, 4, 60), &["0b", "0c", "0d"]), 60);
}
