//! The hash of Apache's `htpasswd` without options, `$apr1$`: a thousand rounds of MD5, as
//! [`apr_md5.c`](https://github.com/apache/apr/blob/trunk/crypto/apr_md5.c) has it. No crate has it alone, and old files are full of it.

use md5::{Digest, Md5};

const MAGIC: &[u8] = b"$apr1$";
const ROUNDS: usize = 1000;
/// crypt's own order of the 64 characters.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// How the bytes of the digest are shuffled before they are written, three to four characters.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// Salt and hash of the text after `$apr1$`; `None` if it is none.
pub(super) fn parse(text: &str) -> Option<(&str, &str)> {
    let (salt, hash) = text.split_once('$')?;
    let fits = (1..=8).contains(&salt.len()) && hash.len() == 22 && hash.bytes().all(|b| ALPHABET.contains(&b));
    fits.then_some((salt, hash))
}

/// The hash, as it is written.
pub(super) fn hash(password: &[u8], salt: &[u8]) -> [u8; 22] {
    encode(&stretch(first(password, salt), password, salt))
}

fn first(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner = digest(&[password, salt, password]);
    let mut context = Md5::new();
    for part in [password, MAGIC, salt] {
        context.update(part);
    }
    for (at, _) in password.iter().enumerate().step_by(16) {
        context.update(&inner[..(password.len() - at).min(16)]);
    }
    let mut bits = password.len();
    while bits > 0 {
        match (bits & 1, password.first()) {
            (0, Some(first)) => context.update([*first]),
            _ => context.update([0]),
        }
        bits >>= 1;
    }
    context.finalize().into()
}

fn stretch(mut hash: [u8; 16], password: &[u8], salt: &[u8]) -> [u8; 16] {
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        let salt = if round % 3 == 0 { b"" } else { salt };
        let again = if round % 7 == 0 { b"" } else { password };
        hash = match odd {
            true => digest(&[password, salt, again, &hash]),
            false => digest(&[&hash, salt, again, password]),
        };
    }
    hash
}

fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = Md5::new();
    for part in parts {
        context.update(part);
    }
    context.finalize().into()
}

fn encode(hash: &[u8; 16]) -> [u8; 22] {
    let mut text = [b'.'; 22];
    let mut write = |at: usize, mut bits: usize, characters: usize| {
        for character in text.iter_mut().skip(at).take(characters) {
            *character = ALPHABET[bits & 63];
            bits >>= 6;
        }
    };
    for (number, [a, b, c]) in ORDER.into_iter().enumerate() {
        let bits = usize::from(hash[a]) << 16 | usize::from(hash[b]) << 8 | usize::from(hash[c]);
        write(number * 4, bits, 4);
    }
    write(20, usize::from(hash[11]), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl passwd -apr1 -salt …`.
    #[test]
    fn it_is_what_openssl_makes() {
        for (password, salt, expected) in VECTORS {
            assert_eq!(
                std::str::from_utf8(&hash(password.as_bytes(), salt.as_bytes())).unwrap(),
                expected,
                "{password}"
            );
        }
    }

    const VECTORS: [(&str, &str, &str); 4] = [
        ("secret", "abcdefgh", "h9FWgUz3n9YxylKLlR5SQ/"),
        ("a", "x", "16j9.5e7KiXmuYFAYpPJM/"),
        ("a longer password than sixteen bytes, and than thirty-two", "12345678", "bcg0c3eYGee2es7AlW48Y."),
        ("päss", "r.s/t", "/ULRyO6nS7VBH9r.uLbAo."),
    ];
}
