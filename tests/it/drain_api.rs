//! Drains that are asked for wrongly, or by whom they must not be: of the command line and of the API.

use serde_json::Value;

use crate::drain::{done, refused};
use crate::support::evenkeel::{complete, pool, run};
use crate::support::{Client, Evenkeel, Origin};

#[test]
fn wrong_names_and_wrong_usage() {
    let a = Origin::saying("a");
    let evenkeel = Evenkeel::start(&pool(&[a.address], ""));
    let admin = evenkeel.admin.to_string();
    let refused = |arguments: &[&str]| refused(&run(&[arguments, &["--admin", &admin]].concat()));
    let (address, port) = (a.address.to_string(), a.address.port());
    let near = format!("{}:{port}", a.address.ip().to_string() + "9");
    for (target, message) in [
        (format!("wbe/{address}"), "no pool is named 'wbe', did you mean 'web'?".to_owned()),
        (format!("zebra/{address}"), "no pool is named 'zebra'; there are: web".to_owned()),
        (format!("web/{near}"), format!("pool web has no backend '{near}', did you mean '{address}'?")),
        (
            "web/unix:/run/a b.sock".to_owned(),
            format!("pool web has no backend 'unix:/run/a b.sock'; there are: {address}"),
        ),
    ] {
        assert_eq!(refused(&["drain", &target, "--wait"]), (1, format!("evenkeel: {message}\n")));
    }
    let target = format!("web/{address}");
    for (arguments, message) in [
        (vec!["drain"], "POOL/BACKEND"),
        (vec!["drain", "web"], "must be POOL/BACKEND, like web/10.0.0.1:80, got 'web'"),
        (vec!["drain", &target, "--timeout", "1s"], "--wait"),
        (
            vec!["undrain", &target, "--wait", "--timeout", "60"],
            "must be 1ms to 365d with its unit, like 60s, got '60'",
        ),
        (
            vec!["undrain", &target, "--wait", "--timeout", "0s"],
            "must be 1ms to 365d with its unit, like 60s, got '0s'",
        ),
    ] {
        let (code, text) = refused(&arguments);
        assert!(code == 2 && text.contains(message), "{arguments:?}: {code} {text}");
    }
    assert_eq!(evenkeel.admitted(), 1, "nothing has happened");
    drop(evenkeel);
    let (code, text) = refused(&["drain", &target]);
    assert!(code == 1 && text.contains("is evenkeel running there?"), "{code} {text}");
}

#[test]
fn the_admin_address_is_read_from_the_configuration() {
    let a = Origin::saying("a");
    let evenkeel = Evenkeel::start(&pool(&[a.address], ""));
    let yaml = format!("admin: {{ address: \"{}\" }}\n{}", evenkeel.admin, pool(&[a.address], ""));
    let file = evenkeel.dir.path().join("other.yaml");
    std::fs::write(&file, complete(&yaml, &evenkeel.dir)).unwrap();
    let output = run(&["drain", &format!("web/{}", a.address), "-c", file.to_str().unwrap()]);
    assert_eq!(done(&output), format!("web/{}: drained\n", a.address));
}

/// The status and the JSON of a request to the admin address.
fn ask_admin(evenkeel: &Evenkeel, request: &str, headers: &str) -> (u16, Value, Option<String>) {
    let mut client = Client::connect(evenkeel.admin);
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {}\r\n", evenkeel.admin) };
    let response = client.send(format!("{request} HTTP/1.1\r\n{host}{headers}\r\n")).read();
    let allow = response.header("allow").map(str::to_owned);
    (response.status, serde_json::from_slice(&response.body).unwrap_or_default(), allow)
}

#[test]
fn a_page_of_another_site_cannot_drain() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let evenkeel = Evenkeel::start(&pool(&[a.address, b.address], ""));
    let post = format!("POST /api/v1/pools/web/backends/{}/drain", a.address);
    let (json, form) = ("Content-Type: application/json\r\n", "Content-Type: application/x-www-form-urlencoded\r\n");
    let with_body = "Content-Length: 3\r\n\r\na=1";
    for (status, headers) in [
        (415, format!("{form}{with_body}")),
        (415, "Content-Type: text/plain\r\nContent-Length: 0\r\n".to_owned()),
        (415, "Content-Length: 0\r\n".to_owned()),
        (403, format!("{form}Origin: http://evil.example\r\n{with_body}")),
        (403, format!("{json}Content-Length: 0\r\nOrigin: http://evil.example\r\n")),
        (403, format!("{json}Content-Length: 0\r\nOrigin: null\r\n")),
        (403, format!("{json}Content-Length: 0\r\nSec-Fetch-Site: cross-site\r\n")),
        // A name that leads here by DNS rebinding: to the browser, that is one site.
        (403, format!("{json}Content-Length: 0\r\nHost: evil.example:9901\r\nOrigin: http://evil.example:9901\r\n")),
        (400, format!("{json}Content-Length: 15\r\n\r\n{{\"force\": true}}")),
        (413, format!("{json}Content-Length: 5000\r\n\r\n{}", " ".repeat(5000))),
    ] {
        let (got, body, _) = ask_admin(&evenkeel, &post, &headers);
        assert_eq!((got, body["error"].is_string()), (status, true), "{headers} {body}");
    }
    // The question that a browser asks before it sends JSON to another site gets no leave.
    let (status, _, allow) = ask_admin(&evenkeel, &post.replace("POST", "OPTIONS"), "Origin: http://evil.example\r\n");
    assert_eq!((status, allow.as_deref()), (405, Some("POST")));
    assert_eq!(evenkeel.admitted(), 2, "nothing has happened");
    let (status, answer, _) = ask_admin(&evenkeel, &post, &format!("{json}Content-Length: 2\r\n\r\n{{}}"));
    assert_eq!((status, &answer["changed"], &answer["backend"]["state"]), (200, &true.into(), &"draining".into()));
    assert_eq!((&answer["warning"], evenkeel.admitted()), (&Value::Null, 1));
}

#[test]
fn the_api_about_one_backend() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    Origin::on_unix(&path, "unix");
    let yaml = format!("pools: {{ web: {{ backends: ['unix:{}'], health_check: off }} }}\n", path.display());
    let evenkeel = Evenkeel::start(&yaml);
    let raw = format!("/api/v1/pools/web/backends/unix:{}", path.display());
    let encoded = format!("/api/v1/pools/web/backends/unix%3A{}", path.display().to_string().replace('/', "%2F"));
    for place in [&raw, &encoded] {
        let (status, view, _) = ask_admin(&evenkeel, &format!("GET {place}"), "");
        assert_eq!((status, &view["state"]), (200, &"healthy".into()));
    }
    let json = "Content-Type: application/json\r\nContent-Length: 0\r\n";
    for (operation, state) in [("drain", "draining"), ("undrain", "healthy")] {
        let (status, answer, _) = ask_admin(&evenkeel, &format!("POST {raw}/{operation}"), json);
        assert_eq!((status, &answer["backend"]["state"]), (200, &state.into()));
    }
    let output = run(&["drain", &format!("web/unix:{}", path.display()), "--admin", &evenkeel.admin.to_string()]);
    assert_eq!(done(&output), format!("web/unix:{}: drained\n", path.display()));
    for (request, status, allow) in [
        (format!("GET {raw}/drain"), 405, Some("POST")),
        (format!("POST {raw}"), 405, Some("GET, HEAD")),
        ("GET /api/v1/pools/web/backends/nobody".to_owned(), 404, None),
        ("POST /api/v1/pools/nobody/backends/a:1/drain".to_owned(), 404, None),
        ("GET /api/v1/pools/web/backends/%ff".to_owned(), 400, None),
    ] {
        let (got, body, allowed) = ask_admin(&evenkeel, &request, json);
        assert_eq!((got, allowed.as_deref(), body["error"].is_string()), (status, allow, true), "{request}");
    }
}
