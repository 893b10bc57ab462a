//! `forward_auth`: services that let in, refuse and redirect; what they are told, and what the backend is.

mod broken;

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::evenkeel::{check, pool};
use crate::support::http2::Http2Client;
use crate::support::nginx::{Nginx, free};
use crate::support::tls::{Authority, have_openssl};
use crate::support::{Evenkeel, Exchange, LIMIT, Origin, Then, have, wait_until};
use crate::upgrade::UPGRADE;

/// A service that knows one key.
fn service() -> Origin {
    Origin::new(|exchange: &mut Exchange<'_>| match exchange.head.header("x-key") {
        Some("good") => {
            exchange.send("HTTP/1.1 200 OK\r\nRemote-User: alice\r\nRemote-Groups: a\r\nRemote-Groups: b\r\nX-Else: 1\r\nContent-Length: 2\r\n\r\nok")?;
            Ok(Then::Keep)
        }
        Some("nobody") => exchange.answer("204 No Content", ""),
        Some("login") => {
            exchange.send(
                "HTTP/1.1 302 Found\r\nLocation: https://login.test/?to=app\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                 Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 4\r\nContent-Type: text/html\r\n\r\ngo\r\n",
            )?;
            Ok(Then::Keep)
        }
        Some("broken") => exchange.answer("500 Oh", "broken"),
        Some("huge") => exchange.answer("403 Forbidden", &"x".repeat(100_000)),
        Some("hangs") => exchange.hang(),
        Some("half") => {
            exchange.send("HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nwho")?;
            exchange.hang()
        }
        Some("cut") => {
            exchange.send("HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nwho")?;
            Ok(Then::Close)
        }
        _ => {
            exchange
                .send("HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"x\"\r\nContent-Length: 4\r\n\r\nwho?")?;
            Ok(Then::Keep)
        }
    })
}

/// By htpasswd.
const SECRET: &str = "$2y$05$zBZClVBPh/n9X4hHVu1ts.cjqrA1NRYIwU8BKvu2r6fv7ovhpvufa";
const COPY: &str = "copy_headers: [Remote-User, Remote-Groups]";

fn start(service: &Origin, options: &str) -> (Evenkeel, Origin) {
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "filters: [{{ forward_auth: {{ url: 'http://{}/verify?a=b', {options} }} }}]\n{}",
        service.address,
        pool(&[origin.address], "")
    ));
    (evenkeel, origin)
}

#[test]
fn who_is_let_in_is_made_known_to_the_backend() {
    let service = service();
    let (evenkeel, origin) = start(&service, COPY);
    let mut client = evenkeel.client();
    let request = "POST /path?q=1 HTTP/1.1\r\nHost: app.test\r\nX-Key: good\r\nContent-Length: 4\r\nRemote-User: root\r\n\
                   Remote_User: root\r\nConnection: Remote-User\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\nX-Original-URL: /free\r\n\r\nbody";
    let response = client.send(request).read();
    assert_eq!((response.status, response.text()), (200, "in".to_owned()));
    let asked = service.last().head;
    assert_eq!(asked.start, "GET /verify?a=b HTTP/1.1");
    for (name, value) in [
        ("host", Some(service.address.to_string().as_str())),
        ("x-forwarded-method", Some("POST")),
        ("x-forwarded-uri", Some("/path?q=1")),
        ("x-forwarded-host", Some("app.test")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-key", Some("good")),
        ("x-original-url", None),
        ("content-length", None),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    let seen = origin.last();
    assert_eq!((seen.head.all("remote-user"), seen.head.all("remote_user")), (vec!["alice"], vec![]));
    assert_eq!((seen.head.all("remote-groups"), seen.head.header("x-else")), (vec!["a", "b"], None));
    assert_eq!(seen.body, Some(4));
    // And one of whom the service says nothing is nobody, whatever it says of itself.
    assert_eq!(client.get_with("/", "X-Key: nobody\r\nRemote-User: root\r\n").status, 200);
    assert_eq!(origin.last().head.header("remote-user"), None);
    assert_eq!(service.connections(), 1, "connections are kept");
}

#[test]
fn a_trusted_proxy_says_what_its_client_has_asked_it() {
    let service = service();
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "trusted_proxies: [127.0.0.1]\nfilters: [{{ forward_auth: {{ url: 'http://{}/' }} }}]\n{}",
        service.address,
        pool(&[origin.address], "")
    ));
    let headers = "X-Key: good\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: app.test\r\n\
                   X-Forwarded-Proto: https\r\nX-Forwarded-Uri: /free\r\n";
    assert_eq!(evenkeel.client().get_with("/path", headers).status, 200);
    let asked = service.last().head;
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "app.test"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-uri", "/path"),
    ] {
        assert_eq!(asked.all(name), [value], "{name}");
    }
}

#[test]
fn any_other_answer_is_the_clients() {
    let service = service();
    let (evenkeel, origin) = start(&service, COPY);
    let mut client = evenkeel.client();
    let login = client.get_with("/", "X-Key: login\r\n");
    assert_eq!((login.status, login.text()), (302, "go\r\n".to_owned()));
    assert_eq!(login.header("location"), Some("https://login.test/?to=app"));
    assert_eq!(login.head.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!((login.header("content-type"), login.head.all("content-length")), (Some("text/html"), vec!["4"]));
    assert_eq!((login.header("x-hop"), login.header("keep-alive"), login.reason()), (None, None, ""));
    let refused = client.get("/");
    assert_eq!((refused.status, refused.text(), refused.reason()), (401, "who?".to_owned(), "unauthorized"));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"x\""));
    let broken = client.get_with("/", "X-Key: broken\r\n");
    assert_eq!((broken.status, broken.reason()), (500, "refused"));
    let head = client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").read_to("HEAD");
    assert_eq!((head.status, head.header("content-length")), (401, Some("4")));
    assert_eq!(origin.count(), 0);
}

/// Sessions that the service prolongs, as oauth2-proxy does with a 202 and `Set-Cookie`.
#[test]
fn who_is_let_in_may_be_told_something_by_the_service() {
    let service = Origin::new(|exchange: &mut Exchange<'_>| {
        exchange.send(
            "HTTP/1.1 202 Fine\r\nSet-Cookie: s=1\r\nSet-Cookie: t=2\r\nX-Else: 1\r\nContent-Length: 0\r\n\r\n",
        )?;
        Ok(Then::Keep)
    });
    let (evenkeel, origin) = start(&service, "response_headers: [Set-Cookie]");
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.text()), (200, "in".to_owned()));
    assert_eq!((response.head.all("set-cookie"), response.header("x-else")), (vec!["s=1", "t=2"], None));
    assert_eq!(origin.last().head.header("set-cookie"), None);
    let (evenkeel, _origin) = start(&service, "");
    assert_eq!(evenkeel.get("/").header("set-cookie"), None, "not unless it is said");
}

/// What a filter before this one says of the client reaches the service as it reaches the backend, and the client cannot have it
/// taken away on the way.
#[test]
fn the_service_sees_what_the_backend_will() {
    let service = service();
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "filters:\n  - basic_auth: {{ users: {{ alice: '{SECRET}' }}, user_header: X-User }}\n  \
         - forward_auth: {{ url: 'http://{}/' }}\n{}",
        service.address,
        pool(&[origin.address], "")
    ));
    // alice:secret
    let headers = "Authorization: Basic YWxpY2U6c2VjcmV0\r\nX-Key: good\r\nX-User: root\r\nConnection: X-User, X-Key2\r\nX-Key2: 1\r\n";
    assert_eq!(evenkeel.client().get_with("/", headers).status, 200);
    for seen in [service.last().head, origin.last().head] {
        assert_eq!((seen.all("x-user"), seen.header("x-key2")), (vec!["alice"], None));
    }
}

#[test]
fn a_websocket_is_asked_about_and_then_open() {
    let service = service();
    let origin = Origin::new(|exchange: &mut Exchange<'_>| {
        assert_eq!(exchange.head.header("remote-user"), Some("alice"));
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        let mut said = [0; 4];
        exchange.wire.read_exact(&mut said)?;
        exchange.send(said)?;
        Ok(Then::Close)
    });
    let evenkeel = Evenkeel::start(&format!(
        "filters: [{{ forward_auth: {{ url: 'http://{}/', {COPY} }} }}]\n{}",
        service.address,
        pool(&[origin.address], "")
    ));
    let upgrade = |key: &str| UPGRADE.replace("Host:", &format!("X-Key: {key}\r\nHost:"));
    let mut client = evenkeel.client();
    assert_eq!(client.send(upgrade("bad")).read().status, 401);
    let asked = service.last().head;
    assert_eq!((asked.header("upgrade"), asked.header("connection")), (None, None));
    let mut client = evenkeel.client();
    assert_eq!(client.send(upgrade("good")).read().status, 101);
    client.send("ping");
    assert_eq!(client.bytes(4), b"ping");
    assert_eq!(origin.count(), 1);
}

#[test]
fn only_the_headers_of_a_list_go_along() {
    let service = service();
    let (evenkeel, _origin) = start(&service, "request_headers: [X-Key]");
    let headers = "X-Key: good\r\nCookie: a=1\r\nAuthorization: Basic eA==\r\n";
    assert_eq!(evenkeel.client().get_with("/", headers).status, 200);
    let asked = service.last().head;
    assert_eq!(
        (asked.header("x-key"), asked.header("cookie"), asked.header("authorization")),
        (Some("good"), None, None)
    );
}

#[test]
fn nginx_as_the_service() {
    if !have("nginx") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let address = free();
    let _nginx = Nginx::start(
        dir.path(),
        &format!(
            "server {{ listen {address}; location / {{\n\
             if ($http_cookie !~ \"session=good\") {{ return 302 https://login.test$http_x_forwarded_uri; }}\n\
             add_header Remote-User alice; return 204; }} }}"
        ),
        address,
    );
    let origin = Origin::saying("in");
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n\
         filters: [{{ forward_auth: {{ url: 'http://{address}/', {COPY} }} }}]\n{}",
        pool(&[origin.address], "")
    ));
    let client = Http2Client::connect(evenkeel.http());
    let answer = client.get("/a?b");
    assert_eq!((answer.head.status.as_u16(), answer.header("location")), (302, "https://login.test/a?b"));
    // HTTP/2 may send each cookie by itself.
    for _ in 0..20 {
        let request = client.request("GET", "/a", &[("cookie", "x=1"), ("cookie", "session=good")]);
        assert_eq!(client.ask(request, "").body, "in");
        assert_eq!(origin.last().head.header("remote-user"), Some("alice"));
    }
}

#[test]
fn its_mistakes_have_their_place_and_no_secret() {
    for (options, message) in [
        ("{}", "3:5: filters[0].forward_auth: needs 'url'"),
        ("{ url: auth }", "3:26: filters[0].forward_auth.url: must be a URL, like http://127.0.0.1:9091/verify"),
        ("{ url: 'http://a:hunter2@auth/' }", "forward_auth.url: must have no user and no password in it"),
        ("{ url: 'http://a/', ca: ca.pem }", "filters[0].forward_auth.ca: is of no use: the URL is not https"),
        ("{ url: 'https://a/', ca: /nowhere.pem }", "filters[0].forward_auth.ca: cannot use /nowhere.pem"),
        ("{ url: 'http://a/', timeout: 0s }", "forward_auth.timeout: must be 1ms to 365d"),
        ("{ url: 'http://a/', timeout: 2 }", "forward_auth.timeout: must be a duration with its unit"),
        ("{ url: 'http://a/', copy_headers: [Host] }", "forward_auth.copy_headers[0]: may not be host"),
        ("{ url: 'http://a/', copy_headers: ['a b'] }", "forward_auth.copy_headers[0]: must be the name of a header"),
        ("{ url: 'http://a/', on_error: open }", "forward_auth.on_error: must be deny or allow"),
        ("{ url: 'http://a/', time_out: 2s }", "forward_auth.time_out: unknown key, did you mean 'timeout'?"),
    ] {
        let output = check(&format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nfilters:\n  - forward_auth: {options}\npools: {{ web: {{ backends: [127.0.0.1:1] }} }}\n"
        ));
        assert!(output.contains(message), "{options}: {output}");
        assert!(!output.contains("hunter2"), "{output}");
    }
}
