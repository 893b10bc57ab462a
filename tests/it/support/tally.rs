//! Many requests, and who has answered how many of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::thread;

use super::{Evenkeel, Response};

/// How many answers there were by their body: the name of the backend that gave them.
pub type Tally = BTreeMap<String, usize>;

/// GET `/` so often, over that many connections at the same time.
pub fn tally(evenkeel: &Evenkeel, clients: usize, requests: usize) -> Tally {
    tally_with(evenkeel, clients, requests, |_| String::new())
}

/// The same with the headers, each with its end of line, that `headers` has for the number of the request.
pub fn tally_with(
    evenkeel: &Evenkeel,
    clients: usize,
    requests: usize,
    headers: impl Fn(usize) -> String + Sync,
) -> Tally {
    let mut tally = Tally::new();
    for response in responses(evenkeel, clients, 0..requests, headers) {
        assert_eq!((response.status, response.reason()), (200, ""));
        *tally.entry(response.text()).or_default() += 1;
    }
    tally
}

/// What these requests are answered with, in no order.
pub fn responses(
    evenkeel: &Evenkeel,
    clients: usize,
    numbers: Range<usize>,
    headers: impl Fn(usize) -> String + Sync,
) -> Vec<Response> {
    let ask = |client: usize| {
        let mut connection = evenkeel.client();
        let numbers = numbers.clone().skip(client).step_by(clients);
        numbers.map(|number| connection.get_with("/", &headers(number))).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|client| scope.spawn(move || ask(client))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// How many of them these backends have answered.
pub fn of(tally: &Tally, names: &[&str]) -> usize {
    names.iter().filter_map(|name| tally.get(*name)).sum()
}

/// Assert that `count` of `all` independent requests is what a probability of `share` brings: at most five standard deviations
/// away, which chance exceeds once in two million.
#[track_caller]
pub fn about(count: usize, all: usize, share: f64) {
    let (expected, deviation) = (all as f64 * share, (all as f64 * share * (1.0 - share)).sqrt());
    assert!((count as f64 - expected).abs() <= 5.0 * deviation, "{count} of {all} is not about {share}");
}
