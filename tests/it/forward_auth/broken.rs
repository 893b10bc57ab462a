//! Services that are not there, hang, say too much, break off, are somebody else, or lead back.

use super::*;

#[test]
fn without_an_answer_nobody_comes_in() {
    let service = service();
    let (evenkeel, origin) = start(&service, "timeout: 300ms");
    let began = Instant::now();
    for key in ["hangs", "huge"] {
        let response = evenkeel.client().get_with("/", &format!("X-Key: {key}\r\n"));
        assert_eq!((response.status, response.reason()), (503, "auth_unavailable"), "{key}");
    }
    assert!(began.elapsed() < LIMIT / 2);
    // Said once, and without the query.
    let line = evenkeel.logged("forward_auth: ", 1).remove(0);
    assert!(line.contains(&format!("http://{}/verify: no answer within 300ms", service.address)), "{line}");
    assert_eq!(evenkeel.client().get_with("/", "X-Key: good\r\n").status, 200);
    assert_eq!(evenkeel.lines("answers again").len(), 1);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_service_that_is_not_there_lets_in_only_if_told_to() {
    for (options, status) in [("timeout: 2s", 503), ("on_error: allow, copy_headers: [Remote-User]", 200)] {
        let mut service = service();
        let (evenkeel, origin) = start(&service, options);
        assert_eq!(evenkeel.client().get_with("/", "X-Key: good\r\n").status, 200);
        service.stop();
        let response = evenkeel.client().get_with("/", "X-Key: good\r\nRemote-User: root\r\n");
        assert_eq!(response.status, status, "{options}");
        if status == 200 {
            assert_eq!(origin.last().head.header("remote-user"), None);
        }
        service.restart();
        assert_eq!(
            evenkeel.client().get_with("/", "X-Key: good\r\n").status,
            200,
            "a connection that was kept is of no use"
        );
        let broken = evenkeel.client().get_with("/", "X-Key: broken\r\n").status;
        assert_eq!(broken, if status == 200 { 200 } else { 500 });
    }
}

/// What comes on a connection after an answer, and unasked, is the answer to nobody: of a 200 that waits there, the next request,
/// which the service would refuse, must not come in.
#[test]
fn an_answer_that_nobody_asked_for_lets_nobody_in() {
    let (together, sent) = (AtomicBool::new(true), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&sent);
    let service = Origin::new(move |exchange: &mut Exchange<'_>| {
        let (no, yes) =
            ("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        if together.fetch_xor(true, SeqCst) {
            exchange.send(format!("{no}{yes}"))?;
        } else {
            exchange.send(no)?;
            exchange.send(yes)?;
        }
        counted.fetch_add(1, SeqCst);
        Ok(Then::Keep)
    });
    let (evenkeel, origin) = start(&service, "timeout: 1s");
    for number in 1..=20 {
        assert_eq!(evenkeel.get("/").status, 401);
        wait_until("it has said all of it", || sent.load(SeqCst) == number);
    }
    assert_eq!(origin.count(), 0);
}

/// `on_error: allow` is for a service that is not there. One that has said no has said it, though what follows is too long, does not
/// come or breaks off, as a client may bring about that makes its request a strange one.
#[test]
fn a_no_is_a_no_however_it_ends() {
    let service = service();
    let (evenkeel, origin) = start(&service, "timeout: 300ms, on_error: allow");
    for key in ["huge", "half", "cut", "huge"] {
        let response = evenkeel.client().get_with("/", &format!("X-Key: {key}\r\n"));
        assert_eq!((response.status, response.reason()), (503, "auth_unavailable"), "{key}");
    }
    assert_eq!(origin.count(), 0);
    assert_eq!(evenkeel.client().get_with("/", "X-Key: hangs\r\n").status, 200);
}

#[test]
fn a_service_behind_the_filter_itself_is_a_mistake_that_ends() {
    let address = free();
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: '{address}' }}]\nfilters: [{{ forward_auth: {{ url: 'http://{address}/' }} }}]\n{}",
        pool(&[origin.address], "")
    ));
    let response = evenkeel.get("/");
    assert_eq!((response.status, origin.count()), (503, 0));
    assert_eq!(evenkeel.logged("leads back to this filter", 1).len(), 1);
    assert_eq!(evenkeel.requests(2).len(), 2);
}

#[test]
fn over_tls_it_must_be_who_it_says() {
    if !have_openssl() || !have("nginx") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(&dir, "ours"), Authority::new(&dir, "other"));
    let (certificate, key) = ours.sign(&dir, "auth", "DNS:localhost");
    let address = free();
    let server = format!(
        "server {{ listen {address} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};\n\
         location / {{ add_header Remote-User tls; return 204; }} }}"
    );
    let _nginx = Nginx::start(dir.path(), &server, address);
    let origin = Origin::saying("in");
    let port = address.port();
    for (host, ca, status) in [
        ("localhost", &ours.certificate, 200),
        ("127.0.0.1", &ours.certificate, 503),
        ("localhost", &other.certificate, 503),
    ] {
        let evenkeel = Evenkeel::start(&format!(
            "filters: [{{ forward_auth: {{ url: 'https://{host}:{port}/', ca: {ca} }} }}]\n{}",
            pool(&[origin.address], "")
        ));
        assert_eq!(evenkeel.get("/").status, status, "{host} {ca}");
        assert_eq!(evenkeel.get("/").status, status, "{host} {ca}, on a connection that was kept");
    }
}

/// A hundred requests wait for a service that takes connections and says nothing: others are served in the meantime.
#[test]
fn a_service_that_hangs_keeps_nobody_but_those_who_ask_it() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "{}routes:\n  - pool: web\n  - match: {{ path_prefix: /auth }}\n    pool: web\n    filters: [{{ forward_auth: {{ url: 'http://{}/', timeout: 2s }} }}]\n",
        pool(&[origin.address], ""),
        silent.local_addr().unwrap()
    ));
    let mut waiting: Vec<_> = (0..100).map(|_| evenkeel.client()).collect();
    for client in &mut waiting {
        client.ask("/auth", "");
    }
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(evenkeel.get("/").status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    for client in &mut waiting {
        assert_eq!(client.read().status, 503);
    }
    wait_until("all are logged", || evenkeel.failures("auth_unavailable") == 100.0);
}
