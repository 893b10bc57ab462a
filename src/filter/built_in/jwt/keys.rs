//! Sets of keys, [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517#section-5).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::algorithm::{Algorithm, Material};

/// A token without `kid` is tried with each.
const MOST_KEYS: usize = 100;
/// RFC 7518, 3.3. By the length in bytes.
const LEAST_RSA: usize = 2048 / 8;
/// RFC 7518, 3.2.
const LEAST_SECRET: usize = 32;

/// Keys that tokens are checked with. Never empty.
pub(super) struct KeySet(Vec<Key>);

/// One of them.
pub(super) struct Key {
    id: Option<String>,
    /// The only algorithm that it is for.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    for_what: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<Value>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// The keys of a JWKS that are good for checking tokens; others may stand beside them.
    ///
    /// # Errors
    /// That it is none, or has none of them.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let set: Jwks = serde_json::from_slice(text).map_err(|_| "is no JWKS: an object with a list 'keys'")?;
        if set.keys.len() > MOST_KEYS {
            return Err(format!("has more than {MOST_KEYS} keys"));
        }
        let keys: Vec<Key> =
            set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).filter_map(Key::of).collect();
        match keys.is_empty() {
            true => {
                Err("has no key that tokens can be checked with: RSA of 2048 bits, P-256, P-384 or Ed25519".to_owned())
            }
            false => Ok(KeySet(keys)),
        }
    }

    /// The one secret of those who sign and check by the same.
    ///
    /// # Errors
    /// That it is too short.
    pub(super) fn secret(secret: &[u8]) -> Result<Self, String> {
        if secret.len() < LEAST_SECRET {
            return Err(format!(
                "is too short: at least {LEAST_SECRET} bytes, or whoever has a token finds the secret"
            ));
        }
        Ok(KeySet(vec![Key { id: None, algorithm: None, material: Material::Secret(secret.to_vec()) }]))
    }

    /// Whether there is a key of this very name.
    pub(super) fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Those by which a token of this key and algorithm may be signed; without a key, all that fit.
    pub(super) fn fitting(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Material> {
        let fits = move |key: &&Key| {
            let same = key.algorithm.is_none_or(|only| only == algorithm);
            key.is_of(id) && same && key.material.fits(algorithm)
        };
        self.0.iter().filter(fits).map(|key| &key.material)
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Key> {
        if jwk.for_what.as_deref().is_some_and(|what| what != "sig") {
            return None;
        }
        if jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return None;
        }
        // One for an algorithm that is not known here is not for any other.
        let algorithm = match jwk.alg {
            Some(named) => Some(serde_json::from_value::<Algorithm>(named).ok().filter(|it| !it.is_symmetric())?),
            None => None,
        };
        let material = match (&*jwk.kty, jwk.crv.as_deref()) {
            ("RSA", _) => rsa(&jwk.n?, &jwk.e?)?,
            ("EC", Some("P-256")) => Material::P256(point(&jwk.x?, &jwk.y?, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(&jwk.x?, &jwk.y?, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(decode(&jwk.x?).filter(|key| key.len() == 32)?),
            // A secret in a place that everybody can read is none.
            _ => return None,
        };
        Some(Key { id: jwk.kid, algorithm, material })
    }

    /// A key without a name is of every name: it is a hint, and who has one key may not name it.
    fn is_of(&self, id: Option<&str>) -> bool {
        id.is_none() || self.id.is_none() || self.id.as_deref() == id
    }
}

fn rsa(n: &str, e: &str) -> Option<Material> {
    let number = |text: &str| {
        let bytes = decode(text)?;
        Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>())
    };
    let (n, e) = (number(n)?, number(e)?);
    (n.len() >= LEAST_RSA && !e.is_empty()).then_some(Material::Rsa(n, e))
}

fn point(x: &str, y: &str, length: usize) -> Option<Vec<u8>> {
    const UNCOMPRESSED: u8 = 4;
    let (x, y) = (decode(x)?, decode(y)?);
    let fits = x.len() == length && y.len() == length;
    fits.then(|| [&[UNCOMPRESSED], &x[..], &y].concat())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(keys: &str) -> Result<KeySet, String> {
        KeySet::parse(format!("{{\"keys\":[{keys}]}}").as_bytes())
    }

    fn rsa_key(more: &str) -> String {
        format!("{{\"kty\":\"RSA\",\"n\":\"{}\",\"e\":\"AQAB\"{more}}}", URL_SAFE_NO_PAD.encode([0xff; 256]))
    }

    #[test]
    fn keys_for_something_else_are_left_out() {
        assert!(parse(&rsa_key("")).is_ok());
        assert!(parse(&rsa_key(",\"use\":\"sig\",\"key_ops\":[\"verify\"],\"alg\":\"PS256\",\"x5c\":[]")).is_ok());
        let short = format!("{{\"kty\":\"RSA\",\"n\":\"{}\",\"e\":\"AQAB\"}}", URL_SAFE_NO_PAD.encode([0xff; 128]));
        for key in [
            &*rsa_key(",\"use\":\"enc\""),
            &rsa_key(",\"key_ops\":[\"encrypt\"]"),
            &rsa_key(",\"alg\":\"RSA-OAEP\""),
            &rsa_key(",\"alg\":\"HS256\""),
            &rsa_key(",\"kid\":7"),
            &short,
            "{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"alg\":\"HS256\"}",
            "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}",
            "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}",
            "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"!!\"}",
            "{\"kty\":\"RSA\"}",
            "7",
        ] {
            assert!(parse(key).is_err(), "{key}");
            assert!(parse(&format!("{key},{}", rsa_key(""))).is_ok(), "beside one that is good: {key}");
        }
        for text in ["", "[]", "{}", "{\"keys\":7}", "\"secret\""] {
            assert!(KeySet::parse(text.as_bytes()).is_err_and(|e| !e.contains("secret")), "{text}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_name_kind_and_algorithm() {
        let set = parse(&[rsa_key(",\"kid\":\"a\""), rsa_key(",\"kid\":\"b\",\"alg\":\"PS256\"")].join(",")).unwrap();
        let count = |id, algorithm| set.fitting(id, algorithm).count();
        assert_eq!((count(Some("a"), Algorithm::RS256), count(Some("a"), Algorithm::PS256)), (1, 1));
        assert_eq!((count(Some("b"), Algorithm::RS256), count(Some("b"), Algorithm::PS256)), (0, 1));
        assert_eq!((count(None, Algorithm::RS256), count(None, Algorithm::PS256)), (1, 2));
        for algorithm in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
            assert_eq!(count(None, algorithm), 0, "{algorithm:?}");
        }
        assert!(set.has("a") && !set.has("c"));
        let secret = KeySet::secret(&[7; 32]).unwrap();
        assert_eq!(secret.fitting(Some("any"), Algorithm::HS256).count(), 1);
        assert_eq!(secret.fitting(None, Algorithm::RS256).count(), 0);
        assert!(KeySet::secret(&[7; 31]).is_err());
    }
}
