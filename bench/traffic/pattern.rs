//! Bytes that tell where they belong: each eight are their own number. So what is lost, doubled or swapped is noticed.

/// The bytes from this offset on.
pub(crate) fn bytes(offset: u64, count: usize) -> Vec<u8> {
    (offset..).take(count).map(byte).collect()
}

/// Whether these are the bytes from this offset on.
#[allow(dead_code, reason = "the mirror sends them alone")]
pub(crate) fn matches(offset: u64, found: &[u8]) -> bool {
    found.iter().zip(offset..).all(|(found, place)| *found == byte(place))
}

fn byte(place: u64) -> u8 {
    (place / 8).to_le_bytes()[(place % 8) as usize]
}
