//! Sticky sessions: a cookie that names a client's backend.
//!
//! The value of the cookie is a keyed digest (HMAC-SHA256, RFC 2104) of pool and address. So it tells nothing of the
//! address, nobody without the secret can make one, and balancers with the same secret honour each other's. It is looked up
//! in a table that is made when the backends change; a request costs no cryptography.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ahash::RandomState;
use arc_swap::ArcSwap;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use pingora_core::protocols::l4::socket::SocketAddr;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::backend::{BackendState, Lease, Roster, Snapshot};

/// Bytes of the digest in a cookie: 128 bits are not guessed.
const DIGEST: usize = 16;
/// The same in base64.
const LENGTH: usize = 22;

type Token = [u8; LENGTH];

/// What cookies are signed with.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// A secret of one's own, best of 32 random bytes or more.
    pub fn new(secret: &[u8]) -> Self {
        Secret(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A random one, the same as long as the process lives: cookies outlive a reload. A successor has the same.
    pub fn of_process() -> Self {
        Secret::new(bytes_of_process())
    }

    fn token(&self, pool: &str, backend: &str) -> Token {
        let mut context = hmac::Context::with_key(&self.0);
        // Neither may contain a NUL, so that no two pairs look alike.
        for part in [pool, "\0", backend] {
            context.update(part.as_bytes());
        }
        let mut token = [0; LENGTH];
        let tag = context.sign();
        let digest = tag.as_ref().get(..DIGEST).unwrap_or_default();
        // The lengths fit: 16 bytes are 22 digits.
        let _ = BASE64_URL_SAFE_NO_PAD.encode_slice(digest, &mut token);
        token
    }
}

static OF_PROCESS: OnceLock<[u8; 32]> = OnceLock::new();

/// What [`Secret::of_process`] is made of.
pub(crate) fn bytes_of_process() -> &'static [u8; 32] {
    OF_PROCESS.get_or_init(|| {
        let mut bytes = [0; 32];
        if SystemRandom::new().fill(&mut bytes).is_err() {
            // TLS could not work without the system's randomness either; bits of another kind are better than an end.
            bytes.fill_with(|| fastrand::u8(..));
        }
        bytes
    })
}

/// Go on with what a predecessor's was made of. Only the first word counts, so say it before any pool is built.
pub(crate) fn go_on_with(bytes: [u8; 32]) {
    let _ = OF_PROCESS.set(bytes);
}

/// How a pool keeps clients on their backends.
pub struct Stickiness {
    cookie: String,
    ttl: Option<Duration>,
    tokens: Arc<ArcSwap<Tokens>>,
}

#[derive(Default)]
struct Tokens {
    backends: HashMap<Token, Arc<BackendState>, RandomState>,
    of: HashMap<SocketAddr, Token, RandomState>,
}

impl Stickiness {
    /// Stickiness by a cookie of this name for the backends of a roster; `pool` is part of what is signed.
    pub fn new(cookie: &str, ttl: Option<Duration>, secret: Secret, pool: &str, roster: &Roster) -> Arc<Self> {
        let tokens = Arc::new(ArcSwap::<Tokens>::default());
        let (weak, pool) = (Arc::downgrade(&tokens), pool.to_owned());
        roster.subscribe(move |snapshot| {
            if let Some(tokens) = weak.upgrade() {
                let next = tokens.load().next(snapshot, &secret, &pool);
                tokens.store(Arc::new(next));
            }
        });
        Arc::new(Stickiness { cookie: cookie.to_owned(), ttl, tokens })
    }

    /// The name of the cookie.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Whether a cookie's value names one of our backends.
    pub fn names_a_backend(&self, value: &[u8]) -> bool {
        value.try_into().is_ok_and(|token: &Token| self.tokens.load().backends.contains_key(token))
    }

    /// The backend that a cookie's value names, if it is one of ours.
    pub(super) fn find(&self, value: &[u8]) -> Option<Arc<BackendState>> {
        let token: &Token = value.try_into().ok()?;
        self.tokens.load().backends.get(token).cloned()
    }

    /// The `Set-Cookie` that a response needs which came from this lease's backend: none if the client's cookie names it, or
    /// names one that only had no room this time. `secure` keeps the cookie to TLS.
    pub fn set_cookie(
        &self,
        lease: &Lease,
        presented: Option<&[u8]>,
        tried: &[SocketAddr],
        secure: bool,
    ) -> Option<String> {
        let backend = lease.backend();
        let bound = presented.and_then(|value| self.find(value));
        let stays = |bound: &Arc<BackendState>| {
            Arc::ptr_eq(bound, backend) || bound.eligible() && !tried.contains(bound.address())
        };
        if bound.as_ref().is_some_and(stays) {
            return None;
        }
        let tokens = self.tokens.load();
        let token = std::str::from_utf8(tokens.of.get(backend.address())?).ok()?;
        let age = self.ttl.map(|ttl| format!("; Max-Age={}", ttl.as_secs().max(1))).unwrap_or_default();
        let secure = if secure { "; Secure" } else { "" };
        Some(format!("{}={token}; Path=/{age}; HttpOnly; SameSite=Lax{secure}", self.cookie))
    }
}

impl Tokens {
    /// The tokens of a later snapshot; a backend's is made once.
    fn next(&self, snapshot: &Snapshot, secret: &Secret, pool: &str) -> Self {
        let mut next = Tokens::default();
        for member in snapshot.members() {
            let address = &member.backend.addr;
            let token = self.of.get(address).copied();
            let token = token.unwrap_or_else(|| secret.token(pool, member.state.label()));
            next.of.insert(address.clone(), token);
            next.backends.insert(token, Arc::clone(&member.state));
        }
        next
    }
}

impl fmt::Debug for Stickiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sticky by cookie {}", self.cookie)
    }
}

#[cfg(test)]
mod tests {
    use pingora_load_balancing::Backend;

    use super::*;
    use crate::backend::Policy;

    fn roster() -> Arc<Roster> {
        let roster = Roster::new(Policy::default());
        roster.set_members(&["10.0.0.1:80", "10.0.0.2:80"].map(|address| Backend::new(address).unwrap()));
        roster
    }

    fn value(set_cookie: &str) -> &str {
        set_cookie.split_once(';').unwrap().0.split_once('=').unwrap().1
    }

    #[test]
    fn names_a_backend_without_its_address_and_holds_for_whoever_has_the_secret() {
        let (ours, theirs) = (roster(), roster());
        let secret = Secret::new(&[7; 32]);
        let here = Stickiness::new("lb", Some(Duration::from_secs(3600)), secret.clone(), "web", &ours);
        let there = Stickiness::new("lb", None, secret, "web", &theirs);
        let lease = Lease::begin(Arc::clone(&ours.load().members()[1].state)).unwrap();
        let set = here.set_cookie(&lease, None, &[], true).unwrap();
        assert_eq!(set, "lb=7yj47gziUPqd2AcM5dOTEA; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(there.find(value(&set).as_bytes()).unwrap().label(), "10.0.0.2:80");
        assert_eq!(here.set_cookie(&lease, Some(value(&set).as_bytes()), &[], true), None);

        let stranger = Stickiness::new("lb", None, Secret::new(&[8; 32]), "web", &ours);
        assert!(stranger.find(value(&set).as_bytes()).is_none(), "another secret");
        let elsewhere = Stickiness::new("lb", None, Secret::new(&[7; 32]), "api", &ours);
        assert!(elsewhere.find(value(&set).as_bytes()).is_none(), "another pool");
    }

    #[test]
    fn what_is_no_cookie_of_ours_is_nobody() {
        let sticky = Stickiness::new("lb", None, Secret::of_process(), "web", &roster());
        for value in [&b""[..], b"10.0.0.1:80", b"7yj47gziUPqd2AcM5dOTEA", &[0xff; 22], &[b'a'; 4096]] {
            assert!(sticky.find(value).is_none());
        }
    }
}
