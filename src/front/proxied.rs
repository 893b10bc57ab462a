//! The PROXY protocol, versions 1 and 2: who has connected to the proxy in front of us.
//!
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>

use std::io;
use std::net::{IpAddr, SocketAddr};

use pingora_core::protocols::l4::{self, socket};
use pingora_core::protocols::{GetSocketDigest, SocketDigest, Stream, UniqueID};
use ppp::{HeaderResult, v1, v2};
use tokio::io::AsyncReadExt;

/// With what a header of version 2 begins, and how much of it says how long it is.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const PREAMBLE: usize = 16;
/// The longest of version 1, by the specification; and of version 2 the longest that is read: the addresses, and what a cloud's
/// balancer tells beside them.
const LONGEST_TEXT: usize = 107;
const LONGEST: usize = 4096;

/// What a header says of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// It connected from the first address to the second.
    At(SocketAddr, SocketAddr),
    /// The proxy itself has connected, to see whether we are well; or it does not know.
    Itself,
}

/// How long the header is with which these bytes begin, or `None` if more is needed to know.
fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let refused = || Err(io::ErrorKind::InvalidData.into());
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, wanted)| byte == wanted);
    if begins(b"PROXY ") {
        let end = bytes.iter().take(LONGEST_TEXT).position(|byte| *byte == b'\n');
        return if end.is_none() && bytes.len() >= LONGEST_TEXT { refused() } else { Ok(end.map(|end| end + 1)) };
    }
    match bytes {
        _ if !begins(SIGNATURE) => refused(),
        [.., _] if bytes.len() < PREAMBLE => Ok(None),
        [.., _] => {
            let length =
                bytes.get(14..PREAMBLE).unwrap_or_default().iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
            if PREAMBLE + length > LONGEST { refused() } else { Ok(Some(PREAMBLE + length)) }
        }
        [] => Ok(None),
    }
}

/// What has come: a header and its length, or `None` if it has not come whole.
///
/// # Errors
/// That it is none.
pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<(Client, usize)>> {
    let Some(header) = length(bytes)?.and_then(|length| bytes.get(..length)) else { return Ok(None) };
    let (result, length) = (HeaderResult::parse(header), header.len());
    let at = |from: IpAddr, from_port, to: IpAddr, to_port| {
        Client::At(SocketAddr::new(from.to_canonical(), from_port), SocketAddr::new(to.to_canonical(), to_port))
    };
    match result {
        HeaderResult::V1(Ok(header)) => {
            let client = match header.addresses {
                v1::Addresses::Tcp4(a) => {
                    at(a.source_address.into(), a.source_port, a.destination_address.into(), a.destination_port)
                }
                v1::Addresses::Tcp6(a) => {
                    at(a.source_address.into(), a.source_port, a.destination_address.into(), a.destination_port)
                }
                v1::Addresses::Unknown => Client::Itself,
            };
            Ok(Some((client, length)))
        }
        HeaderResult::V2(Ok(header)) => {
            let client = match (header.command, header.addresses) {
                (v2::Command::Local, _) => Client::Itself,
                (_, v2::Addresses::IPv4(a)) => {
                    at(a.source_address.into(), a.source_port, a.destination_address.into(), a.destination_port)
                }
                (_, v2::Addresses::IPv6(a)) => {
                    at(a.source_address.into(), a.source_port, a.destination_address.into(), a.destination_port)
                }
                _ => Client::Itself,
            };
            Ok(Some((client, length)))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Read the header with which a connection begins, and have the connection be the client's.
///
/// # Errors
/// That it begins with something else, or ends before.
pub(super) async fn read(stream: Stream) -> io::Result<Stream> {
    let mut stream: Box<l4::stream::Stream> =
        stream.into_any().downcast().map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
    let (mut header, mut piece) = (Vec::new(), [0; 512]);
    let (client, length) = loop {
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        header.extend_from_slice(piece.get(..read).unwrap_or_default());
        if let Some(found) = parse(&header)? {
            break found;
        }
    };
    stream.rewind(header.get(length..).unwrap_or_default());
    if let Client::At(from, to) = client {
        let digest = SocketDigest::from_raw_fd(stream.id());
        // Both are empty yet.
        let _ = digest.peer_addr.set(Some(socket::SocketAddr::Inet(from)));
        let _ = digest.local_addr.set(Some(socket::SocketAddr::Inet(to)));
        stream.set_socket_digest(digest);
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(from: &str, to: &str) -> Client {
        Client::At(from.parse().unwrap(), to.parse().unwrap())
    }

    #[test]
    fn both_versions_say_who_the_client_is() {
        let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
        v2.extend([192, 0, 2, 1, 10, 0, 0, 1, 0x10, 0x00, 0, 80, 0x04, 0, 0]);
        let mut local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".to_vec();
        let mut v6 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
        v6.extend([[0x20, 0x01].as_slice(), &[0; 13], &[7], &[0; 15], &[1], &[0, 9, 1, 0xbb]].concat());
        for (header, client) in [
            (&b"PROXY TCP4 192.0.2.1 10.0.0.1 4096 80\r\n"[..], at("192.0.2.1:4096", "10.0.0.1:80")),
            (b"PROXY TCP6 2001:db8::1 ::1 4096 443\r\n", at("[2001:db8::1]:4096", "[::1]:443")),
            (b"PROXY UNKNOWN\r\n", Client::Itself),
            (&v2, at("192.0.2.1:4096", "10.0.0.1:80")),
            (&v6, at("[2001::7]:9", "[::1]:443")),
            (&local, Client::Itself),
        ] {
            let bytes = [header, b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&bytes).unwrap(), Some((client, header.len())), "{}", header.escape_ascii());
            for piece in 1..header.len() {
                assert_eq!(parse(&header[..piece]).unwrap(), None, "{}", header[..piece].escape_ascii());
            }
        }
        local[12] = 0x31;
        assert!(parse(&local).is_err(), "no such version");
    }

    #[test]
    fn anything_else_is_refused_and_nothing_is_waited_for_without_end() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4096\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4096 80 1\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 4096 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4096 70000\r\n",
            b"\x16\x03\x01",
        ] {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(parse(&[&b"PROXY TCP4 "[..], &[b'1'; 5000]].concat()).is_err());
        let mut endless = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
        endless.resize(5000, 0);
        assert!(parse(&endless).is_err());
    }
}
