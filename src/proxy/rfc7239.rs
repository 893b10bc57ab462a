//! The `Forwarded` header of RFC 7239: read to find the client, and written for backends. Strict: a line that is not wholly right
//! says nothing at all.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

/// Who is named in a line's elements, in order; `None` for one that has no address, like `unknown`, `_hidden` or no `for` at all.
/// `None` altogether if the line is not what the RFC says.
pub(crate) fn clients(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut clients = Vec::new();
    let mut rest = line.trim_matches([' ', '\t']);
    loop {
        let mut client = None;
        let mut seen_for = false;
        loop {
            let (name, value, after) = pair(rest)?;
            if name.eq_ignore_ascii_case("for") {
                if std::mem::replace(&mut seen_for, true) {
                    return None;
                }
                client = node(&value)?;
            }
            rest = after;
            match rest.strip_prefix(';') {
                Some(after) => rest = after,
                None => break,
            }
        }
        clients.push(client);
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Some(clients);
        }
        rest = rest.strip_prefix(',')?.trim_start_matches([' ', '\t']);
    }
}

/// `name=value` at the beginning, and what is behind it.
fn pair(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.split_once('=')?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    if let Some(quoted) = rest.strip_prefix('"') {
        let (value, after) = unquote(quoted)?;
        return Some((name, value, after));
    }
    let end = rest.bytes().position(|byte| !is_token(byte)).unwrap_or(rest.len());
    let (value, after) = rest.split_at_checked(end)?;
    (!value.is_empty()).then(|| (name, value.to_owned(), after))
}

/// A quoted string without its first quote, and what is behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            c if c.is_control() && c != '\t' => return None,
            c => value.push(c),
        }
    }
    None
}

/// A node: an address with a port or without, `unknown`, or a name of its own that begins with `_`.
fn node(text: &str) -> Option<Option<IpAddr>> {
    let (name, port) = match text.strip_prefix('[') {
        Some(literal) => {
            let (address, rest) = literal.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            return is_port(rest).then(|| Some(IpAddr::V6(address).to_canonical()));
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if !is_port(port) {
        return None;
    }
    match name {
        "unknown" => Some(None),
        _ if is_obfuscated(name) => Some(None),
        _ => name.parse().ok().map(|address| Some(IpAddr::V4(address))),
    }
}

/// Nothing, or a colon with a number or a name.
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    is_obfuscated(port) || matches!(port.len(), 1..=5) && port.bytes().all(|digit| digit.is_ascii_digit())
}

fn is_obfuscated(text: &str) -> bool {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.strip_prefix('_').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(in_name))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// One element: who is at the other end of the connection, and what was asked for.
pub(crate) fn element(peer: Option<IpAddr>, host: Option<&str>, proto: &str) -> String {
    let mut element = String::with_capacity(64);
    // Writing to a string does not fail.
    let _ = match peer {
        Some(IpAddr::V4(address)) => write!(element, "for={address}"),
        Some(IpAddr::V6(address)) => write!(element, "for=\"[{address}]\""),
        None => write!(element, "for=unknown"),
    };
    if let Some(host) = host {
        element.push_str(";host=");
        value(&mut element, host);
    }
    element.push_str(";proto=");
    element.push_str(proto);
    element
}

/// A value, in quotes where it needs them.
fn value(out: &mut String, text: &str) {
    if !text.is_empty() && text.bytes().all(is_token) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_named() {
        let four = |text: &str| Some(text.parse().unwrap());
        for (line, named) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", vec![four("192.0.2.60")]),
            ("for=192.0.2.43, for=198.51.100.17", vec![four("192.0.2.43"), four("198.51.100.17")]),
            ("For=\"[2001:db8:cafe::17]:4711\"", vec![four("2001:db8:cafe::17")]),
            ("for=\"[::ffff:192.0.2.1]\"", vec![four("192.0.2.1")]),
            ("for=\"192.0.2.43:47011\"", vec![four("192.0.2.43")]),
            ("for=\"1.2.3.4\\:80\"", vec![four("1.2.3.4")]),
            ("for=unknown", vec![None]),
            ("for=\"_gazonk\"", vec![None]),
            ("for=_hidden, for=_SEVKISEK", vec![None, None]),
            ("proto=https", vec![None]),
            ("host=\"a,b;for=1.1.1.1\";for=2.2.2.2", vec![four("2.2.2.2")]),
            (" for=1.1.1.1 ,\tfor=2.2.2.2 ", vec![four("1.1.1.1"), four("2.2.2.2")]),
        ] {
            assert_eq!(clients(line), Some(named), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_not_wholly_right_says_nothing() {
        for line in [
            "",
            ",",
            "for",
            "for=",
            "=1.1.1.1",
            "for=1.1.1.1;",
            "for=1.1.1.1,",
            "for = 1.1.1.1",
            "for=1.1.1.1; proto=http",
            "for=1.1.1.1;for=2.2.2.2",
            "for=[2001:db8::1]",
            "for=2001:db8::1",
            "for=\"2001:db8::1\"",
            "for=\"[2001:db8::1\"",
            "for=\"[2001:db8::1]x\"",
            "for=\"1.1.1.1",
            "for=\"1.1.1.1\\",
            "for=1.1.1.1:80",
            "for=\"1.1.1.1:\"",
            "for=\"1.1.1.1:800000\"",
            "for=1.1.1",
            "for=_",
            "for=example.com",
            "1.1.1.1",
        ] {
            assert_eq!(clients(line), None, "{line}");
        }
    }

    #[test]
    fn an_element_reads_as_what_it_was_written_from() {
        for (peer, host, written) in [
            ("192.0.2.1", Some("example.com"), "for=192.0.2.1;host=example.com;proto=http"),
            ("192.0.2.1", Some("a:8080"), "for=192.0.2.1;host=\"a:8080\";proto=http"),
            ("2001:db8::1", Some("[::1]:80"), "for=\"[2001:db8::1]\";host=\"[::1]:80\";proto=http"),
            ("192.0.2.1", None, "for=192.0.2.1;proto=http"),
        ] {
            let peer = peer.parse().unwrap();
            assert_eq!(element(Some(peer), host, "http"), written);
            assert_eq!(clients(written), Some(vec![Some(peer)]));
        }
        assert_eq!(element(None, None, "https"), "for=unknown;proto=https");
        assert_eq!(element(None, Some("a\"b\\"), "http"), "for=unknown;host=\"a\\\"b\\\\\";proto=http");
    }
}
