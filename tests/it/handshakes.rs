//! Handshakes that come to nothing.

use std::io::Read;
use std::time::{Duration, Instant};

use tempfile::tempdir;

use crate::sni::over_tls;
use crate::support::client::Wire;
use crate::support::evenkeel::pool;
use crate::support::sites::{Settings, connect, site};
use crate::support::tls::have_openssl;
use crate::support::{Client, Evenkeel, Origin, wait_until};

fn count(evenkeel: &Evenkeel, outcome: &str) -> f64 {
    let name = evenkeel.http();
    evenkeel.metric(&format!("evenkeel_tls_handshakes_total{{listener=\"{name}\",outcome=\"{outcome}\"}}"))
}

#[test]
fn a_silent_client_is_closed() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let site = site(dir.path(), "site", &["localhost"]);
    let evenkeel = Evenkeel::start(&format!(
        "limits: {{ handshake_timeout: 300ms }}\nlisteners: [{{ address: 127.0.0.1:0, tls: {{ certificates: [{}] }} }}]\n{}",
        site.yaml(),
        pool(&[origin.address], "")
    ));
    let began = Instant::now();
    let mut silent = evenkeel.client();
    // Half of a client's first message, and no more.
    let mut half = evenkeel.client();
    half.send([0x16, 3, 1, 2, 0, 1, 0, 1]);
    assert!(silent.closed() && half.closed());
    assert!((Duration::from_millis(250)..Duration::from_secs(5)).contains(&began.elapsed()));
    wait_until("both are counted", || count(&evenkeel, "timed_out") == 2.0);
    assert_eq!(
        connect(evenkeel.http(), "localhost", &Settings::default().client()).unwrap().client.get("/").status,
        200
    );
}

#[test]
fn what_is_no_tls_is_counted_and_not_logged() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let evenkeel = over_tls(&format!("certificates: [{}]", site(dir.path(), "site", &["localhost"]).yaml()), &origin);
    let mut plain = evenkeel.client();
    plain.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut rest = Vec::new();
    let _ = plain.wire.read_to_end(&mut rest);
    assert!(rest.first() == Some(&0x15), "an alert: {rest:?}");
    wait_until("it is counted", || count(&evenkeel, "malformed") == 1.0);
    drop(evenkeel.client());
    wait_until("who left is counted", || count(&evenkeel, "client_gone") == 1.0);
    // Lines of the start may come as late as this; none of theirs has a client in it, or is more than information.
    let log = evenkeel.log();
    assert!(log.lines().all(|line| line.contains("INFO") && !line.contains("client 127.0.0.1")), "{log}");
    assert_eq!(count(&evenkeel, "failed"), 0.0);
}

#[test]
fn a_silent_client_does_not_hold_up_the_end() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let mut evenkeel =
        over_tls(&format!("certificates: [{}]", site(dir.path(), "site", &["localhost"]).yaml()), &origin);
    let _silent = evenkeel.client();
    assert_eq!(
        connect(evenkeel.http(), "localhost", &Settings::default().client()).unwrap().client.get("/").status,
        200
    );
    let began = Instant::now();
    evenkeel.signal("TERM");
    assert!(evenkeel.ended().success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn tls_on_a_unix_socket_and_behind_the_proxy_protocol() {
    if !have_openssl() {
        return;
    }
    let (dir, origin) = (tempdir().unwrap(), Origin::saying("hello"));
    let pair = site(dir.path(), "site", &["localhost"]).yaml();
    let evenkeel = Evenkeel::start(&format!(
        "listeners:\n  - {{ address: 127.0.0.1:0, proxy_protocol: {{ from: [127.0.0.1] }}, tls: {{ certificates: [{pair}] }} }}\n  \
         - {{ address: 'unix:DIR/tls.sock', tls: {{ certificates: [{pair}] }} }}\n{}",
        pool(&[origin.address], "")
    ));
    let over = |mut stream: Box<dyn Wire>, ahead: &[u8]| {
        std::io::Write::write_all(&mut stream, ahead).unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let session = rustls::ClientConnection::new(Settings::default().client(), name).unwrap();
        Client::over(rustls::StreamOwned::new(session, stream)).get("/").status
    };
    let tcp = std::net::TcpStream::connect(evenkeel.http()).unwrap();
    assert_eq!(over(Box::new(tcp), b"PROXY TCP4 192.0.2.9 127.0.0.1 1234 443\r\n"), 200);
    assert_eq!(origin.last().head.all("x-forwarded-for"), ["192.0.2.9"]);
    let unix = std::os::unix::net::UnixStream::connect(evenkeel.dir.path().join("tls.sock")).unwrap();
    assert_eq!(over(Box::new(unix), b""), 200);
    assert_eq!(origin.last().head.all("x-forwarded-proto"), ["https"]);
}
