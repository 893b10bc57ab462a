//! WebSockets that stay open and number their messages: each has to come back once, and in order.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest, error::ProtocolError};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::request::connect;
use crate::{Shared, kind};

/// After a failure, so that a balancer that is gone is not asked without end.
const PAUSE: Duration = Duration::from_secs(1);
/// Of so many one is closed by its client after about so many messages, and opened anew: as in life, some come and go.
const ONE_IN: usize = 10;
const MESSAGES: u64 = 30;

type Socket = WebSocketStream<TcpStream>;

/// Keeps one WebSocket open until it is time to stop.
pub(crate) async fn live(shared: Shared, number: usize) {
    let mut random = fastrand::Rng::with_seed(shared.options.seed.wrapping_add(number as u64));
    sleep(shared.options.message_every.mul_f64(random.f64())).await;
    loop {
        let opened = Instant::now();
        let most = if number.is_multiple_of(ONE_IN) { random.u64(MESSAGES / 2..MESSAGES * 2) } else { u64::MAX };
        match open(&shared).await {
            Ok(mut socket) => match talk(&shared, &mut socket, most, opened).await {
                Ok(()) => close(&shared, socket, opened).await,
                Err(kind) => shared.ledger.cut("WebSocket", &kind, opened),
            },
            Err(kind) => shared.ledger.cut("WebSocket", &kind, opened),
        }
        if *shared.stop.borrow() {
            return;
        }
        sleep(PAUSE.mul_f64(random.f64())).await;
    }
}

async fn open(shared: &Shared) -> Result<Socket, String> {
    let stream = connect(shared.options.http, Instant::now() + shared.options.timeout).await?;
    let request = "ws://endurance.test/ws".into_client_request().map_err(|error| error.to_string())?;
    let opening = timeout(shared.options.timeout, client_async(request, stream)).await;
    let (socket, _) =
        opening.map_err(|_| "not opened: timeout")?.map_err(|error| format!("not opened: {}", word(error)))?;
    shared.ledger.count("WebSockets opened", 1);
    Ok(socket)
}

/// Sends and receives until it has sent so many, or it is time to stop. An error is an end that we did not want.
async fn talk(shared: &Shared, socket: &mut Socket, most: u64, opened: Instant) -> Result<(), String> {
    let mut echoes = Echoes::default();
    let ended = exchange(shared, socket, most, opened, &mut echoes).await;
    // One that never was of any use has another cause than one that was cut.
    ended.map_err(|kind| if echoes.after == 0 { kind + ", before the first echo" } else { kind })
}

async fn exchange(
    shared: &Shared,
    socket: &mut Socket,
    most: u64,
    opened: Instant,
    echoes: &mut Echoes,
) -> Result<(), String> {
    let mut due = interval(shared.options.message_every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while echoes.sent < most {
        tokio::select! {
            now = due.tick() => {
                for kind in echoes.overdue(now, shared.options.timeout) {
                    shared.ledger.cut("WebSocket", kind, opened);
                }
                socket.send(Message::text(echoes.next(now).to_string())).await.map_err(word)?;
            }
            message = socket.next() => match message.ok_or("closed")?.map_err(word)? {
                Message::Text(text) => match echoes.came(&text) {
                    None => shared.ledger.count("WebSocket echoes", 1),
                    Some(kind) => shared.ledger.cut("WebSocket", kind, opened),
                },
                Message::Close(Some(why)) => return Err(format!("closed with {}", u16::from(why.code))),
                Message::Close(None) => return Err("closed with no code".to_owned()),
                _ => {}
            },
            () = shared.stopped() => return Ok(()),
        }
    }
    Ok(())
}

/// Says that it is over, and waits until the other side has said so, too; echoes may still come before that.
async fn close(shared: &Shared, mut socket: Socket, opened: Instant) {
    let closing = async {
        socket.send(Message::Close(None)).await?;
        while let Some(message) = socket.next().await {
            if message?.is_close() {
                break;
            }
        }
        Ok(())
    };
    match timeout(shared.options.timeout, closing).await {
        Ok(Ok(()) | Err(Error::ConnectionClosed)) => shared.ledger.count("WebSockets closed by us", 1),
        Ok(Err(error)) => shared.ledger.cut("WebSocket", &format!("while we closed: {}", word(error)), opened),
        Err(_) => shared.ledger.cut("WebSocket", "our close is not answered", opened),
    }
}

fn word(error: Error) -> String {
    match error {
        Error::Io(error) => kind::of_io(&error).to_owned(),
        Error::Http(response) => format!("status {}", response.status().as_u16()),
        Error::ConnectionClosed | Error::AlreadyClosed => "closed".to_owned(),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => "cut, without a close frame".to_owned(),
        error => format!("{error}"),
    }
}

/// Which messages are expected back.
#[derive(Default)]
struct Echoes {
    sent: u64,
    awaited: BTreeMap<u64, Instant>,
    /// The last one that came in order, and one.
    after: u64,
}

impl Echoes {
    fn next(&mut self, now: Instant) -> u64 {
        let number = self.sent;
        self.awaited.insert(number, now);
        self.sent += 1;
        number
    }

    /// What is wrong with a message that came, if anything.
    fn came(&mut self, text: &str) -> Option<&'static str> {
        let Ok(number) = text.parse() else { return Some("wrong echo") };
        match self.awaited.remove(&number) {
            Some(_) if number >= self.after => {
                self.after = number + 1;
                None
            }
            Some(_) => Some("echo out of order"),
            None if number < self.sent => Some("echo doubled"),
            None => Some("wrong echo"),
        }
    }

    fn overdue(&mut self, now: Instant, limit: Duration) -> impl Iterator<Item = &'static str> + use<> {
        let before = self.awaited.len();
        self.awaited.retain(|_, at| now - *at < limit);
        std::iter::repeat_n("echo lost", before - self.awaited.len())
    }
}
