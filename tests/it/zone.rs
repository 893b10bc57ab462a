//! Zones: requests stay in the balancer's own as long as enough of it is well.

use crate::support::evenkeel::pool_of;
use crate::support::tally::{about, of, tally};
use crate::support::{Evenkeel, Origin, QUICK_CHECK, wait_until};

const OURS: [&str; 4] = ["a1", "a2", "a3", "a4"];
const OTHERS: [&str; 3] = ["b1", "b2", "nowhere"];

/// Four backends in zone a, two in b and one that does not say.
fn zones(more: &str) -> ([Origin; 4], [Origin; 3], Evenkeel) {
    let (ours, others) = (OURS.map(Origin::saying), OTHERS.map(Origin::saying));
    let zones = ["zone: a"; 4].into_iter().chain(["zone: b", "zone: b", ""]);
    let backends: Vec<_> = ours.iter().chain(&others).map(|origin| origin.address).zip(zones).collect();
    let evenkeel = Evenkeel::start(&pool_of(&backends, &format!("{more}\n{QUICK_CHECK}")));
    (ours, others, evenkeel)
}

#[test]
fn a_zone_keeps_its_requests_spills_in_proportion_and_gives_them_all_when_it_is_gone() {
    let (mut ours, _others, evenkeel) = zones("zone: a\nbalance: random");
    let all_here = |evenkeel: &Evenkeel| {
        let tally = tally(evenkeel, 4, 60);
        assert_eq!(of(&tally, &OURS), 60, "{tally:?}");
    };
    all_here(&evenkeel);
    ours[0].stop();
    wait_until("one is out", || evenkeel.admitted() == 6);
    all_here(&evenkeel);
    // Half of it, of the 70 % that would be enough.
    ours[1].stop();
    wait_until("two are out", || evenkeel.admitted() == 5);
    let spilt = tally(&evenkeel, 4, 600);
    about(of(&spilt, &OURS), 600, 50.0 / 70.0);
    for name in OTHERS {
        about(spilt[name], of(&spilt, &OTHERS), 1.0 / 3.0);
    }
    ours[2].stop();
    ours[3].stop();
    wait_until("the zone is gone", || evenkeel.admitted() == 3);
    assert_eq!(of(&tally(&evenkeel, 4, 60), &OTHERS), 60);
    ours.iter_mut().for_each(Origin::restart);
    wait_until("the zone is back", || evenkeel.admitted() == 7);
    all_here(&evenkeel);
}

#[test]
fn a_minimum_of_nothing_keeps_everything_here_while_anybody_is() {
    let (mut ours, _others, evenkeel) = zones("zone: { name: a, minimum: 0% }");
    ours[1..].iter_mut().for_each(Origin::stop);
    wait_until("three are out", || evenkeel.admitted() == 4);
    assert_eq!(of(&tally(&evenkeel, 4, 100), &["a1"]), 100);
}
