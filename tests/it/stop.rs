//! A stop as each kind of client sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Origin, wait_until};
use crate::upgrade::{UPGRADE, echo};

/// What a client of a WebSocket gets whose server goes away: a close frame with the code 1001.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// A backend that answers when the gate opens.
fn gated() -> (Origin, Arc<AtomicBool>) {
    let gate = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&gate);
    let origin = Origin::new(move |exchange| {
        while exchange.head.start.contains(" /slow ") && !open.load(SeqCst) {
            exchange.pause(Duration::from_millis(5));
        }
        exchange.ok("hello")
    });
    (origin, gate)
}

#[test]
fn with_a_delay_it_says_so_first_and_still_accepts() {
    let origin = Origin::saying("hello");
    let mut evenkeel = Evenkeel::start(&("stop_delay: 2s\n".to_owned() + &pool(&[origin.address], "")));
    let mut kept = evenkeel.client();
    assert_eq!(kept.get("/").header("connection"), Some("keep-alive"));
    let began = Instant::now();
    evenkeel.signal("TERM");
    wait_until("/readyz says 503", || evenkeel.page("/readyz").status == 503);
    assert_eq!(evenkeel.page("/readyz").text(), "stopping\n");
    for client in [&mut kept, &mut evenkeel.client()] {
        let response = client.get("/");
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        assert!(client.closed());
    }
    assert!(began.elapsed() < Duration::from_secs(2), "all of that was within the delay");
    assert_eq!(evenkeel.ended().code(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[test]
fn the_response_to_a_request_in_flight_says_that_it_is_the_last() {
    let (origin, gate) = gated();
    let mut evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    client.ask("/slow", "");
    wait_until("the request is at the backend", || origin.count() == 1);
    evenkeel.signal("TERM");
    wait_until("it stops listening", || Client::try_connect(evenkeel.http()).is_err());
    gate.store(true, SeqCst);
    let response = client.read();
    assert_eq!((response.text().as_str(), response.header("connection")), ("hello", Some("close")));
    assert!(client.closed());
    assert_eq!(evenkeel.ended().code(), Some(0));
}

#[test]
fn readiness_can_be_asked_to_the_end() {
    let (origin, gate) = gated();
    let mut evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    client.ask("/slow", "");
    wait_until("the request is at the backend", || origin.count() == 1);
    evenkeel.signal("TERM");
    wait_until("it stops listening", || Client::try_connect(evenkeel.http()).is_err());
    assert_eq!((evenkeel.page("/readyz").status, evenkeel.page("/healthz").status), (503, 200));
    gate.store(true, SeqCst);
    client.read();
    evenkeel.ended();
}

#[test]
fn a_silent_websocket_gets_a_close_frame_and_the_process_ends() {
    let origin = echo();
    let mut evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    client.send([0x82, 1, b'x']);
    assert_eq!(client.bytes(3), [0x82, 1, b'x']);
    let began = Instant::now();
    evenkeel.signal("TERM");
    assert_eq!(client.bytes(4), GOING_AWAY);
    assert!(client.closed());
    assert_eq!(evenkeel.ended().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(evenkeel.requests(1)[0]["status"], 101);
}

#[test]
fn the_close_frame_waits_for_the_frame_under_way_and_is_the_last() {
    let origin = echo();
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    // The backend sends back what the client sends it: half a frame.
    client.send([0x82, 5, b'h', b'e']);
    assert_eq!(client.bytes(4), [0x82, 5, b'h', b'e']);
    evenkeel.signal("TERM");
    wait_until("it stops listening", || Client::try_connect(evenkeel.http()).is_err());
    client.send([b'l', b'l', b'o', 0x82, 1, b'x']);
    assert_eq!(client.bytes(3), *b"llo");
    assert_eq!(client.bytes(4), GOING_AWAY);
    assert!(client.closed(), "the frame behind it was not sent");
}

#[test]
fn what_the_client_answers_to_the_close_frame_reaches_the_backend() {
    let arrived = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&arrived);
    let origin = Origin::new(move |exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        let mut answer = [0; 8];
        std::io::Read::read_exact(exchange.wire, &mut answer)?;
        assert_eq!(answer, [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
        seen.store(true, SeqCst);
        Ok(crate::support::Then::Close)
    });
    let mut evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    evenkeel.signal("TERM");
    assert_eq!(client.bytes(4), GOING_AWAY);
    client.send([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
    wait_until("it is there", || arrived.load(SeqCst));
    assert!(client.closed());
    evenkeel.ended();
}

/// A client that speaks HTTP/2 by prior knowledge, a request of which is at the backend when the process is told to stop.
#[test]
fn http2_is_told_to_go_away_and_its_streams_finish() {
    let (origin, gate) = gated();
    let h2c = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\n";
    let mut evenkeel = Evenkeel::start(&(h2c.to_owned() + &pool(&[origin.address], "")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(evenkeel.http()).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = || http::Request::get(format!("http://{}/slow", evenkeel.http())).body(()).unwrap();
        let (response, _) = client.send_request(request(), true).unwrap();
        let arrived = async {
            while origin.count() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        arrived.await;
        evenkeel.signal("TERM");
        // With the GOAWAY no further stream can be opened.
        let refused = async {
            loop {
                match client.clone().ready().await {
                    Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    Err(e) => return e,
                }
            }
        };
        let refused = tokio::time::timeout(crate::support::LIMIT, refused).await.unwrap();
        assert!(refused.is_go_away() || refused.reason() == Some(h2::Reason::NO_ERROR), "{refused:?}");
        gate.store(true, SeqCst);
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "hello");
        connection.await.unwrap().unwrap();
    });
    assert_eq!(evenkeel.ended().code(), Some(0));
}
