//! HTTP/2 without TLS, and HTTP/1 on the same port.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, LIMIT, Origin, Then, wait_until};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn both(more: &str) -> (Origin, Evenkeel) {
    let origin = Origin::saying("hello");
    let listener = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\n";
    let evenkeel = Evenkeel::start(&format!("{listener}{more}{}", pool(&[origin.address], "")));
    (origin, evenkeel)
}

fn connect(evenkeel: &Evenkeel) -> TcpStream {
    let stream = TcpStream::connect(evenkeel.http()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// The other side has sent GOAWAY or not, and then ended the connection.
#[track_caller]
fn ends(stream: &mut TcpStream) {
    let ended = std::io::copy(stream, &mut std::io::sink());
    assert!(ended.as_ref().map_or_else(|e| e.kind() == ErrorKind::ConnectionReset, |_| true), "{ended:?}");
}

#[test]
fn one_port_speaks_both() {
    let (_origin, evenkeel) = both("");
    for (version, answer) in
        [("--http2-prior-knowledge", "hello2"), ("--http1.1", "hello1.1"), ("--http1.0", "hello1.1")]
    {
        let url = format!("http://{}/", evenkeel.http());
        let arguments = ["-s", "-m", "10", version, "-w", "%{http_version}", &url];
        let output = Command::new("curl").args(arguments).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), answer, "{version}");
    }
}

/// Pingora waited for 24 bytes before it looked at any.
#[test]
fn the_shortest_request_does_not_hang() {
    let (_origin, evenkeel) = both("");
    assert_eq!(evenkeel.client().send("GET / HTTP/1.0\r\n\r\n").read().text(), "hello");
    assert_eq!(evenkeel.client().send("PUT / HTTP/1.0\r\n\r\n").read().text(), "hello");
    // Nearly HTTP/2.
    assert_eq!(evenkeel.client().send("PRI * HTTP/2.0\r\n\r\nSM\r\n\nx").read().status, 505);
}

#[test]
fn who_does_not_begin_is_let_go() {
    let (_origin, evenkeel) = both("limits: { header_timeout: 300ms }\n");
    for begin in [&PREFACE[..10], PREFACE, &[PREFACE, &SETTINGS[..4]].concat()] {
        let mut stream = connect(&evenkeel);
        stream.write_all(begin).unwrap();
        ends(&mut stream);
    }
}

#[test]
fn without_h2c_there_is_no_http2() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    assert_eq!(evenkeel.client().send([PREFACE, SETTINGS].concat()).read().status, 505);
}

/// Each of these is answered or looked at; a client that sends them without end does nothing else.
#[test]
fn a_flood_of_frames_ends_the_connection() {
    let (_origin, evenkeel) = both("");
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[0; 8]].concat();
    let priority = [&[0, 0, 5, 2, 0, 0, 0, 0, 1][..], &[0; 5]].concat();
    let unknown = vec![0, 0, 0, 0x2a, 0, 0, 0, 0, 0];
    for frame in [ping, SETTINGS.to_vec(), priority, unknown] {
        let mut stream = connect(&evenkeel);
        let mut answers = stream.try_clone().unwrap();
        let reader = std::thread::spawn(move || ends(&mut answers));
        stream.write_all(&[PREFACE, SETTINGS].concat()).unwrap();
        let many = frame.repeat(1000);
        let sent = (0..1000).take_while(|_| stream.write_all(&many).is_ok()).count();
        assert!(sent < 500, "{sent} thousand of {frame:?}");
        reader.join().unwrap();
    }
    wait_until("nobody is connected", || evenkeel.page("/healthz").status == 200);
    assert_eq!(evenkeel.get("/").text(), "hello");
}

/// Each is a reset, and may be 16 KB that stand for a thousand times as much.
#[test]
fn malformed_streams_without_end_end_the_connection() {
    let (_origin, evenkeel) = both("");
    let mut stream = connect(&evenkeel);
    stream.write_all(&[PREFACE, SETTINGS].concat()).unwrap();
    // GET / twice over, in the streams with these numbers.
    let malformed = |ids: std::ops::Range<u32>| {
        let frame = |id: u32| [&[0, 0, 4, 1, 5], &id.to_be_bytes()[..], &[0x82, 0x86, 0x84, 0x84]].concat();
        ids.step_by(2).flat_map(frame).collect::<Vec<u8>>()
    };
    stream.write_all(&malformed(1..21)).unwrap();
    for _ in 0..10 {
        assert_eq!(reset(&mut stream), 1, "PROTOCOL_ERROR");
    }
    stream.write_all(&malformed(21..400)).unwrap();
    ends(&mut stream);
    assert_eq!(evenkeel.get("/").text(), "hello");
}

/// What is sent is taken in turns with others, and all of it arrives.
#[test]
fn a_large_body_arrives() {
    let origin = Origin::new(|exchange| {
        let length = exchange.body()?.len();
        exchange.ok(&length.to_string())
    });
    let h2c = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\n";
    let evenkeel = Evenkeel::start(&(h2c.to_owned() + &pool(&[origin.address], "")));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![b'x'; 5_000_000]).unwrap();
    let (url, body) = (format!("http://{}/", evenkeel.http()), format!("@{}", file.path().display()));
    let arguments = ["-s", "-m", "10", "--http2-prior-knowledge", "--data-binary", &body, &url];
    let output = Command::new("curl").args(arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "5000000");
}

#[test]
fn a_client_opens_so_many_streams() {
    let (_origin, evenkeel) = both("limits: { max_streams: 7 }\n");
    let mut stream = connect(&evenkeel);
    stream.write_all(&[PREFACE, SETTINGS].concat()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut header = [0; 9];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header[3], 4, "SETTINGS come first");
    let mut settings = vec![0; usize::from(header[2])];
    stream.read_exact(&mut settings).unwrap();
    assert!(settings.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 7]), "{settings:?}");
}

/// A stream that is reset has this code; what else comes is passed over.
#[track_caller]
fn reset(stream: &mut TcpStream) -> u32 {
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).unwrap();
        let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
        stream.read_exact(&mut payload).unwrap();
        match header[3] {
            3 => return u32::from_be_bytes(payload[..4].try_into().unwrap()),
            1 => panic!("an answer: {payload:?}"),
            _ => {}
        }
    }
}

/// HEADERS of a request for `/` at `a`, with the method of this number in HPACK's static table.
fn headers(method: u8, flags: u8) -> Vec<u8> {
    let block = [0x80 | method, 0x86, 0x84, 0x41, 1, b'a'];
    [&[0, 0, 6, 1, 4 | flags, 0, 0, 0, 1][..], &block].concat()
}

/// Pingora waits for the body of a stream for ever.
#[test]
fn a_body_that_pauses_resets_its_stream() {
    let (origin, evenkeel) = both("limits: { body_timeout: 200ms }\n");
    let mut stream = connect(&evenkeel);
    stream.write_all(&[PREFACE, SETTINGS, &headers(3, 0), &[0, 0, 1, 0, 0, 0, 0, 0, 1, b'x']].concat()).unwrap();
    reset(&mut stream);
    wait_until("it is counted", || evenkeel.failures("client_timeout") == 1.0);
    let line = evenkeel.requests(1).remove(0);
    assert_eq!((&line["status"], &line["client"]), (&408.into(), &"127.0.0.1".into()), "{line}");
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    assert!(origin.count() <= 1);
}

/// And for a header that drips.
#[test]
fn a_header_that_drips_resets_its_stream() {
    let origin = Origin::new(|exchange| {
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: very ".iter().chain(b"slow ".iter().cycle()) {
            exchange.send([*byte])?;
            exchange.pause(Duration::from_millis(50));
        }
        Ok(Then::Keep)
    });
    let listener = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\n";
    let evenkeel = Evenkeel::start(&(listener.to_owned() + &pool(&[origin.address], "timeouts: { request: 200ms }")));
    let mut stream = connect(&evenkeel);
    stream.write_all(&[PREFACE, SETTINGS, &headers(2, 1)].concat()).unwrap();
    reset(&mut stream);
    wait_until("it is counted", || evenkeel.failures("request_timeout") == 1.0);
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
}
