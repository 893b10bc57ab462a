//! Sources of backends: that a reload asks them, and that it is seen when they do not answer.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use evenkeel::app::App;
use evenkeel::testing::{Backend, Balancer};
use pingora::prelude::{Error, ErrorType, Result};
use pingora_load_balancing::Backend as Found;
use pingora_load_balancing::discovery::ServiceDiscovery;

/// What a source says, or why it says nothing.
#[derive(Clone)]
struct Source(Arc<Mutex<std::result::Result<Vec<String>, &'static str>>>);

impl Source {
    fn of(backends: &[&Backend]) -> Self {
        let source = Source(Arc::new(Mutex::new(Err("nobody has said"))));
        source.say(backends);
        source
    }

    fn say(&self, backends: &[&Backend]) {
        *self.0.lock().unwrap() = Ok(backends.iter().map(|backend| backend.to_string()).collect());
    }

    fn extend(&self) -> impl FnOnce(App) -> App + use<> {
        let source = self.clone();
        move |app| app.discovery("told", move |_| Ok(source.clone()))
    }
}

#[async_trait]
impl ServiceDiscovery for Source {
    async fn discover(&self) -> Result<(BTreeSet<Found>, HashMap<u64, bool>)> {
        let said = self.0.lock().unwrap().clone();
        let said = said.map_err(|why| Error::explain(ErrorType::new("NotTold"), why))?;
        Ok((said.iter().map(|address| Found::new(address)).collect::<Result<_>>()?, HashMap::new()))
    }
}

const YAML: &str = "pools: { web: { discovery: told } }";

#[test]
fn a_reload_asks_the_source_of_a_pool_that_it_keeps() {
    // It went on with the old backends for up to ten seconds, and whoever had changed the list and reloaded believed otherwise.
    let (one, other) = (Backend::saying("one"), Backend::saying("other"));
    let source = Source::of(&[&one]);
    let balancer = Balancer::start(YAML, source.extend());
    assert_eq!(balancer.get("/").send().text(), "one");
    source.say(&[&other]);
    let began = Instant::now();
    let receipt = balancer.reload(YAML);
    assert!(receipt.starts_with("generation 2: pools 1 kept; backends 1 kept"), "{receipt}");
    let is_there = |balancer: &Balancer| {
        let pool = balancer.pool("web");
        pool.admitted == 1 && pool.backends[0].address == other.to_string()
    };
    balancer.wait_until("the other is there, and has been probed", is_there);
    assert!(began.elapsed() < Duration::from_secs(8), "that was its turn: {:?}", began.elapsed());
    assert_eq!(balancer.get("/").send().text(), "other");
}

#[test]
fn a_source_that_does_not_answer_is_seen() {
    let backend = Backend::saying("here");
    let source = Source::of(&[&backend]);
    let balancer = Balancer::start(YAML, source.extend());
    let failures = |balancer: &Balancer| balancer.metric("evenkeel_discovery_failures_total{pool=\"web\"}");
    assert_eq!((failures(&balancer), balancer.pool("web").discovery_failure), (0.0, None));
    *source.0.lock().unwrap() = Err("the list is gone");
    balancer.reload(YAML);
    balancer.wait_until("it is counted", |balancer| failures(balancer) == 1.0);
    assert_eq!(balancer.pool("web").discovery_failure.as_deref(), Some("NotTold: the list is gone"));
    assert_eq!(balancer.get("/").send().text(), "here", "who is known stays");
    source.say(&[&backend]);
    balancer.reload(YAML);
    balancer.wait_until("it answers", |balancer| balancer.pool("web").discovery_failure.is_none());
}
