//! A socket that listens and drops everybody who wants to connect, without a firewall or any privilege.
//!
//! The kernel completes connections by itself and keeps them for who accepts. Once it keeps one more than the backlog, it
//! drops the first packet of every other, which its sender repeats after 1, 2, 4 seconds: like a machine that is gone.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// On loopback a connection that the kernel completes is there before `connect` returns. One that is not by then was dropped.
const DROPPED: Duration = Duration::from_millis(100);
/// As many as Tokio asks for.
const BACKLOG: i32 = 1024;

/// Takes the room that is left. Whoever calls must not accept, and nobody can connect as long as the streams are kept.
pub(crate) async fn deafen(listener: &TcpListener) -> io::Result<Vec<TcpStream>> {
    SockRef::from(listener).listen(0)?;
    let address = listener.local_addr()?;
    let mut kept = Vec::new();
    while let Ok(stream) = timeout(DROPPED, TcpStream::connect(address)).await {
        kept.push(stream?);
    }
    Ok(kept)
}

pub(crate) fn hear_again(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).listen(BACKLOG)
}
