//! Which bytes may stand where (RFC 9110, 5.6.2; RFC 9112).

/// Whether a byte may stand in a method or in the name of a field.
pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = true;
        }
        byte += 1;
    }
    table
};

/// Whether these are the bytes of a method or of a name: at least one.
pub(super) fn are_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token(*byte))
}

/// Whether a byte may stand in the value of a field: what can be seen, blanks, and what is not ASCII.
pub(super) const fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
}

/// Whether all bytes may. Without a way out in the middle, so that many are looked at in one step.
pub(super) fn are_text(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |fine, byte| fine & is_text(*byte))
}

/// What stands between the blanks around a value.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
