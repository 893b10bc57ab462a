//! Who the client is behind a proxy that says so ahead of the connection.

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin};

/// Says what it was told of the client.
fn telling() -> Origin {
    Origin::new(|exchange| {
        let told = exchange.head.header("x-forwarded-for").unwrap_or("nothing").to_owned();
        exchange.ok(&told)
    })
}

fn behind(from: &str, more: &str) -> (Origin, Evenkeel) {
    let origin = telling();
    let listeners = format!("listeners: [{{ address: 127.0.0.1:0, proxy_protocol: {{ from: [{from}] }} }}]\n{more}");
    let evenkeel = Evenkeel::start(&(listeners + &pool(&[origin.address], "")));
    (origin, evenkeel)
}

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend((addresses.len() as u16).to_be_bytes());
    header.extend(addresses);
    header
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn both_versions_are_believed_from_whom_they_may_come() {
    let (_origin, evenkeel) = behind("127.0.0.0/8", "");
    let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x10, 0, 0, 80];
    let mut with_more = v4.to_vec();
    with_more.extend([0xea, 0, 3, b'v', b'p', b'c']);
    let v6 = [[0x20, 1, 0xd, 0xb8].as_slice(), &[0; 11], &[9], &[0; 15], &[1], &[0x10, 0, 0, 80]].concat();
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::9 ::1 4096 80\r\n".to_vec(), "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(1, 0x11, &v4), "192.0.2.7"),
        (v2(1, 0x11, &with_more), "192.0.2.7"),
        (v2(1, 0x21, &v6), "2001:db8::9"),
        (v2(0, 0, &[]), "127.0.0.1"),
    ] {
        let mut client_of = evenkeel.client();
        assert_eq!(client_of.send([&header, REQUEST].concat()).read().text(), client);
        assert_eq!(client_of.get("/").text(), client, "the connection is the client's, not the request");
        let mut in_pieces = evenkeel.client();
        for byte in header.iter().chain(REQUEST) {
            in_pieces.send([*byte]);
        }
        assert_eq!(in_pieces.read().text(), client);
    }
    let lines = evenkeel.requests(21);
    assert!(lines.iter().any(|line| line["client"] == "2001:db8::9"), "{lines:?}");
}

#[test]
fn nobody_else_is_believed() {
    let (origin, evenkeel) = behind("10.0.0.0/8", "");
    assert_eq!(evenkeel.get("/").text(), "127.0.0.1");
    let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 80\r\n";
    assert_eq!(evenkeel.client().send([header, REQUEST].concat()).read().status, 400);
    assert!(evenkeel.client().send([v2(0, 0, &[]).as_slice(), REQUEST].concat()).read().status == 400);
    assert_eq!(origin.count(), 1);
}

#[test]
fn who_should_say_it_and_does_not_is_refused() {
    let (origin, evenkeel) = behind("127.0.0.1", "limits: { header_timeout: 300ms }\n");
    assert!(evenkeel.client().send(REQUEST).closed());
    assert!(evenkeel.client().send("PROXY TCP4 192.0.2.7").closed(), "it does not go on");
    assert!(evenkeel.client().send(v2(1, 0x11, &[1, 2, 3])).closed(), "addresses too short");
    assert!(evenkeel.client().closed(), "silence");
    assert_eq!(origin.count(), 0);
}

#[test]
fn connections_are_counted_by_client() {
    let (_origin, evenkeel) = behind("127.0.0.1", "limits: { max_connections_per_ip: 1 }\n");
    let from = |last: u8| [format!("PROXY TCP4 192.0.2.{last} 10.0.0.1 4096 80\r\n").as_bytes(), REQUEST].concat();
    let mut clients: Vec<_> = (1..4).map(|last| (evenkeel.client(), from(last))).collect();
    for (client, request) in &mut clients {
        assert_eq!(client.send(request).read().status, 200);
    }
    let response = evenkeel.client().send(from(2)).read();
    assert_eq!((response.status, response.reason()), (503, "too_many_connections_per_ip"));
}
