//! Session tickets: what a client of before comes back with is all that is known of its session, so nothing is stored, and
//! nothing is lost with more clients, or with an upgrade.
//!
//! All listeners of a process have one set of keys, which outlives reloads and goes to the successor. A ticket is bound to what
//! its listener asks of clients, so that who was let in at one door is not let in at another by having been.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};

/// For how long a key makes tickets. So long again it takes them, and is then forgotten: who steals it cannot read what is older.
const ROTATE: u64 = 12 * 3600;

const SECRET: usize = 32;
const NAME: usize = 16;

/// One key.
#[derive(Clone, Serialize, Deserialize)]
struct Key {
    secret: [u8; SECRET],
    /// Seconds of Unix time.
    made: u64,
}

impl Key {
    fn new(now: u64) -> Option<Self> {
        let mut secret = [0; SECRET];
        SystemRandom::new().fill(&mut secret).ok()?;
        Some(Key { secret, made: now })
    }

    /// How old it is; a clock that was set back makes it new.
    fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.made)
    }
}

/// A key, ready to be used.
struct Ready {
    key: Key,
    /// Which of a ring it is, to who has none of them.
    name: [u8; NAME],
    aead: LessSafeKey,
}

impl Ready {
    fn new(key: Key) -> Option<Arc<Self>> {
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key.secret).ok()?);
        let mut name = [0; NAME];
        let whole = digest(&SHA256, &[b"evenkeel ticket key ", &key.secret[..]].concat());
        name.copy_from_slice(whole.as_ref().get(..NAME)?);
        Some(Arc::new(Ready { key, name, aead }))
    }
}

/// The keys of now, the one that makes tickets first.
#[derive(Clone, Default)]
struct Ring(Vec<Arc<Ready>>);

/// The keys that tickets are made with, of a process.
#[derive(Default)]
pub(crate) struct TicketKeys(ArcSwap<Ring>);

/// Keys on their way to a successor.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SavedKeys(Vec<Key>);

impl fmt::Debug for SavedKeys {
    /// Not what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl fmt::Debug for TicketKeys {
    /// Not what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.load().0.len())
    }
}

impl TicketKeys {
    /// What a successor is to go on with.
    pub(crate) fn save(&self) -> SavedKeys {
        // Made now if none was needed so far: clients come between this and the end of the upgrade.
        self.current(now());
        SavedKeys(self.0.load().0.iter().map(|ready| ready.key.clone()).collect())
    }

    /// Go on with another process's.
    pub(crate) fn go_on_with(&self, saved: SavedKeys) {
        self.0.store(Arc::new(Ring(saved.0.into_iter().take(2).filter_map(Ready::new).collect())));
    }

    /// The key that makes tickets.
    fn current(&self, now: u64) -> Option<Arc<Ready>> {
        let ring = self.0.load();
        match ring.0.first() {
            Some(first) if first.key.age(now) < ROTATE => return Some(Arc::clone(first)),
            _ => {}
        }
        let next = Ready::new(Key::new(now)?)?;
        let before = ring.0.first().filter(|first| first.key.age(now) < 2 * ROTATE).cloned();
        let keys = std::iter::once(next).chain(before).collect();
        // Who comes second takes what the first has made.
        self.0.compare_and_swap(&ring, Arc::new(Ring(keys)));
        self.0.load().0.first().cloned()
    }

    fn seal(&self, policy: &Policy, plain: &[u8], now: u64) -> Option<Vec<u8>> {
        let key = self.current(now)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let bound = Aad::from(policy.0);
        key.aead.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed).ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, policy: &Policy, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let ring = self.0.load();
        let key = ring.0.iter().find(|ready| ready.name == name && ready.key.age(now) < 2 * ROTATE)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key.aead.open_in_place(nonce, Aad::from(policy.0), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What a listener asks of clients, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy([u8; SHA256_OUTPUT_LEN]);

impl Policy {
    /// One that asks for this.
    pub(super) fn new(parts: &[&[u8]]) -> Self {
        let mut context = ring::digest::Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut policy = [0; SHA256_OUTPUT_LEN];
        policy.copy_from_slice(context.finish().as_ref());
        Policy(policy)
    }
}

/// Makes the tickets of one listener.
#[derive(Debug)]
pub(super) struct Tickets {
    pub(super) keys: Arc<TicketKeys>,
    pub(super) policy: Policy,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// As long as one is good for in any case.
    fn lifetime(&self) -> u32 {
        ROTATE as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.seal(&self.policy, plain, now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.keys.open(&self.policy, ticket, now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_800_000_000;

    fn policy(of: &str) -> Policy {
        Policy::new(&[of.as_bytes()])
    }

    #[test]
    fn a_ticket_is_good_for_twelve_hours_at_least_and_a_day_at_most() {
        let (keys, policy) = (TicketKeys::default(), policy("all"));
        let first = keys.seal(&policy, b"session", NOON).unwrap();
        let last = keys.seal(&policy, b"session", NOON + ROTATE - 1).unwrap();
        assert_eq!(first[..NAME], last[..NAME]);
        let next = keys.seal(&policy, b"session", NOON + ROTATE).unwrap();
        assert_ne!(next[..NAME], last[..NAME]);
        let good = |ticket: &[u8], at| keys.open(&policy, ticket, at).as_deref() == Some(b"session");
        for at in [NOON, NOON + ROTATE, NOON + 2 * ROTATE - 1] {
            assert!(good(&first, at) && good(&last, at));
        }
        assert!(!good(&first, NOON + 2 * ROTATE));
        assert!(good(&next, NOON + 2 * ROTATE));
        // A clock that is set back.
        assert!(good(&first, NOON - 1_000_000));
    }

    #[test]
    fn a_ticket_is_of_its_policy_and_of_nobody_elses_making() {
        let keys = TicketKeys::default();
        let ticket = keys.seal(&policy("one"), b"session", NOON).unwrap();
        assert!(keys.open(&policy("one"), &ticket, NOON).is_some());
        assert!(keys.open(&policy("other"), &ticket, NOON).is_none());
        for length in 0..ticket.len() {
            assert!(keys.open(&policy("one"), &ticket[..length], NOON).is_none());
            let mut broken = ticket.clone();
            broken[length] ^= 1;
            assert!(keys.open(&policy("one"), &broken, NOON).is_none());
        }
        assert_ne!(Policy::new(&[b"ab", b"c"]), Policy::new(&[b"a", b"bc"]));
    }

    #[test]
    fn a_successor_takes_the_tickets_of_before_and_of_now() {
        let (old, new, policy) = (TicketKeys::default(), TicketKeys::default(), policy("all"));
        let before = old.seal(&policy, b"before", now() - ROTATE).unwrap();
        let after = old.seal(&policy, b"after", now()).unwrap();
        let text = serde_json::to_string(&old.save()).unwrap();
        new.go_on_with(serde_json::from_str(&text).unwrap());
        assert_eq!(new.open(&policy, &before, now()).unwrap(), b"before");
        assert_eq!(new.open(&policy, &after, now()).unwrap(), b"after");
        assert_eq!(old.open(&policy, &new.seal(&policy, b"x", now()).unwrap(), now()).unwrap(), b"x");
    }

    #[test]
    fn keys_are_not_shown() {
        let keys = TicketKeys::default();
        assert_eq!(format!("{:?}", keys.save()), "1 keys");
        assert_eq!(format!("{keys:?}"), "1 keys");
    }
}
