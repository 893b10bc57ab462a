//! Keys and signatures that others have made.

use super::*;

/// Keys and signatures by openssl, which none of ours has made.
#[test]
fn rsa_and_elliptic_curves_by_openssl() {
    if !have_openssl() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    openssl(&["genrsa", "-out", &path("rsa.key"), "2048"]);
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &path("ec.key")]);
    let modulus = String::from_utf8(openssl(&["rsa", "-in", &path("rsa.key"), "-modulus", "-noout"])).unwrap();
    let modulus = modulus.trim().strip_prefix("Modulus=").unwrap();
    let modulus: Vec<u8> =
        (0..modulus.len() / 2).map(|at| u8::from_str_radix(&modulus[2 * at..2 * at + 2], 16).unwrap()).collect();
    let der = openssl(&["ec", "-in", &path("ec.key"), "-pubout", "-outform", "DER"]);
    let (x, y) = der[der.len() - 64..].split_at(32);
    let set = json!({ "keys": [
        { "kty": "RSA", "kid": "r", "n": encode(&modulus), "e": "AQAB" },
        { "kty": "EC", "kid": "e", "crv": "P-256", "x": encode(x), "y": encode(y), "alg": "ES256" },
    ] });
    fs::write(path("jwks.json"), set.to_string()).unwrap();
    let (evenkeel, _origin) = start(&format!("{{ jwks_file: {} }}", path("jwks.json")));
    let sign = |key: &str, more: &[&str], message: &[u8]| {
        fs::write(path("message"), message).unwrap();
        openssl(&[&["dgst", "-sha256", "-sign", key], more, &[&path("message")]].concat())
    };
    let rsa = |header, more: &[&str]| token(header, &alice(), |message| sign(&path("rsa.key"), more, message));
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"];
    assert_eq!(show(&evenkeel, &rsa(json!({ "alg": "RS256", "kid": "r" }), &[])).status, 200);
    assert_eq!(show(&evenkeel, &rsa(json!({ "alg": "RS256" }), &[])).status, 200);
    assert_eq!(show(&evenkeel, &rsa(json!({ "alg": "PS256", "kid": "r" }), &pss)).status, 200);
    assert_eq!(show(&evenkeel, &rsa(json!({ "alg": "PS256", "kid": "r" }), &[])).status, 401);
    assert_eq!(show(&evenkeel, &rsa(json!({ "alg": "RS256", "kid": "e" }), &[])).status, 401, "by another's name");
    let ec =
        token(json!({ "alg": "ES256", "kid": "e" }), &alice(), |message| raw(&sign(&path("ec.key"), &[], message)));
    assert_eq!(show(&evenkeel, &ec).status, 200);
    // The confusion that has a name: the public key, which all know, as the secret of an HMAC.
    let public = openssl(&["rsa", "-in", &path("rsa.key"), "-pubout"]);
    for secret in [&public[..], public.trim_ascii_end(), &modulus] {
        assert_eq!(show(&evenkeel, &by_secret(secret, &alice())).status, 401);
    }
}

/// An ECDSA signature of DER as two numbers of 32 bytes.
fn raw(der: &[u8]) -> Vec<u8> {
    let (mut rest, mut numbers) = (&der[2..], Vec::new());
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        numbers.extend(std::iter::repeat_n(0, 32 - number.len()));
        numbers.extend(number);
        rest = &rest[2 + length..];
    }
    numbers
}
