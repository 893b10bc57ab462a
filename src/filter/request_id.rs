//! What a request is known by from end to end.

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use uuid::Builder;
use uuid::fmt::Hyphenated;

/// Longer ids than that are replaced by our own: they go into every log line.
const MAX_GIVEN: usize = 128;

/// What a request is known by from end to end: 32 hexadecimal digits of our own, unless the filter `request_id` makes a UUID of it,
/// or what a trusted proxy sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// Made here.
    Own([u8; 32]),
    /// Made here, as a UUID.
    Uuid([u8; 36]),
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

    /// A new one, a UUID of version 4.
    pub(crate) fn uuid() -> Self {
        RequestId::of(Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()))
    }

    /// A new one, a UUID of version 7: those of later milliseconds are greater.
    pub(crate) fn uuid_of_now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut random = [0; 10];
        random.fill_with(|| fastrand::u8(..));
        // Milliseconds fit for ten thousand years in the 48 bits of the form.
        RequestId::of(Builder::from_unix_timestamp_millis(now.as_millis() as u64, &random))
    }

    fn of(builder: Builder) -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        builder.into_uuid().hyphenated().encode_lower(&mut text);
        RequestId::Uuid(text)
    }

    /// What a request brings along in this header, if that is fit to be one.
    pub(crate) fn given(headers: &HeaderMap, name: &str) -> Option<Self> {
        let id = headers.get(name)?.to_str().ok()?;
        let fits = (1..=MAX_GIVEN).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| RequestId::Given(id.into()))
    }

    /// As it is sent and logged.
    pub fn as_str(&self) -> &str {
        match self {
            // The digits above are ASCII; the fallback only spares a panic path.
            RequestId::Own(text) => std::str::from_utf8(text).unwrap_or_default(),
            RequestId::Uuid(text) => std::str::from_utf8(text).unwrap_or_default(),
            RequestId::Given(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn request_ids_are_32_hexadecimal_digits_and_differ() {
        let (a, b) = (RequestId::random(), RequestId::random());
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), 32);
        assert!(a.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[test]
    fn uuids_are_of_the_version_that_was_asked_for() {
        let parsed = |id: &RequestId| id.as_str().parse::<Uuid>().unwrap();
        let (a, b) = (RequestId::uuid(), RequestId::uuid());
        assert_ne!(a, b);
        assert_eq!(parsed(&a).get_version_num(), 4);
        let now = parsed(&RequestId::uuid_of_now());
        assert_eq!(now.get_version_num(), 7);
        let made = now.get_timestamp().unwrap().to_unix().0;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(seconds.abs_diff(made) <= 60);
    }

    #[test]
    fn what_is_given_is_taken_if_it_fits() {
        let given = |value: &str| {
            let headers = HeaderMap::from_iter([("x-id".parse().unwrap(), value.parse().unwrap())]);
            RequestId::given(&headers, "x-id")
        };
        assert_eq!(given("abc").unwrap().as_str(), "abc");
        assert_eq!(given(&"a".repeat(128)).unwrap().as_str().len(), 128);
        assert_eq!(given(&"a".repeat(129)), None);
        for unfit in ["", "a b", "a\tb", "é"] {
            assert_eq!(given(unfit), None, "{unfit:?}");
        }
    }
}
