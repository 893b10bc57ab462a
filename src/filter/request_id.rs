//! What a request is known by from end to end.

/// What a request is known by from end to end: 32 hexadecimal digits of our own, or what a trusted proxy sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// Made here.
    Own([u8; 32]),
    /// Taken over.
    Given(Box<str>),
}

impl RequestId {
    /// A new one.
    pub(crate) fn random() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bits = fastrand::u128(..);
        let mut text = [0; 32];
        for digit in &mut text {
            *digit = DIGITS[(bits & 15) as usize];
            bits >>= 4;
        }
        RequestId::Own(text)
    }

    /// As it is sent and logged.
    pub fn as_str(&self) -> &str {
        match self {
            // The digits above are ASCII; the fallback only spares a panic path.
            RequestId::Own(text) => std::str::from_utf8(text).unwrap_or_default(),
            RequestId::Given(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_32_hexadecimal_digits_and_differ() {
        let (a, b) = (RequestId::random(), RequestId::random());
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), 32);
        assert!(a.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
