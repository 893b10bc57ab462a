//! HAProxy's PROXY protocol, as it is sent to backends.

use std::net::SocketAddr;

use ppp::{v1, v2};

use crate::config::ProxyProtocol;

/// The two ends of a client's connection; `None` where there is none, or it is no TCP.
pub(crate) type Ends = Option<(SocketAddr, SocketAddr)>;

/// What a connection begins with; [`None`] is our own, as of a health check.
pub(crate) fn encode(version: ProxyProtocol, ends: Ends) -> Vec<u8> {
    // Two families in one header are not possible.
    let ends =
        ends.map(|(from, to)| (canonical(from), canonical(to))).filter(|(from, to)| from.is_ipv4() == to.is_ipv4());
    match version {
        ProxyProtocol::V1 => ends.map_or(v1::Addresses::Unknown, v1::Addresses::from).to_string().into_bytes(),
        ProxyProtocol::V2 => {
            let local = v2::Builder::new(v2::Version::Two | v2::Command::Local, v2::AddressFamily::Unspecified as u8);
            let of =
                |ends| v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, v2::Protocol::Stream, ends);
            // It fails only for what is too long, which no address is.
            ends.map_or(local, of).build().unwrap_or_default()
        }
    }
}

/// `::ffff:10.0.0.1` as the IPv4 address that it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(from: &str, to: &str) -> Ends {
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    #[test]
    fn a_header_names_both_ends() {
        let four = ends("192.0.2.7:4711", "10.0.0.1:443");
        assert_eq!(encode(ProxyProtocol::V1, four), b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n");
        let mapped = ends("[::ffff:192.0.2.7]:4711", "[::ffff:10.0.0.1]:443");
        assert_eq!(encode(ProxyProtocol::V1, mapped), encode(ProxyProtocol::V1, four));
        let six = ends("[2001:db8::1]:1", "[2001:db8::2]:2");
        assert_eq!(encode(ProxyProtocol::V1, six), b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
        let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        binary.extend([192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 0xbb]);
        assert_eq!(encode(ProxyProtocol::V2, four), binary);
        assert_eq!(encode(ProxyProtocol::V2, six)[12..16], [0x21, 0x21, 0, 36]);
    }

    #[test]
    fn who_is_no_client_is_said_to_be_none() {
        for nobody in [None, ends("192.0.2.7:4711", "[2001:db8::2]:2")] {
            assert_eq!(encode(ProxyProtocol::V1, nobody), b"PROXY UNKNOWN\r\n");
            assert_eq!(encode(ProxyProtocol::V2, nobody), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
        }
    }
}
