use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

const NOW: f64 = 1_000_000.0;
const SECRET: &[u8] = b"a secret of thirty-two bytes....";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn message(header: Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

fn signed(message: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    format!("{message}.{}", encode(sign(message.as_bytes())))
}

fn by_secret(header: Value, claims: &Value) -> String {
    let sign = |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message).as_ref().to_vec();
    signed(&message(header, claims), sign)
}

fn demands(algorithms: &[Algorithm]) -> Demands {
    Demands { algorithms: algorithms.to_vec(), issuers: vec![], audiences: vec![], leeway: 60.0 }
}

fn claims() -> Value {
    json!({ "sub": "alice", "exp": NOW + 100.0 })
}

/// What becomes of a token of these claims that is signed well.
fn of(claims: Value, demands: &Demands) -> Result<Claims, Fault> {
    open(&by_secret(json!({ "alg": "HS256" }), &claims), &KeySet::secret(SECRET).unwrap(), demands, NOW)
}

#[test]
fn times_have_a_leeway_and_must_be_times() {
    let ours = demands(&[Algorithm::HS256]);
    let says = |claims| match of(claims, &ours) {
        Ok(_) => "fine",
        Err(Fault::Invalid(why)) => why,
        Err(Fault::UnknownKey) => "unknown",
    };
    for (claims, expected) in [
        (json!({ "exp": NOW + 1.5 }), "fine"),
        (json!({ "exp": NOW - 59.0 }), "fine"),
        (json!({ "exp": NOW - 60.0 }), "the token has expired"),
        (json!({ "exp": -1e300 }), "the token has expired"),
        (json!({ "exp": "9999999999" }), "a time in the token is none"),
        (json!({ "exp": null }), "a time in the token is none"),
        (json!({}), "the token has no end"),
        (json!({ "exp": NOW, "nbf": NOW + 60.0 }), "fine"),
        (json!({ "exp": NOW, "nbf": NOW + 61.0 }), "the token is not valid yet"),
        (json!({ "exp": NOW, "nbf": [1] }), "a time in the token is none"),
        (json!([]), "the token is malformed"),
        (json!(7), "the token is malformed"),
    ] {
        assert_eq!(says(claims.clone()), expected, "{claims}");
    }
}

#[test]
fn a_token_is_for_us_and_of_somebody_we_know() {
    let ours = Demands {
        issuers: vec!["us".into(), "them".into()],
        audiences: vec!["here".into()],
        ..demands(&[Algorithm::HS256])
    };
    for (iss, aud, fine) in [
        (json!("us"), json!("here"), true),
        (json!("them"), json!(["there", "here"]), true),
        (json!("us"), json!(["there"]), false),
        (json!("us"), json!([]), false),
        (json!("us"), json!("her"), false),
        (json!("us"), json!({ "here": 1 }), false),
        (json!("us"), json!(null), false),
        (json!(["us"]), json!("here"), false),
        (json!("else"), json!("here"), false),
        (json!(null), json!("here"), false),
    ] {
        let claims = json!({ "exp": NOW + 1.0, "iss": iss, "aud": aud });
        assert_eq!(of(claims.clone(), &ours).is_ok(), fine, "{claims}");
    }
    assert!(of(claims(), &ours).is_err());
    assert!(of(claims(), &demands(&[Algorithm::HS256])).is_ok(), "where nobody asks");
}

#[test]
fn what_is_no_token_is_refused_and_nothing_panics() {
    let (keys, ours) = (KeySet::secret(SECRET).unwrap(), demands(&[Algorithm::HS256]));
    let good = by_secret(json!({ "alg": "HS256", "typ": "JWT" }), &claims());
    assert!(open(&good, &keys, &ours, NOW).is_ok());
    for end in 0..good.len() {
        assert!(open(&good[..end], &keys, &ours, NOW).is_err(), "{end}");
        let mut other = good.clone().into_bytes();
        other[end] = if other[end] == b'x' { b'y' } else { b'x' };
        assert!(open(std::str::from_utf8(&other).unwrap(), &keys, &ours, NOW).is_err(), "{end}");
    }
    let header = encode(json!({ "alg": "HS256" }).to_string());
    for token in ["", ".", "..", "...", "a.b.c", &format!("{header}.."), &format!("{good}.a"), &format!("{good}=")] {
        assert!(open(token, &keys, &ours, NOW).is_err(), "{token}");
    }
    let long = format!("{}.{}.a", header, "A".repeat(LONGEST));
    assert_eq!(open(&long, &keys, &ours, NOW), Err(Fault::Invalid("the token is too long")));
}

#[test]
fn a_header_decides_nothing() {
    let (keys, ours) = (KeySet::secret(SECRET).unwrap(), demands(&[Algorithm::HS256]));
    let nobody = |header: Value| open(&format!("{}.", message(header, &claims())), &keys, &ours, NOW);
    for alg in ["none", "None", "NONE", "", "hs256", "RS256", "HS384"] {
        let refused = Err(Fault::Invalid("the token is signed by an algorithm that is not accepted"));
        assert_eq!(nobody(json!({ "alg": alg })), refused, "{alg}");
    }
    assert!(nobody(json!({})).is_err() && nobody(json!({ "alg": ["HS256"] })).is_err());
    assert!(nobody(json!({ "alg": "HS256" })).is_err(), "without a signature");
    let critical = by_secret(json!({ "alg": "HS256", "crit": ["b64"], "b64": false }), &claims());
    assert!(open(&critical, &keys, &ours, NOW).is_err());
    let twice = "{\"alg\":\"HS256\",\"alg\":\"none\"}";
    let twice = format!("{}.{}.", encode(twice), encode(claims().to_string()));
    assert!(open(&twice, &keys, &ours, NOW).is_err());
}

/// The public key as the secret of an HMAC, whichever bytes of it an attacker takes.
#[test]
fn a_public_key_is_no_secret() {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &SystemRandom::new()).unwrap();
    let point = pair.public_key().as_ref().to_vec();
    let jwks = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "a", "x": encode(&point[1..33]), "y": encode(&point[33..]) }] });
    let jwks = jwks.to_string();
    let keys = KeySet::parse(jwks.as_bytes()).unwrap();
    let sign = |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
    let good = signed(&message(json!({ "alg": "ES256", "kid": "a" }), &claims()), sign);
    // Even if somebody had allowed both.
    let all = demands(&[Algorithm::ES256, Algorithm::HS256, Algorithm::RS256, Algorithm::EdDSA]);
    assert!(open(&good, &keys, &all, NOW).is_ok());
    for secret in [&point[..], &point[1..], jwks.as_bytes(), b""] {
        for header in [json!({ "alg": "HS256", "kid": "a" }), json!({ "alg": "HS256" })] {
            let sign =
                |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec();
            assert!(open(&signed(&message(header, &claims()), sign), &keys, &all, NOW).is_err());
        }
    }
    // A signature of zeros, which some have taken for any message's.
    let zeros = signed(&message(json!({ "alg": "ES256", "kid": "a" }), &claims()), |_| vec![0; 64]);
    assert!(open(&zeros, &keys, &all, NOW).is_err());
}

#[test]
fn of_two_keys_the_named_one_counts() {
    let pair = || {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap()
    };
    let (a, b) = (pair(), pair());
    let jwk = |id: &str, pair: &Ed25519KeyPair| json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(pair.public_key()) });
    let keys = KeySet::parse(json!({ "keys": [jwk("a", &a), jwk("b", &b)] }).to_string().as_bytes()).unwrap();
    let token = |header: Value, pair: &Ed25519KeyPair| {
        signed(&message(header, &claims()), |message| pair.sign(message).as_ref().to_vec())
    };
    let ours = demands(&[Algorithm::EdDSA]);
    let of = |header: Value, pair: &Ed25519KeyPair| open(&token(header, pair), &keys, &ours, NOW).map(drop);
    assert_eq!(of(json!({ "alg": "EdDSA", "kid": "a" }), &a), Ok(()));
    assert_eq!(of(json!({ "alg": "EdDSA", "kid": "b" }), &b), Ok(()));
    assert_eq!(of(json!({ "alg": "EdDSA" }), &b), Ok(()));
    assert_eq!(of(json!({ "alg": "EdDSA", "kid": "a" }), &b), Err(Fault::Invalid("the signature is wrong")));
    assert_eq!(of(json!({ "alg": "EdDSA", "kid": "c" }), &a), Err(Fault::UnknownKey));
    assert_eq!(of(json!({ "alg": "EdDSA" }), &pair()), Err(Fault::UnknownKey));
}

/// Providers with one key often do not name it in the set, and do in the tokens.
#[test]
fn a_key_without_a_name_is_of_any_name() {
    let pair = || Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref());
    let (a, b) = (pair().unwrap(), pair().unwrap());
    let nameless = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(a.public_key()) });
    let named = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "b", "x": encode(b.public_key()) });
    let keys = KeySet::parse(json!({ "keys": [nameless, named] }).to_string().as_bytes()).unwrap();
    let of = |id: &str, pair: &Ed25519KeyPair| {
        let message = message(json!({ "alg": "EdDSA", "kid": id }), &claims());
        let token = signed(&message, |message| pair.sign(message).as_ref().to_vec());
        open(&token, &keys, &demands(&[Algorithm::EdDSA]), NOW).map(drop)
    };
    assert_eq!((of("any", &a), of("b", &b)), (Ok(()), Ok(())));
    assert_eq!(of("c", &b), Err(Fault::UnknownKey), "by another's name, or by a key that was added since");
    assert_eq!(of("b", &pair().unwrap()), Err(Fault::Invalid("the signature is wrong")));
}
