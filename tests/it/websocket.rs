//! What WebSocket's own client and server say to each other arrives as it was said. `bench/autobahn` asks for much more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{self, Error, Message, Utf8Bytes, WebSocket};

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, LIMIT, Origin, Then};
use crate::upgrade::UPGRADE;

/// A backend that gives back every message, and says goodbye by the protocol's rules.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for wire in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || tungstenite::accept(wire).ok().map(give_back));
        }
    });
    address
}

fn give_back(mut socket: WebSocket<TcpStream>) {
    loop {
        let said = match socket.read() {
            Ok(Message::Text(text)) if text == "ping me" => socket.send(Message::Ping("are you there?".into())),
            Ok(Message::Text(text)) if text == "leave" => socket.close(Some(goodbye(4001, "I was told to"))),
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message),
            Ok(_) => socket.flush(),
            Err(Error::Protocol(_)) => socket.close(Some(goodbye(1002, "that was no frame"))),
            Err(_) => return,
        };
        if said.is_err() {
            return;
        }
    }
}

fn goodbye(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from_static(reason) }
}

/// A client, through Evenkeel.
fn connect(evenkeel: &Evenkeel) -> WebSocket<TcpStream> {
    let wire = TcpStream::connect(evenkeel.http()).unwrap();
    wire.set_read_timeout(Some(LIMIT)).unwrap();
    wire.set_nodelay(true).unwrap();
    let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
    let url = format!("ws://{}/ws", evenkeel.http());
    tungstenite::client::client_with_config(url, wire, Some(config)).unwrap().0
}

fn before_echo() -> (Evenkeel, WebSocket<TcpStream>) {
    let evenkeel = Evenkeel::start(&pool(&[echo()], ""));
    let socket = connect(&evenkeel);
    (evenkeel, socket)
}

#[test]
fn messages_of_every_size_come_back() {
    let (_evenkeel, mut socket) = before_echo();
    for size in [0, 1, 125, 126, 65_535, 65_536, 16 * 1024 * 1024] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        socket.send(Message::from(bytes.clone())).unwrap();
        assert!(socket.read().unwrap() == Message::from(bytes), "{size} bytes");
    }
    let text = "κόσμε \u{10ffff} \0 ".repeat(1000);
    socket.send(Message::from(text.clone())).unwrap();
    assert!(socket.read().unwrap() == Message::from(text));
}

#[test]
fn pings_and_pongs_pass_both_ways() {
    let (_evenkeel, mut socket) = before_echo();
    for payload in [vec![], vec![0xfe; 125]] {
        socket.send(Message::Ping(payload.clone().into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong(payload.into()));
    }
    socket.send(Message::from("ping me")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Ping("are you there?".into()));
}

#[test]
fn who_closes_says_why_and_is_answered() {
    let (evenkeel, mut socket) = before_echo();
    socket.close(Some(goodbye(4000, "enough"))).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(goodbye(4000, "enough"))));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    let mut socket = connect(&evenkeel);
    socket.send(Message::from("leave")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(goodbye(4001, "I was told to"))));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
}

/// Frames are between the two ends: what is wrong with one is for the backend to say.
#[test]
fn a_frame_that_is_none_is_judged_by_the_backend() {
    let (_evenkeel, mut socket) = before_echo();
    // A reserved opcode, masked, with nothing in it.
    socket.get_mut().write_all(&[0x83, 0x80, 1, 2, 3, 4]).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(goodbye(1002, "that was no frame"))));
}

#[test]
fn what_is_agreed_upon_is_agreed_upon_with_the_backend() {
    let origin = Origin::new(|exchange| {
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Protocol: chat.v2\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n",
        )?;
        Ok(Then::Close)
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let asked = UPGRADE.replace(
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat.v1, chat.v2\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-own\r\nOrigin: http://page.test\r\n",
    );
    let response = evenkeel.client().send(asked).read();
    assert_eq!(response.header("sec-websocket-protocol"), Some("chat.v2"));
    let agreed = "permessage-deflate; server_no_context_takeover";
    assert_eq!(response.header("sec-websocket-extensions"), Some(agreed));
    let head = origin.last().head;
    assert_eq!(head.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(head.header("sec-websocket-version"), Some("13"));
    assert_eq!(head.header("sec-websocket-protocol"), Some("chat.v1, chat.v2"));
    assert_eq!(head.header("sec-websocket-extensions"), Some("permessage-deflate; client_max_window_bits, x-own"));
    assert_eq!(head.header("origin"), Some("http://page.test"));
}

/// Known: pingora ends a tunnel when either side ends, as nginx does. By WebSocket's rules a close frame comes first, and its
/// answer. Nothing of what was said before is lost.
#[test]
fn who_closes_half_of_the_connection_is_heard_and_closes_it() {
    let (heard, said) = std::sync::mpsc::channel();
    let origin = Origin::new(move |exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        let mut all = Vec::new();
        exchange.wire.read_to_end(&mut all)?;
        heard.send(all).map_err(std::io::Error::other)?;
        Ok(Then::Close)
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    assert_eq!(client.send(UPGRADE).read().status, 101);
    client.send("the last word").finish();
    assert_eq!(said.recv_timeout(LIMIT).unwrap(), b"the last word");
    assert!(client.closed());
}

/// It was cut off when as much had passed as a body may have.
#[test]
fn a_conversation_is_no_body_and_has_no_limit() {
    let evenkeel = Evenkeel::start(&format!("limits: {{ max_body_size: 1KiB }}\n{}", pool(&[echo()], "")));
    let mut socket = connect(&evenkeel);
    for _ in 0..10 {
        let message = Message::Text("x".repeat(500).into());
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
}
