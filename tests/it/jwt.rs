//! `jwt`: tokens by keys in a file, at a URL and of a secret; rotation; and whatever else somebody may send for a token.

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

/// A server of keys, which says what a test tells it to.
struct Provider {
    origin: Origin,
    says: Arc<Mutex<(&'static str, String)>>,
}

impl Provider {
    fn new(status: &'static str, text: String) -> Self {
        let says = Arc::new(Mutex::new((status, text)));
        let script = Arc::clone(&says);
        let origin = Origin::new(move |exchange: &mut Exchange<'_>| {
            let (status, text) = script.lock().unwrap().clone();
            if status == "hang" { exchange.hang() } else { exchange.answer(status, &text) }
        });
        Provider { origin, says }
    }

    fn says(&self, status: &'static str, text: String) {
        *self.says.lock().unwrap() = (status, text);
    }

    fn start(&self, options: &str) -> (Evenkeel, Origin) {
        start(&format!("{{ jwks_url: 'http://{}/keys?secret=s', {options} }}", self.origin.address))
    }
}

#[test]
fn a_new_key_is_found_at_once_and_the_old_one_is_forgotten() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let provider = Provider::new("200 OK", jwks(&[&old]));
    let (evenkeel, _origin) = provider.start("refresh: 300ms");
    assert_eq!(provider.origin.count(), 0, "not before it is needed");
    assert_eq!(show(&evenkeel, &old.sign(&alice())).status, 200);
    let asked = provider.origin.last().head;
    assert_eq!((asked.word(0), asked.word(1)), ("GET", "/keys?secret=s"));
    provider.says("200 OK", jwks(&[&new]));
    wait_until("the new key is known", || show(&evenkeel, &new.sign(&alice())).status == 200);
    assert_eq!(show(&evenkeel, &old.sign(&alice())).status, 401);
}

#[test]
fn tokens_of_unknown_keys_do_not_hammer_the_url() {
    let signer = Signer::new("a");
    let provider = Provider::new("200 OK", jwks(&[&signer]));
    let (evenkeel, _origin) = provider.start("refresh: 1h");
    let stranger = Signer::new("b").sign(&alice());
    let (mut client, nameless) = (evenkeel.client(), {
        let key = Signer::new("c");
        token(json!({ "alg": "EdDSA" }), &alice(), |message| key.1.sign(message).as_ref().to_vec())
    });
    let began = Instant::now();
    let mut sent = 0;
    while sent < 300 {
        for token in [&stranger, &nameless] {
            assert_eq!(client.get_with("/", &format!("Authorization: Bearer {token}\r\n")).status, 401);
            sent += 1;
        }
    }
    let most = 1 + began.elapsed().as_secs() as usize / 10;
    assert!(provider.origin.count() <= most, "{} fetches for {sent} tokens", provider.origin.count());
    assert_eq!(show(&evenkeel, &signer.sign(&alice())).status, 200);
}

#[test]
fn the_keys_that_are_there_stay_while_the_url_does_not_answer() {
    let signer = Signer::new("a");
    let provider = Provider::new("200 OK", jwks(&[&signer]));
    let (evenkeel, _origin) = provider.start("refresh: 200ms, timeout: 400ms");
    let good = signer.sign(&alice());
    assert_eq!(show(&evenkeel, &good).status, 200);
    for (status, text) in [("500 Oh", ""), ("200 OK", "{\"keys\":[]}"), ("200 OK", "no JSON"), ("hang", "")] {
        let before = provider.origin.count();
        provider.says(status, text.to_owned());
        wait_until("it was asked twice more", || {
            assert_eq!(show(&evenkeel, &good).status, 200, "{status} {text}");
            provider.origin.count() >= before + 2
        });
    }
    let line = evenkeel.logged("WARN", 1).remove(0);
    assert!(line.contains("/keys: answers 500") && !line.contains("secret"), "{line}");
    provider.says("200 OK", jwks(&[&signer]));
    wait_until("it answers again", || {
        assert_eq!(show(&evenkeel, &good).status, 200);
        !evenkeel.lines("answers again").is_empty()
    });
}

#[test]
fn without_any_keys_nobody_comes_in_and_one_fetch_serves_all() {
    let signer = Signer::new("a");
    let provider = Provider::new("hang", String::new());
    let (evenkeel, origin) = provider.start("timeout: 500ms");
    let good = format!("Authorization: Bearer {}\r\n", signer.sign(&alice()));
    let mut clients: Vec<_> = (0..50).map(|_| evenkeel.client()).collect();
    let began = Instant::now();
    for client in &mut clients {
        client.ask("/", &good);
    }
    for client in &mut clients {
        let response = client.read();
        assert_eq!((response.status, response.reason()), (503, "auth_unavailable"));
    }
    let most = 1 + began.elapsed().as_millis() as usize / 1000;
    assert!((1..=most).contains(&provider.origin.count()), "{}", provider.origin.count());
    assert_eq!(origin.count(), 0);
    // Nobody has a token that is good, as far as anybody knows; who has none is told to bring one.
    assert_eq!(evenkeel.get("/").status, 401);
    provider.says("200 OK", jwks(&[&signer]));
    let began = Instant::now();
    wait_until("it has keys", || evenkeel.client().get_with("/", &good).status == 200);
    assert!(began.elapsed() < LIMIT / 2);
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

#[test]
fn its_mistakes_have_their_place_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let keys = write("keys.json", &jwks(&[&Signer::new("a")]));
    let short = write("short", "hunter2");
    let secret = write("secret", "hunter2hunter2hunter2hunter2hunter2");
    let wrong = write("wrong.json", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"hunter2\"}]}");
    assert!(Path::new(&keys).exists());
    let one_of = "3:5: filters[0].jwt: needs one of 'jwks_file', 'jwks_url' and 'secret_file'";
    for (options, message) in [
        ("{}".to_owned(), one_of.to_owned()),
        (format!("{{ jwks_file: {keys}, secret_file: {secret} }}"), one_of.to_owned()),
        (format!("{{ secret_file: {short} }}"), "is too short: at least 32 bytes".to_owned()),
        (format!("{{ jwks_file: {wrong} }}"), "filters[0].jwt.jwks_file: ".to_owned() + &wrong + " has no key"),
        ("{ jwks_file: /nowhere }".to_owned(), "3:23: filters[0].jwt.jwks_file: cannot read /nowhere".to_owned()),
        (
            "{ jwks_url: 'http://a:hunter2@idp/' }".to_owned(),
            "jwt.jwks_url: must have no user and no password".to_owned(),
        ),
        (format!("{{ jwks_file: {keys}, refresh: 1m }}"), "jwt.refresh: is of no use without 'jwks_url'".to_owned()),
        (format!("{{ jwks_file: {keys}, algorithms: [none] }}"), "jwt.algorithms[0]: must be RS256".to_owned()),
        (
            format!("{{ jwks_file: {keys}, algorithms: [RS256, HS256] }}"),
            "jwt.algorithms: has one that its keys are not for: HS256, HS384 and HS512 need a 'secret_file'".to_owned(),
        ),
        (
            format!("{{ secret_file: {secret}, algorithms: [RS256] }}"),
            "jwt.algorithms: has one that its keys are not for: 'secret_file' has HS256".to_owned(),
        ),
        (
            format!("{{ jwks_file: {keys}, claims: {{ a: {{}} }} }}"),
            "jwt.claims: must be values, like admin".to_owned(),
        ),
        (format!("{{ jwks_file: {keys}, issuer: 7 }}"), "jwt.issuer: must be a text or a list of texts".to_owned()),
        // Whoever writes these wants something looked at.
        (format!("{{ jwks_file: {keys}, issuer: [] }}"), "jwt.issuer: must be a text or a list of texts".to_owned()),
        (
            format!("{{ jwks_file: {keys}, audience: [] }}"),
            "jwt.audience: must be a text or a list of texts".to_owned(),
        ),
        (
            format!("{{ jwks_file: {keys}, audience: null }}"),
            "jwt.audience: must be a text or a list of texts".to_owned(),
        ),
        ("{ jwks_url: 'http://a/', refresh: 0s }".to_owned(), "jwt.refresh: must be 1ms to 365d".to_owned()),
        ("{ jwks_url: 'http://a/', timeout: 0s }".to_owned(), "jwt.timeout: must be 1ms to 365d".to_owned()),
        (format!("{{ jwks_file: {keys}, leeway: 2h }}"), "jwt.leeway: must be 1h at the most".to_owned()),
        (format!("{{ jwks_file: {keys}, from: body }}"), "jwt.from: must be header, cookie or query".to_owned()),
        (
            format!("{{ jwks_file: {keys}, claim_headers: {{ sub: Host }} }}"),
            "claim_headers.sub: may not be host".to_owned(),
        ),
        (
            format!("{{ jwks_file: {keys}, issuers: us }}"),
            "jwt.issuers: unknown key, did you mean 'issuer'?".to_owned(),
        ),
    ] {
        let output = check(&format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nfilters:\n  - jwt: {options}\npools: {{ web: {{ backends: [127.0.0.1:1] }} }}\n"
        ));
        assert!(output.contains(&message), "{options}: {output}");
        assert!(!output.contains("hunter2"), "{output}");
    }
}
