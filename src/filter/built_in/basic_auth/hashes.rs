//! Hashes of passwords, in the forms that `htpasswd`, `mkpasswd` and `argon2` write. Only such as are made to be slow, and salted.

use std::str::FromStr;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use bcrypt::HashParts;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sha_crypt::ShaCrypt;

use super::apr1;

/// One more doubles the time: with 16 a check takes seconds.
const MOST_BCRYPT_COST: u32 = 16;
/// `rounds=` of SHA-crypt, by the same measure.
const MOST_ROUNDS: u32 = 10_000_000;
/// KiB of memory for each check, and how many are written in all its passes.
const MOST_ARGON2_MEMORY: u32 = 1024 * 1024;
const MOST_ARGON2_WORK: u64 = 4 * 1024 * 1024;

const FORMS: &str = "bcrypt, argon2id, SHA-crypt ($5$, $6$) or $apr1$; 'htpasswd -nB NAME' writes one";

/// A hash that a password can be checked against.
#[derive(Clone)]
pub(super) struct Hash {
    kind: Kind,
    text: Arc<str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bcrypt,
    Argon2id,
    ShaCrypt,
    Apr1,
}

impl Hash {
    /// # Errors
    /// What is wrong with it, without its text: it may be a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let kind = match text.get(..text.len().min(4)).unwrap_or_default() {
            "$2a$" | "$2b$" | "$2y$" => Kind::Bcrypt,
            "$arg" if text.starts_with("$argon2id$") => Kind::Argon2id,
            "$apr" if text.starts_with("$apr1$") => Kind::Apr1,
            start if start.starts_with("$5$") || start.starts_with("$6$") => Kind::ShaCrypt,
            _ => return Err(unknown(text)),
        };
        let hash = Hash { kind, text: text.into() };
        hash.sound().map(|()| hash)
    }

    fn sound(&self) -> Result<(), String> {
        let broken = |name: &str| Err(format!("is no {name} hash: it is cut off, or has a character too many"));
        match self.kind {
            Kind::Bcrypt => match HashParts::from_str(&self.text).map(|parts| parts.get_cost()) {
                Ok(4..=MOST_BCRYPT_COST) => Ok(()),
                Ok(cost) => Err(format!("has a bcrypt cost of {cost}, which must be 4 to {MOST_BCRYPT_COST}")),
                Err(_) => broken("bcrypt"),
            },
            Kind::Argon2id => match argon2_memory_and_work(&self.text) {
                Some((..=MOST_ARGON2_MEMORY, ..=MOST_ARGON2_WORK)) => Ok(()),
                Some((..=MOST_ARGON2_MEMORY, _)) => {
                    Err("takes seconds for each check: its passes times its memory must be 4 GiB at the most"
                        .to_owned())
                }
                Some(_) => Err("needs more than 1 GiB of memory for each check".to_owned()),
                None => broken("argon2id"),
            },
            Kind::ShaCrypt => match sha_crypt_rounds(&self.text) {
                Some(1000..=MOST_ROUNDS) => Ok(()),
                Some(_) => Err(format!("must have 1000 to {MOST_ROUNDS} rounds")),
                None => broken("SHA-crypt"),
            },
            Kind::Apr1 => apr1::parse(&self.text[6..]).map_or_else(|| broken("$apr1$"), |_| Ok(())),
        }
    }

    /// Whether it is the password's, in the same time either way. Takes as long as the hash is strong: not for a thread that
    /// serves requests.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        match self.kind {
            Kind::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::Argon2id => Argon2::default().verify_password(password, &*self.text).is_ok(),
            Kind::ShaCrypt => ShaCrypt::default().verify_password(password, &*self.text).is_ok(),
            Kind::Apr1 => {
                let Some((salt, hash)) = apr1::parse(&self.text[6..]) else { return false };
                same(&apr1::hash(password, salt.as_bytes()), hash.as_bytes())
            }
        }
    }

    /// Whether whoever steals it finds most passwords soon.
    pub(super) fn is_weak(&self) -> bool {
        self.kind == Kind::Apr1
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Hash::parse(&text).map_err(D::Error::custom)
    }
}

fn unknown(text: &str) -> String {
    let what = match text {
        "" => "is empty",
        _ if text.starts_with("{SHA}") => "is an unsalted SHA-1, which is guessed in no time",
        _ if text.starts_with("{SSHA}") => "is a SHA-1, which is guessed in no time",
        _ if text.starts_with("$1$") => "is an MD5-crypt, which nothing writes any more",
        _ if text.starts_with("$2x$") => "is a bcrypt of a broken version",
        _ if text.starts_with("$y$") || text.starts_with("$7$") => "is a yescrypt or scrypt, which is not known here",
        _ if text.starts_with("$argon2") => "is an argon2 of another kind than argon2id",
        _ => "is a plain text password, or a hash of a kind that is not known here",
    };
    format!("{what}; must be {FORMS}")
}

fn argon2_memory_and_work(text: &str) -> Option<(u32, u64)> {
    let hash = PasswordHash::new(text).ok()?;
    let complete = hash.salt.is_some() && hash.hash.is_some();
    let params = argon2::Params::try_from(&hash).ok()?;
    complete.then(|| (params.m_cost(), u64::from(params.m_cost()) * u64::from(params.t_cost())))
}

fn sha_crypt_rounds(text: &str) -> Option<u32> {
    let length = if text.starts_with("$5$") { 43 } else { 86 };
    let mut fields = text.split('$').skip(2);
    let mut next = fields.next()?;
    let mut rounds = 5000;
    if let Some(given) = next.strip_prefix("rounds=") {
        rounds = given.parse().ok()?;
        next = fields.next()?;
    }
    let hash = fields.next()?;
    let fits = (1..=16).contains(&next.len()) && hash.len() == length && fields.next().is_none();
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    (fits && hash.bytes().all(known)).then_some(rounds)
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of "correct horse", by htpasswd, openssl and argon2.
    const HASHES: [&str; 6] = [
        "$2y$05$fNoBX9BgE0x41e/qCNDDfuXTwBjpQUwgs40DJJfxj1ICBlsrRN0/.",
        "$apr1$3wTMkkAL$Mm.xPYBUH87WeXdHZ9cVj/",
        "$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/",
        "$6$rounds=1234$saltsalt$QbDRnprRbpqeeh.ZNpNyY9.CK2ITCWd3Nuo6mduIQkLdXKLbmzlHxmzS4RYX080PBgOocz2tHNsjDEzqsLQte0",
        "$6$NaClNaClNaClNaCl$f/y7ybHInkQeXSCO7ykprenYee.m68U3tNlFzqDW11iHGE7wKUr4CBOa4PF91f1k2e00TNAAvei.pZ7w0nUTM.",
        "$argon2id$v=19$m=256,t=1,p=1$c29tZXNhbHQ$C1nSQzCTQWzgK9naSl2auLfd0EqDoFwYFGg9v5LwjIc",
    ];

    #[test]
    fn each_kind_knows_its_password_and_no_other() {
        for text in HASHES {
            let hash = Hash::parse(text).unwrap();
            assert!(hash.is_of(b"correct horse"), "{text}");
            for wrong in [&b""[..], b"correct horsf", b"correct horse ", b"\0", b"\xff\xfe"] {
                assert!(!hash.is_of(wrong), "{text} {wrong:?}");
            }
        }
    }

    #[test]
    fn a_hash_that_is_cut_off_or_changed_is_refused_and_none_panics() {
        for text in HASHES {
            for end in 0..text.len() {
                assert!(Hash::parse(&text[..end]).is_err() || text.starts_with("$argon2id"), "{}", &text[..end]);
                let _ = Hash::parse(&format!("{}é{}", &text[..end], &text[end..])).map(|hash| hash.is_of(b"a"));
            }
        }
    }

    #[test]
    fn what_is_no_good_hash_is_refused_without_its_text() {
        for (text, says) in [
            ("hunter2", "plain text"),
            ("", "is empty"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
            ("{SSHA}abc", "SHA-1"),
            ("rqXexS6ZhobKA", "not known"),
            ("$1$abc$hunter2", "MD5-crypt"),
            ("$y$j9T$abc$def", "yescrypt"),
            ("$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$abc", "argon2id"),
            ("$2y$31$fNoBX9BgE0x41e/qCNDDfuXTwBjpQUwgs40DJJfxj1ICBlsrRN0/.", "cost of 31"),
            ("$6$rounds=999999999$salt$x", "SHA-crypt"),
            (
                "$argon2id$v=19$m=256,t=4000000000,p=1$c29tZXNhbHQ$C1nSQzCTQWzgK9naSl2auLfd0EqDoFwYFGg9v5LwjIc",
                "seconds",
            ),
            ("$2y$10$short", "bcrypt"),
        ] {
            let message = Hash::parse(text).map(|_| ()).unwrap_err();
            assert!(message.contains(says), "{text}: {message}");
            assert!(text.is_empty() || !message.contains(text), "{message}");
        }
    }
}
