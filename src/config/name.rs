//! Names: of what the file itself names, and of the parts of a request that HTTP lets people name.

use super::address;
use super::reader::Value;
use super::text::quoted;

/// No name that anybody chooses is longer.
const LONGEST: usize = 100;

/// May a pool, a zone or an extension be called this? Names end up in metric labels, URLs and log fields.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(fits)
}

/// The hint for a name that is none.
pub(super) fn name_rule(name: &str) -> String {
    format!("must be named with 1 to {LONGEST} letters, digits, '_', '-' and '.', got {}", quoted(name))
}

impl<'a> Value<'a> {
    /// A name of ours; `what` says of what, for the message.
    pub(super) fn name(&self, what: &str) -> Option<&'a str> {
        let name = self.text(what)?;
        if !is_name(name) {
            self.wrong(name_rule(name));
            return None;
        }
        Some(name)
    }

    /// A token, by which HTTP names headers and cookies; `what` says of what it is the name.
    pub(super) fn token(&self, what: &str) -> Option<&'a str> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let token = self.scalar().filter(|text| (1..=LONGEST).contains(&text.len()) && text.bytes().all(fits));
        if token.is_none() {
            self.must_be(format_args!("{what}, 1 to {LONGEST} letters, digits and any of !#$%&'*+-.^_`|~"));
        }
        token
    }

    /// The name of a query parameter, as a request has it.
    pub(super) fn parameter(&self) -> Option<&'a str> {
        let fits = |b: u8| b.is_ascii_graphic() && !b"&=#".contains(&b);
        let name = self.scalar().filter(|text| (1..=LONGEST).contains(&text.len()) && text.bytes().all(fits));
        if name.is_none() {
            let form = format!("1 to {LONGEST} visible ASCII characters but '&', '=' and '#'");
            self.must_be(format_args!("the name of a query parameter as it is sent, {form}"));
        }
        name
    }

    /// A host name, with a port or without, as a `Host` header has it.
    pub(super) fn host(&self) -> Option<String> {
        let form = "a host name, as a Host header has it";
        let text = self.text(form)?;
        let name = match text.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => text,
        };
        if address::name(name).is_err() && name.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_err() {
            self.must_be(form);
            return None;
        }
        Some(text.to_owned())
    }
}
