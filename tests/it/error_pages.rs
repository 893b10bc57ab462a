//! The filter `error_pages`: pages of one's own in place of ours and of backends'.

use std::fs;
use std::path::Path;

use crate::support::evenkeel::{check, pool};
use crate::support::{Evenkeel, Origin, wait_until};

fn failing() -> Origin {
    Origin::new(|exchange| match exchange.path() {
        "/empty" => exchange.answer("500 Internal Server Error", ""),
        "/gone" => exchange.answer("410 Gone", "theirs"),
        "/fine" => exchange.ok("fine"),
        _ => exchange.answer("500 Internal Server Error", "theirs, and long"),
    })
}

fn pages(dir: &Path) -> String {
    fs::write(dir.join("5xx.html"), "<h1>{status} {reason} {request_id}</h1>").unwrap();
    fs::write(dir.join("404.json"), "{\"error\":\"{reason}\"}").unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    format!("{{ 5xx: {}, '404': {} }}", path("5xx.html"), path("404.json"))
}

#[test]
fn refusals_of_ours_have_our_pages() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), failing());
    let evenkeel = Evenkeel::start(&format!(
        "filters: [{{ error_pages: {{ pages: {} }} }}]\npools:\n  web: {{ backends: ['{}'] }}\n  dead: {{ backends: ['127.0.0.1:1'], health_check: off }}\n\
         routes: [{{ match: {{ host: test }}, pool: web }}, {{ match: {{ host: dead }}, pool: dead }}]\n",
        pages(dir.path()),
        origin.address
    ));
    let ask = |method: &str, host: &str, path: &str| {
        let mut client = evenkeel.client();
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.read_to(method)
    };
    let dead = ask("GET", "dead", "/");
    let id = dead.head.header("x-request-id").unwrap_or_default().to_owned();
    assert_eq!((dead.status, dead.reason()), (502, "connect_failed"), "the reason is told all the same");
    assert_eq!(dead.head.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        dead.text().starts_with("<h1>502 connect_failed ") && dead.text().ends_with(&format!("{id}</h1>")),
        "{}",
        dead.text()
    );
    let nowhere = ask("GET", "nowhere", "/");
    assert_eq!((nowhere.status, nowhere.text()), (404, "{\"error\":\"no_route\"}".to_owned()));
    assert_eq!(nowhere.head.header("content-type"), Some("application/json"));
    let head = ask("HEAD", "nowhere", "/");
    assert_eq!((head.status, head.head.header("content-type")), (404, Some("application/json")));
    // It was that of the text in whose place the page stands.
    assert_eq!(head.head.header("content-length"), nowhere.head.header("content-length"));
    assert_eq!(ask("GET", "test", "/").text(), "theirs, and long", "a backend's stays");
}

#[test]
fn those_of_backends_too_if_asked_for() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), failing());
    let evenkeel = Evenkeel::start(&format!(
        "filters: [{{ error_pages: {{ pages: {}, of: all }} }}]\n{}",
        pages(dir.path()),
        pool(&[origin.address], "ejection: off")
    ));
    let mut client = evenkeel.client();
    let page = client.get("/");
    assert_eq!((page.status, page.head.header("content-type")), (500, Some("text/html; charset=utf-8")));
    assert!(page.text().starts_with("<h1>500  "), "{}", page.text());
    assert_eq!(client.get("/empty").body, b"", "there is no body that a page could stand for");
    assert_eq!(client.get("/gone").text(), "theirs", "there is no page for it");
    assert_eq!(client.get("/fine").text(), "fine", "the connection goes on");
}

#[test]
fn a_reload_takes_a_page_that_has_changed() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), failing());
    let yaml = format!(
        "watch: true\nfilters: [{{ error_pages: {{ pages: {} }} }}]\n{}routes: [{{ match: {{ path: /x }}, pool: web }}]\n",
        pages(dir.path()),
        pool(&[origin.address], "")
    );
    let evenkeel = Evenkeel::start(&yaml);
    assert_eq!(evenkeel.get("/").text(), "{\"error\":\"no_route\"}");
    fs::write(dir.path().join("404.json"), "{}").unwrap();
    wait_until("the file is watched", || evenkeel.get("/").text() == "{}");
    // One that is no good is not taken.
    fs::write(dir.path().join("404.json"), [0xff; 10]).unwrap();
    assert_eq!(evenkeel.logged("not reloaded", 1).len(), 1);
    assert_eq!(evenkeel.get("/").text(), "{}");
}

#[test]
fn its_mistakes_have_their_place() {
    let yaml = |pages: &str| {
        format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nfilters:\n  - error_pages:\n      {pages}\npools: {{ web: {{ backends: [127.0.0.1:1] }} }}\n"
        )
    };
    for (pages, message) in [
        ("pages: {}", "4:7: filters[0].error_pages.pages: needs at least one, like { 5xx: pages/5xx.html }"),
        (
            "pages: { 200: a.html }",
            "filters[0].error_pages.pages: must be statuses from 400 on, or 4xx and 5xx, got '200'",
        ),
        (
            "pages: { 404: nowhere.html }",
            "filters[0].error_pages.pages: not usable here: nowhere.html: no such file or folder",
        ),
        ("pages: { 404: a.html }\n      off: all", "5:7: filters[0].error_pages.off: unknown key, did you mean 'of'?"),
        ("of: mine", "4:11: filters[0].error_pages.of: must be ours or all"),
    ] {
        let said = check(&yaml(pages));
        assert!(said.contains(message), "{pages}: {said}");
    }
}
