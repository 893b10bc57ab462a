//! `examples/own_proxy.rs`: a hand-written `ProxyHttp` has what ours has of the pool.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};

use evenkeel::testing::{Answer, Backend, Request, Response};

use crate::examples::example;
use crate::support::{Origin, wait_until};

/// The program, ended with the test.
struct OwnProxy {
    child: Child,
    address: SocketAddr,
}

impl OwnProxy {
    fn start(backends: &[&Backend]) -> Option<Self> {
        let program = example("own_proxy")?;
        // An address that nobody else takes when it is free again.
        let address = Origin::saying("").address;
        let backends = backends.iter().map(ToString::to_string);
        let child = Command::new(program).arg(address.to_string()).args(backends).spawn().unwrap();
        wait_until("it accepts", || TcpStream::connect(address).is_ok());
        Some(OwnProxy { child, address })
    }

    fn ask(&self, method: &str) -> Response {
        Request::new(self.address, method, "/").send()
    }
}

impl Drop for OwnProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_one_backend_breaks_off_another_answers() {
    let dying = Backend::answering(|_| Answer::close());
    // So many, that the second attempts are within the budget.
    let well = [(); 3].map(|()| Backend::saying("well"));
    let Some(proxy) = OwnProxy::start(&[&dying, &well[0], &well[1], &well[2]]) else { return };
    for _ in 0..40 {
        let response = proxy.ask("GET");
        assert_eq!((response.status(), &*response.text()), (200, "well"));
        assert!(well.iter().any(|it| response.header("x-backend") == Some(&it.to_string())));
    }
    // Five failures in a row, and it is ejected.
    assert_eq!(dying.requests().len(), 5);
}

#[test]
fn a_status_of_the_policy_gets_a_second_attempt_and_another_does_not() {
    let (busy, well) = (Backend::script([503, 500, 200].map(Answer::new)), Backend::script([Answer::new(200)]));
    let Some(proxy) = OwnProxy::start(&[&busy, &well]) else { return };
    let statuses: Vec<u16> = (0..4).map(|_| proxy.ask("GET").status()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3, "{statuses:?}");
    assert!(statuses.contains(&500), "{statuses:?}");
}

#[test]
fn a_post_that_was_seen_is_not_sent_twice() {
    let dying = [(); 2].map(|()| Backend::answering(|_| Answer::close()));
    let Some(proxy) = OwnProxy::start(&dying.each_ref()) else { return };
    let asked = || dying.iter().map(|backend| backend.requests().len()).sum::<usize>();
    assert_eq!((proxy.ask("POST").status(), asked()), (502, 1));
    assert_eq!((proxy.ask("GET").status(), asked()), (502, 3));
}

#[test]
fn who_is_gone_costs_no_request() {
    let (mut gone, well) = (Backend::saying("gone"), Backend::saying("well"));
    let Some(proxy) = OwnProxy::start(&[&gone, &well]) else { return };
    gone.stop();
    for _ in 0..20 {
        assert_eq!(proxy.ask("GET").text(), "well");
    }
}
