//! Backends that hold requests until a test lets them go.

use std::sync::{Arc, Condvar, Mutex};

use super::{Origin, wait_until};

/// Where backends hold the requests whose path has `/hold` in it. Several may share one.
#[derive(Default)]
pub struct Gate {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    open: bool,
    /// How many may leave although it is closed.
    passes: usize,
    held: usize,
    now: usize,
    most: usize,
}

impl Gate {
    /// A closed one.
    pub fn closed() -> Arc<Gate> {
        Arc::default()
    }

    /// A backend with a gate of its own, that answers with this body.
    pub fn holding(body: &str) -> (Origin, Arc<Gate>) {
        let gate = Gate::closed();
        (gate.origin(body), gate)
    }

    /// A backend behind it, that answers with this body.
    pub fn origin(self: &Arc<Gate>, body: &str) -> Origin {
        let (gate, body) = (Arc::clone(self), body.to_owned());
        Origin::new(move |exchange| {
            exchange.body()?;
            gate.pass(exchange.path().contains("/hold"));
            exchange.ok(&body)
        })
    }

    /// Whoever has passed is no longer counted, so that the next request, which may come with the answer, is no second one.
    fn pass(&self, hold: bool) {
        let mut inside = self.inside.lock().unwrap();
        inside.now += 1;
        inside.most = inside.most.max(inside.now);
        if hold {
            inside.held += 1;
            inside = self.changed.wait_while(inside, |inside| !inside.open && inside.passes == 0).unwrap();
            inside.passes = inside.passes.saturating_sub(1);
            inside.held -= 1;
        }
        inside.now -= 1;
    }

    /// How many it holds.
    pub fn held(&self) -> usize {
        self.inside.lock().unwrap().held
    }

    /// Wait until it holds so many.
    #[track_caller]
    pub fn holds(&self, n: usize) {
        wait_until(&format!("{n} requests are held"), || self.held() == n);
    }

    /// How many requests were at the backend at the same time, at most.
    pub fn most(&self) -> usize {
        self.inside.lock().unwrap().most
    }

    /// Let one go.
    pub fn let_go(&self) {
        self.inside.lock().unwrap().passes += 1;
        self.changed.notify_one();
    }

    /// Let all go, and hold none from now on.
    pub fn open(&self) {
        self.inside.lock().unwrap().open = true;
        self.changed.notify_all();
    }
}
