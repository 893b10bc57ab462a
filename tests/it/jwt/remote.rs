//! Keys at a URL: rotation, strangers, and a URL that does not answer.

use super::*;

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
