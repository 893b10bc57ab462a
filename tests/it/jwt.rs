//! `jwt`: tokens by keys in a file, at a URL and of a secret; rotation; and whatever else somebody may send for a token.

mod mistakes;
mod openssl;
mod remote;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::support::evenkeel::{check, pool};
use crate::support::http2::Http2Client;
use crate::support::tls::have_openssl;
use crate::support::{Evenkeel, Exchange, LIMIT, Origin, Response, wait_until};

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn alice() -> Value {
    json!({ "sub": "alice", "exp": now() + 300, "iss": "us", "aud": ["here", "there"], "groups": ["a", "b"], "level": 7 })
}

/// Claims with others in their place.
fn with(more: Value) -> Value {
    let mut claims = alice();
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn token(header: Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    format!("{message}.{}", encode(sign(message.as_bytes())))
}

/// An Ed25519 key with a name.
struct Signer(&'static str, Ed25519KeyPair);

impl Signer {
    fn new(name: &'static str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Signer(name, Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.0, "use": "sig", "x": encode(self.1.public_key()) })
    }

    fn sign(&self, claims: &Value) -> String {
        token(json!({ "alg": "EdDSA", "kid": self.0 }), claims, |message| self.1.sign(message).as_ref().to_vec())
    }
}

fn jwks(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

fn by_secret(secret: &[u8], claims: &Value) -> String {
    let sign = |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec();
    token(json!({ "alg": "HS256" }), claims, sign)
}

fn start(options: &str) -> (Evenkeel, Origin) {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!("filters: [{{ jwt: {options} }}]\n{}", pool(&[origin.address], "")));
    (evenkeel, origin)
}

/// The same with keys in a file.
fn start_with(signers: &[&Signer], options: &str) -> (Evenkeel, Origin, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), jwks(signers)).unwrap();
    let (evenkeel, origin) = start(&format!("{{ jwks_file: {}, {options} }}", file.path().display()));
    (evenkeel, origin, file)
}

fn show(evenkeel: &Evenkeel, token: &str) -> Response {
    evenkeel.client().get_with("/", &format!("Authorization: Bearer {token}\r\n"))
}

fn challenge(response: &Response) -> &str {
    response.header("www-authenticate").unwrap_or_default()
}

#[test]
fn who_shows_a_good_token_comes_in_and_is_made_known() {
    let signer = Signer::new("a");
    let told = "claim_headers: { sub: X-User, groups: X-Groups, level: X-Level, missing: X-None }";
    let (evenkeel, origin, _file) = start_with(&[&signer], &format!("issuer: us, audience: [here], {told}"));
    let headers = "X-User: root\r\nX_Groups: all\r\nX-None: root\r\nConnection: X-User\r\n";
    let request = format!("{headers}Authorization: bearer {}\r\n", signer.sign(&alice()));
    assert_eq!(evenkeel.client().get_with("/", &request).text(), "in");
    let seen = origin.last().head;
    for (name, values) in [
        ("x-user", vec!["alice"]),
        ("x-groups", vec!["a,b"]),
        ("x_groups", vec![]),
        ("x-level", vec!["7"]),
        ("x-none", vec![]),
        ("authorization", vec![]),
    ] {
        assert_eq!(seen.all(name), values, "{name}");
    }
    let injected = signer.sign(&with(json!({ "sub": "a\r\nX-Level: 9" })));
    assert_eq!(show(&evenkeel, &injected).status, 200);
    assert_eq!((origin.last().head.all("x-user"), origin.last().head.all("x-level")), (vec![], vec!["7"]));
}

#[test]
fn whoever_does_not_is_told_why() {
    let (signer, other) = (Signer::new("a"), Signer::new("a"));
    let (evenkeel, origin, _file) =
        start_with(&[&signer, &Signer::new("b")], "issuer: us, audience: here, leeway: 10s, realm: api");
    let response = evenkeel.get("/");
    assert_eq!(
        (response.status, response.reason(), challenge(&response)),
        (401, "unauthorized", "Bearer realm=\"api\"")
    );
    let good = signer.sign(&alice());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (_, claims) = message.split_once('.').unwrap();
    let unsigned = |alg: &str| format!("{}.{claims}.", encode(json!({ "alg": alg }).to_string()));
    let public = URL_SAFE_NO_PAD.decode(signer.jwk()["x"].as_str().unwrap()).unwrap();
    for (token, why) in [
        (signer.sign(&with(json!({ "exp": now() - 11 }))), "the token has expired"),
        (signer.sign(&with(json!({ "exp": "never" }))), "a time in the token is none"),
        (signer.sign(&json!({ "sub": "alice" })), "the token has no end"),
        (signer.sign(&with(json!({ "nbf": now() + 60 }))), "the token is not valid yet"),
        (signer.sign(&with(json!({ "aud": "there" }))), "the token is for somebody else"),
        (signer.sign(&with(json!({ "iss": "them" }))), "the token is of another issuer"),
        (other.sign(&alice()), "the signature is wrong"),
        (Signer::new("c").sign(&alice()), "the token is signed by a key that is not known"),
        (unsigned("none"), "the token is signed by an algorithm that is not accepted"),
        (unsigned("NoNe"), "the token is signed by an algorithm that is not accepted"),
        (by_secret(&public, &alice()), "the token is signed by an algorithm that is not accepted"),
        (by_secret(jwks(&[&signer]).as_bytes(), &alice()), "the token is signed by an algorithm that is not accepted"),
        (format!("{message}."), "the signature is wrong"),
        (message.to_owned(), "the token is malformed"),
        (format!("{message}!.{signature}"), "the token is malformed"),
        (format!("{message}.{signature}="), "the token is malformed"),
        (format!("{good}.{good}"), "the token is malformed"),
        ("....".to_owned(), "the token is malformed"),
        (format!("{message}.{}", "A".repeat(20_000)), "the token is too long"),
    ] {
        let response = show(&evenkeel, &token);
        assert_eq!((response.status, response.reason()), (401, "unauthorized"), "{why}");
        let expected = format!("Bearer realm=\"api\", error=\"invalid_token\", error_description=\"{why}\"");
        assert_eq!(challenge(&response), expected, "{}", &token[..token.len().min(300)]);
    }
    let twice = format!("Authorization: Bearer {good}\r\n").repeat(2);
    assert_eq!(evenkeel.client().get_with("/", &twice).status, 401);
    assert_eq!(evenkeel.client().get_with("/", "Authorization: Basic YTpi\r\n").status, 401);
    assert_eq!(origin.count(), 0);
    assert_eq!(show(&evenkeel, &good).status, 200);
    assert!(!evenkeel.log().contains(signature));
}

#[test]
fn who_may_not_do_this_is_told_so() {
    let signer = Signer::new("a");
    let (evenkeel, origin, _file) = start_with(&[&signer], "claims: { groups: [admins, staff], level: 7 }");
    let response = show(&evenkeel, &signer.sign(&alice()));
    assert_eq!((response.status, response.reason()), (403, "forbidden"));
    assert!(challenge(&response).contains("error=\"insufficient_scope\""), "{}", challenge(&response));
    assert_eq!(show(&evenkeel, &signer.sign(&with(json!({ "groups": ["x", "staff"], "level": 8 })))).status, 403);
    assert_eq!(show(&evenkeel, &signer.sign(&with(json!({ "groups": "staff" })))).status, 200);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_token_in_a_cookie_or_in_the_query_goes_no_further() {
    let signer = Signer::new("a");
    let good = signer.sign(&alice());
    let (evenkeel, origin, _file) = start_with(&[&signer], "from: { cookie: session }");
    let headers = format!("Cookie: a=1; session={good}; b=2\r\n");
    assert_eq!(evenkeel.client().get_with("/", &headers).status, 200);
    assert_eq!(origin.last().head.header("cookie"), Some("a=1; b=2"));
    assert_eq!(show(&evenkeel, &good).status, 401);
    let (evenkeel, origin, _file) = start_with(&[&signer], "from: { query: token }");
    assert_eq!(evenkeel.get(&format!("/a?b=1&token={good}&c=2")).status, 200);
    assert_eq!(origin.last().head.word(1), "/a?b=1&c=2");
    let other = Signer::new("a").sign(&alice());
    assert_eq!(evenkeel.get(&format!("/a?token={other}")).status, 401);
    let logged: Vec<String> = evenkeel.requests(2).iter().map(Value::to_string).collect();
    assert!(logged.iter().all(|line| !line.contains("token=")), "nor into the log: {logged:?}");
    let (evenkeel, origin, _file) = start_with(&[&signer], "forward: true");
    assert_eq!(show(&evenkeel, &good).status, 200);
    assert_eq!(origin.last().head.header("authorization"), Some(&*format!("Bearer {good}")));
}

#[test]
fn a_secret_is_for_those_who_have_it() {
    let secret = b"thirty-two bytes of a secret, or more";
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), [&secret[..], b"\n"].concat()).unwrap();
    let (evenkeel, _origin) = start(&format!("{{ secret_file: {} }}", file.path().display()));
    assert_eq!(show(&evenkeel, &by_secret(secret, &alice())).status, 200);
    assert_eq!(show(&evenkeel, &by_secret(b"another secret of the same length....", &alice())).status, 401);
    assert_eq!(show(&evenkeel, &Signer::new("a").sign(&alice())).status, 401);
}

#[test]
fn keys_in_a_file_change_with_a_reload() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let (evenkeel, _origin, file) = start_with(&[&old], "");
    let status = |signer: &Signer| show(&evenkeel, &signer.sign(&alice())).status;
    assert_eq!((status(&old), status(&new)), (200, 401));
    fs::write(file.path(), jwks(&[&new])).unwrap();
    assert!(evenkeel.ask("reload", &[]).status.success());
    assert_eq!((status(&old), status(&new)), (401, 200));
    fs::write(file.path(), "{}").unwrap();
    assert!(!evenkeel.ask("reload", &[]).status.success());
    assert_eq!(status(&new), 200, "what was there stays");
}

#[test]
fn over_http2_it_is_the_same() {
    let signer = Signer::new("a");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), jwks(&[&signer])).unwrap();
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\nfilters: [{{ jwt: {{ jwks_file: {} }} }}]\n{}",
        file.path().display(),
        pool(&[origin.address], "")
    ));
    let client = Http2Client::connect(evenkeel.http());
    let answer = client.get("/");
    assert_eq!((answer.head.status.as_u16(), answer.header("www-authenticate")), (401, "Bearer realm=\"Restricted\""));
    let value = format!("Bearer {}", signer.sign(&alice()));
    assert_eq!(client.ask(client.request("GET", "/", &[("authorization", &value)]), "").body, "in");
    // A call of gRPC is told in its own words.
    let call = client.ask(client.request("POST", "/a.B/C", &[("content-type", "application/grpc")]), "x");
    assert_eq!((call.head.status.as_u16(), call.header("grpc-status")), (200, "16"));
}
