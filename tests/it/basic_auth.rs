//! `basic_auth`: names and passwords, what they cost, and what the backend is told.

use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::evenkeel::{check, pool};
use crate::support::http2::Http2Client;
use crate::support::{Client, Evenkeel, Origin, Response, wait_until};

/// "secret" with a cost of 5.
const SECRET: &str = "$2y$05$zBZClVBPh/n9X4hHVu1ts.cjqrA1NRYIwU8BKvu2r6fv7ovhpvufa";
/// "slow" with a cost of 9: some hundred milliseconds where nothing is optimised.
const SLOW: &str = "$2y$09$nD5vYI6PaVVQMJpwJvRS1eu5qE8c.Oj8/ZvXLAKUMLEMDcQ7Jze32";

fn start(options: &str) -> (Evenkeel, Origin) {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!("filters: [{{ basic_auth: {options} }}]\n{}", pool(&[origin.address], "")));
    (evenkeel, origin)
}

/// Whether htpasswd is there, which knows no `--version`.
fn have_htpasswd() -> bool {
    let found = Command::new("htpasswd").output().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "htpasswd is missing, in CI");
        eprintln!("skipped: htpasswd is missing");
    }
    found
}

fn line(name: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
}

fn ask(evenkeel: &Evenkeel, headers: &str) -> Response {
    evenkeel.client().get_with("/", headers)
}

#[test]
fn who_knows_the_password_comes_in() {
    let (evenkeel, origin) =
        start(&format!("{{ realm: Staging, users: {{ alice: '{SECRET}' }}, user_header: X-User }}"));
    let response = ask(&evenkeel, &line("alice", "secret"));
    assert_eq!((response.status, response.text()), (200, "in".to_owned()));
    let seen = origin.last().head;
    assert_eq!((seen.header("x-user"), seen.header("authorization")), (Some("alice"), None));
    for headers in [
        String::new(),
        line("alice", "Secret"),
        line("alice", ""),
        line("bob", "secret"),
        line("", ""),
        line("alice", "secret") + &line("alice", "secret"),
        "Authorization: Basic\r\n".to_owned(),
        "Authorization: Basic ====\r\n".to_owned(),
        "Authorization: Bearer YWxpY2U6c2VjcmV0\r\n".to_owned(),
        format!("Authorization: Basic {}\r\n", "QUFB".repeat(2000)),
        "X-User: alice\r\n".to_owned(),
    ] {
        let response = ask(&evenkeel, &headers);
        assert_eq!((response.status, response.reason()), (401, "unauthorized"), "{headers}");
        assert_eq!(response.header("www-authenticate"), Some("Basic realm=\"Staging\", charset=\"UTF-8\""));
    }
    assert_eq!(origin.count(), 1, "who is refused reaches nobody");
    wait_until("all are counted", || evenkeel.failures("unauthorized") == 11.0);
    assert!(!evenkeel.log().contains("secret"));
}

#[test]
fn nobody_else_says_who_the_client_is() {
    let (evenkeel, origin) =
        start(&format!("{{ users: {{ alice: '{SECRET}' }}, user_header: X-User, forward: true }}"));
    let claims = "X-User: root\r\nx_user: root\r\nConnection: X-User\r\n";
    assert_eq!(ask(&evenkeel, &(line("alice", "secret") + claims)).status, 200);
    let seen = origin.last().head;
    assert_eq!((seen.all("x-user"), seen.all("x_user")), (vec!["alice"], vec![]));
    assert!(seen.header("authorization").is_some());
}

#[test]
fn a_file_of_htpasswd_is_read_and_read_again() {
    if !have_htpasswd() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("htpasswd");
    let htpasswd = |flags: &str, name: &str, password: &str| {
        let command = Command::new("htpasswd").args([flags, file.to_str().unwrap(), name, password]).output();
        assert!(command.unwrap().status.success());
    };
    htpasswd("-cbB", "bcrypt", "one");
    htpasswd("-bm", "apr1", "two");
    let (evenkeel, _origin) = start(&format!("{{ file: {} }}", file.display()));
    let status = |name: &str, password: &str| ask(&evenkeel, &line(name, password)).status;
    assert_eq!((status("bcrypt", "one"), status("apr1", "two"), status("apr1", "one")), (200, 200, 401));
    assert_eq!(evenkeel.logged("$apr1$, which is guessed soon", 1).len(), 1);
    htpasswd("-bB", "bcrypt", "new");
    let without =
        std::fs::read_to_string(&file).unwrap().lines().filter(|line| !line.starts_with("apr1")).collect::<String>();
    std::fs::write(&file, without).unwrap();
    assert_eq!(status("bcrypt", "one"), 200, "not before a reload");
    assert!(evenkeel.ask("reload", &[]).status.success());
    assert_eq!((status("bcrypt", "new"), status("bcrypt", "one"), status("apr1", "two")), (200, 401, 401));
}

/// Where each request paid for the hash, 200 would take 200 times as long as one; where a hash was computed on the threads that
/// serve, the admin's and everybody's requests would wait for it.
#[test]
fn a_password_is_paid_for_once_and_nobody_waits_for_anothers() {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "threads: 1\nfilters: [{{ basic_auth: {{ users: {{ alice: '{SLOW}' }} }} }}]\n{}",
        pool(&[origin.address], "")
    ));
    let began = Instant::now();
    assert_eq!(ask(&evenkeel, &line("alice", "slow")).status, 200);
    let first = began.elapsed();
    let began = Instant::now();
    let mut client = evenkeel.client();
    for _ in 0..200 {
        assert_eq!(client.get_with("/", &line("alice", "slow")).status, 200);
    }
    let more = began.elapsed();
    assert!(more < first * 50, "200 took {more:?}, the first {first:?}");

    // As many guesses as keep the only thread busy for a while, if it were the one to compute.
    let mut guessing: Vec<Client> = (0..12).map(|_| evenkeel.client()).collect();
    for (number, client) in guessing.iter_mut().enumerate() {
        client.ask("/", &line("alice", &format!("guess {number}")));
    }
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(client.get_with("/", &line("alice", "slow")).status, 200);
    }
    let known = began.elapsed();
    let answers: Vec<u16> = guessing.iter_mut().map(|client| client.read().status).collect();
    let all = began.elapsed();
    assert!(answers.iter().all(|status| matches!(status, 401 | 503)), "{answers:?}");
    assert!(known * 2 < all, "who is known waited {known:?}, the guesses {all:?}");
}

#[test]
fn guesses_beyond_what_there_is_time_for_are_sent_away() {
    let (evenkeel, _origin) = start(&format!("{{ users: {{ alice: '{SLOW}' }} }}"));
    let mut guessing: Vec<Client> = (0..300).map(|_| evenkeel.client()).collect();
    for (number, client) in guessing.iter_mut().enumerate() {
        client.ask("/", &line("alice", &format!("guess {number}")));
    }
    let mut busy = 0;
    for client in &mut guessing {
        let response = client.read();
        match response.status {
            503 => {
                assert_eq!(response.reason(), "auth_unavailable");
                busy += 1;
            }
            status => assert_eq!(status, 401),
        }
    }
    assert!(busy > 0);
    wait_until("who knows the password comes in again", || ask(&evenkeel, &line("alice", "slow")).status == 200);
}

#[test]
fn a_name_of_nobody_takes_as_long_as_any() {
    let (evenkeel, _origin) = start(&format!("{{ users: {{ alice: '{SLOW}' }} }}"));
    let time = |name: &str, number: usize| {
        let began = Instant::now();
        assert_eq!(ask(&evenkeel, &line(name, &format!("guess {number}"))).status, 401);
        began.elapsed()
    };
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    // The fastest of each: whatever else this machine does makes some of them slower.
    let alike = (0..20).any(|number| {
        known = known.min(time("alice", number));
        unknown = unknown.min(time("nobody", number));
        unknown * 2 > known && known * 2 > unknown
    });
    assert!(alike, "{known:?} {unknown:?}");
}

#[test]
fn over_http2_it_is_the_same() {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\nfilters: [{{ basic_auth: {{ users: {{ alice: '{SECRET}' }} }} }}]\n{}",
        pool(&[origin.address], "")
    ));
    let client = Http2Client::connect(evenkeel.http());
    let answer = client.get("/");
    assert_eq!(answer.head.status.as_u16(), 401);
    assert!(answer.header("www-authenticate").starts_with("Basic realm="));
    let value = format!("Basic {}", STANDARD.encode("alice:secret"));
    assert_eq!(client.ask(client.request("GET", "/", &[("authorization", &value)]), "").body, "in");
}

#[test]
fn its_mistakes_have_their_place_and_no_secret() {
    let at = "3:5: filters[0].basic_auth";
    for (options, message) in [
        ("{}".to_owned(), format!("{at}: needs 'users' or a 'file' with at least one")),
        (
            "{ users: { alice: hunter2 } }".to_owned(),
            "3:35: filters[0].basic_auth.users.alice: is a plain text password, or a hash of a kind that is not known here; \
             must be bcrypt, argon2id, SHA-crypt"
                .to_owned(),
        ),
        (
            "{ users: { alice: '{SHA}hunter2' } }".to_owned(),
            "basic_auth.users.alice: is an unsalted SHA-1, which is guessed in no time; must be bcrypt".to_owned(),
        ),
        (format!("{{ users: {{ 'a:b': '{SECRET}' }} }}"), format!("{at}: has a name of nobody")),
        ("{ file: /nowhere }".to_owned(), "3:25: filters[0].basic_auth.file: cannot read /nowhere".to_owned()),
        (
            format!("{{ users: {{ a: '{SECRET}' }}, user_header: Host }}"),
            "filters[0].basic_auth.user_header: may not be host".to_owned(),
        ),
        (format!("{{ users: {{ a: '{SECRET}' }}, realm: ä }}"), "basic_auth.realm: must be plain ASCII text".to_owned()),
        (format!("{{ user: {{ a: '{SECRET}' }} }}"), "basic_auth.user: unknown key, did you mean 'users'?".to_owned()),
    ] {
        let output = check(&format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nfilters:\n  - basic_auth: {options}\npools: {{ web: {{ backends: [127.0.0.1:1] }} }}\n"
        ));
        assert!(output.contains(&message), "{options}: {output}");
        assert!(!output.contains("hunter2"), "{output}");
    }
}
