//! Many requests, and who has answered how many of them.

use std::collections::BTreeMap;
use std::thread;

use super::{Evenkeel, Response};

/// How many answers there were by their body: the name of the backend that gave them.
pub type Tally = BTreeMap<String, usize>;

/// GET `/` so often, over that many connections at the same time.
pub fn tally(evenkeel: &Evenkeel, clients: usize, requests: usize) -> Tally {
    tally_of(evenkeel, clients, requests, |_| ("/".to_owned(), String::new()))
}

/// The same with the path and the headers, each with its end of line, that `what` says for the number of a request.
pub fn tally_of(
    evenkeel: &Evenkeel,
    clients: usize,
    requests: usize,
    what: impl Fn(usize) -> (String, String) + Sync,
) -> Tally {
    let mut tally = Tally::new();
    for response in responses(evenkeel, clients, requests, what) {
        assert_eq!((response.status, response.reason()), (200, ""));
        *tally.entry(response.text()).or_default() += 1;
    }
    tally
}

/// What these requests are answered with, in no order.
pub fn responses(
    evenkeel: &Evenkeel,
    clients: usize,
    requests: usize,
    what: impl Fn(usize) -> (String, String) + Sync,
) -> Vec<Response> {
    let ask = |client: usize| {
        let mut connection = evenkeel.client();
        let mut get = |number| {
            let (path, headers) = what(number);
            connection.get_with(&path, &headers)
        };
        (client..requests).step_by(clients).map(&mut get).collect::<Vec<_>>()
    };
    let ask = &ask;
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
