//! A distinguished name as text, so that nobody can write one that reads as another's: RFC 4514, in ASCII.

use std::fmt::Write;

use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{AttributeTypeAndValue, X509Name};

/// `CN=alice,O=Example`: the last part first, as OpenSSL's `RFC2253` and nginx's `$ssl_client_s_dn`.
pub(super) fn written(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for part in name.iter_rdn().collect::<Vec<_>>().into_iter().rev() {
        for (i, attribute) in part.iter().collect::<Vec<_>>().into_iter().rev().enumerate() {
            match (text.is_empty(), i) {
                (true, _) => {}
                (false, 0) => text.push(','),
                (false, _) => text.push('+'),
            }
            write_attribute(attribute, &mut text);
        }
    }
    text
}

fn write_attribute(attribute: &AttributeTypeAndValue<'_>, text: &mut String) {
    let kind = attribute.attr_type();
    match oid2abbrev(kind, oid_registry()) {
        Ok(short) => text.push_str(short),
        Err(_) => text.push_str(&kind.to_id_string()),
    }
    text.push('=');
    match attribute.as_str() {
        Ok(value) => escape(value, text),
        Err(_) => write_bytes(attribute.attr_value().data, text),
    }
}

/// What is no text: `#` and its bytes.
fn write_bytes(value: &[u8], text: &mut String) {
    text.push('#');
    for byte in value {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
}

/// A value within a name, in ASCII: what has a meaning there, and what is no ASCII, is written as its bytes.
fn escape(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (i, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' | b'#' if i == 0 => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' if i == last => text.push_str("\\ "),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_pretend_to_be_another_part() {
        let escaped = |value| {
            let mut text = String::new();
            escape(value, &mut text);
            text
        };
        assert_eq!(escaped("alice"), "alice");
        assert_eq!(escaped("alice,O=Admins"), "alice\\,O\\=Admins");
        assert_eq!(escaped(" #a "), "\\ #a\\ ");
        assert_eq!(escaped("#a"), "\\#a");
        assert_eq!(escaped("é\r\nX: y"), "\\C3\\A9\\0D\\0AX: y");
        assert_eq!(escaped(""), "");
    }
}
