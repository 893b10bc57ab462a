//! Who has shown the right password a moment ago, so that not each request pays for a hash that is slow on purpose.
//!
//! What is kept is a keyed digest of name, hash and password, by a key that was drawn for this filter: no password, nothing that
//! could be told from outside, and nothing that outlives a change of the hash.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ring::hmac::{self, Context, HMAC_SHA256, Key};
use ring::rand::SystemRandom;

/// About 1 MiB.
const MOST: usize = 10_000;

/// What a right password is known by.
pub(super) type Mark = [u8; 32];

/// Marks, and until when they are good.
pub(super) struct Memory {
    key: Key,
    keeps: Duration,
    known: Mutex<HashMap<Mark, Instant>>,
}

impl Memory {
    /// # Errors
    /// That the system has no random numbers.
    pub(super) fn new(keeps: Duration) -> Result<Self, String> {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| "the system gives no random numbers".to_owned())?;
        Ok(Memory { key, keeps, known: Mutex::default() })
    }

    pub(super) fn mark(&self, name: &str, hash: &str, password: &[u8]) -> Mark {
        let mut context = Context::with_key(&self.key);
        for part in [name.as_bytes(), hash.as_bytes(), password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag: hmac::Tag = context.sign();
        let mut mark = [0; 32];
        mark.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        mark
    }

    pub(super) fn knows(&self, mark: &Mark, now: Instant) -> bool {
        self.known.lock().get(mark).is_some_and(|until| now < *until)
    }

    pub(super) fn remember(&self, mark: Mark, now: Instant) {
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.retain(|_, until| now < *until);
        }
        if known.len() >= MOST {
            // Whoever is forgotten pays once more.
            known.clear();
        }
        known.insert(mark, now + self.keeps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_in_time_and_never_grows_beyond_its_bound() {
        let memory = Memory::new(Duration::from_secs(60)).unwrap();
        let began = Instant::now();
        let mark = memory.mark("alice", "hash", b"secret");
        assert!(!memory.knows(&mark, began));
        memory.remember(mark, began);
        assert!(memory.knows(&mark, began + Duration::from_secs(59)));
        assert!(!memory.knows(&mark, began + Duration::from_secs(60)));
        for number in 0..3 * MOST {
            memory.remember(memory.mark("bob", "hash", &number.to_be_bytes()), began);
        }
        assert!(memory.known.lock().len() <= MOST);
    }

    #[test]
    fn a_mark_is_of_one_name_hash_password_and_filter() {
        let memory = Memory::new(Duration::from_secs(60)).unwrap();
        let mark = memory.mark("a", "bc", b"d");
        assert_eq!(mark, memory.mark("a", "bc", b"d"));
        for other in [memory.mark("ab", "c", b"d"), memory.mark("a", "b", b"cd"), memory.mark("a", "bc", b"e")] {
            assert_ne!(mark, other);
        }
        assert_ne!(mark, Memory::new(Duration::from_secs(60)).unwrap().mark("a", "bc", b"d"));
    }
}
