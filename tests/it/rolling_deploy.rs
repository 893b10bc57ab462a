//! A rolling deploy with nothing but `drain` and `undrain`, under load.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::drain::{done, operate};
use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Exchange, Origin, QUICK_CHECK, wait_until};

/// Requests over one connection until it is told to stop: how many there were, and those that failed.
fn load(address: SocketAddr, over: &AtomicBool) -> (usize, Vec<String>) {
    let (mut sent, mut failed, mut client) = (0, Vec::new(), Client::connect(address));
    while !over.load(SeqCst) {
        // A POST is never sent again: what a backend drops of it, the client sees.
        let method = if sent % 2 == 0 { "GET" } else { "POST" };
        client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi"));
        match client.try_read(method) {
            Ok(response) if response.status == 200 => {}
            Ok(response) => failed.push(format!("{} {}", response.status, response.reason())),
            Err(e) => failed.push(e.to_string()),
        }
        if !failed.is_empty() {
            client = Client::connect(address);
        }
        sent += 1;
    }
    (sent, failed)
}

#[test]
fn a_rolling_deploy_fails_no_request() {
    let work = |exchange: &mut Exchange<'_>| {
        exchange.body()?;
        exchange.pause(Duration::from_millis(3));
        exchange.ok("done")
    };
    let mut fleet: Vec<Origin> = (0..5).map(|_| Origin::new(work)).collect();
    let addresses: Vec<_> = fleet.iter().map(|origin| origin.address).collect();
    let evenkeel = Evenkeel::start(&pool(&addresses, &format!("slow_start: 500ms\n{QUICK_CHECK}")));
    let over = AtomicBool::new(false);
    let clients = thread::scope(|scope| {
        let clients: Vec<_> = (0..6).map(|_| scope.spawn(|| load(evenkeel.http(), &over))).collect();
        for origin in &mut fleet {
            let before = origin.count();
            wait_until("it has work", || origin.count() > before + 10);
            done(&operate(&evenkeel, "drain", origin.address, "--wait --timeout 30s"));
            origin.stop();
            origin.restart();
            done(&operate(&evenkeel, "undrain", origin.address, "--wait --timeout 30s"));
        }
        over.store(true, SeqCst);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let sent: usize = clients.iter().map(|(sent, _)| sent).sum();
    let failed: Vec<_> = clients.into_iter().flat_map(|(_, failed)| failed).collect();
    assert!(sent > 500, "{sent}");
    assert_eq!(failed, [""; 0], "of {sent}");
    assert_eq!(evenkeel.metric("evenkeel_retries_total{pool=\"web\"}"), 0.0, "it is the drain that saved them");
    println!("{sent} requests, 0 failed, 0 sent again");
}
