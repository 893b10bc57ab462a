//! A balancing algorithm of your own: the backend with the fewest requests in flight, for each unit of its weight.
//!
//! ```text
//! cargo run --example algorithm -- check -c examples/conf/algorithm.yaml
//! cargo run --example algorithm -- -c examples/conf/algorithm.yaml
//! for i in $(seq 50); do curl -s 127.0.0.1:8000/ -o /dev/null & done; wait
//! cargo run --example algorithm -- status               # a slow backend has had fewer of them
//! ```
//!
//! Two backends for it, each in a terminal: `python3 -m http.server 8001` and `python3 -m http.server 8002`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::vec::IntoIter;

use evenkeel::app::App;
use evenkeel::backend::{Candidate, Policy, Roster};
use pingora::lb::Backend;
use pingora::lb::selection::{BackendIter, BackendSelection};

/// Pingora builds one anew whenever the backends change; the roster, and the state in it, outlives them all.
struct LeastInFlight(Arc<Roster>);

/// The backends from the least to the most busy.
struct Order {
    rest: IntoIter<Candidate>,
    offered: Option<Candidate>,
}

impl BackendSelection for LeastInFlight {
    type Iter = Order;
    type Config = Arc<Roster>;

    fn build_with_config(_: &BTreeSet<Backend>, roster: &Arc<Roster>) -> Self {
        LeastInFlight(Arc::clone(roster))
    }

    fn build(backends: &BTreeSet<Backend>) -> Self {
        let roster = Roster::new(Policy::default());
        roster.set_members(backends);
        LeastInFlight(roster)
    }

    fn iter(self: &Arc<Self>, _key: &[u8]) -> Order {
        let mut candidates: Vec<Candidate> = self.0.load().candidates().cloned().collect();
        // Equals in any order, or the first of them would get all that comes while nobody is busy.
        fastrand::shuffle(&mut candidates);
        // Each count is read once: a sort over numbers that change while it runs may panic.
        candidates.sort_by_cached_key(|c| u64::from(c.state.in_flight()) * 1000 / c.weight);
        Order { rest: candidates.into_iter(), offered: None }
    }
}

impl BackendIter for Order {
    fn next(&mut self) -> Option<&Backend> {
        self.offered = self.rest.next();
        self.offered.as_ref().map(|candidate| &*candidate.backend)
    }
}

fn extend(app: App) -> App {
    app.balance::<LeastInFlight>("least_in_flight", |options, roster| {
        options.none()?;
        Ok(Arc::clone(roster))
    })
}

fn main() -> ExitCode {
    evenkeel::cli::main(extend)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use evenkeel::testing::{Answer, Backend, Balancer};

    #[test]
    fn the_idle_backend_is_asked() {
        let (slow, quick) = (Backend::answering(|_| Answer::hang()), Backend::saying("quick"));
        let yaml = format!("pools: {{ web: {{ backends: [{slow}, {quick}], balance: least_in_flight }} }}");
        let balancer = Balancer::start(&yaml, super::extend);
        let in_flight = |balancer: &Balancer| balancer.pool("web").backends.iter().map(|it| it.in_flight).sum::<u32>();
        // While both are idle either may be asked, until a request hangs on the slow one.
        for asked in 1.. {
            let request = balancer.get("/");
            thread::spawn(|| request.try_send());
            balancer.wait_until("somebody has it", |_| slow.requests().len() + quick.requests().len() == asked);
            // An answer is read before its lease ends.
            balancer.wait_until("the quick one is idle", |b| in_flight(b) as usize == slow.requests().len());
            if slow.requests().len() == 1 {
                break;
            }
        }
        for _ in 0..20 {
            assert_eq!(balancer.get("/").send().text(), "quick");
            balancer.wait_until("the quick one is idle", |balancer| in_flight(balancer) == 1);
        }
    }
}
