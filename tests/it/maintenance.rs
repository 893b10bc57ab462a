//! `maintenance` over sockets: on, off, and by a file.

use std::fs;

use crate::support::evenkeel::{check_filter, pool};
use crate::support::http2::Http2Client;
use crate::support::{Evenkeel, Origin, wait_until};

fn start(options: &str, origin: &Origin) -> Evenkeel {
    let yaml = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\ntrusted_proxies: [127.0.0.1]\n";
    Evenkeel::start(&format!("{yaml}filters: [{{ maintenance: {{ {options} }} }}]\n{}", pool(&[origin.address], "")))
}

#[test]
fn everybody_is_told_to_come_back_but_for_a_few() {
    let origin = Origin::saying("in");
    let evenkeel = start("allow: [10.0.0.0/8], retry_after: 90s", &origin);
    let mut client = evenkeel.client();
    let refused = client.get("/");
    assert_eq!((refused.status, refused.reason(), refused.header("retry-after")), (503, "maintenance", Some("90")));
    assert_eq!(refused.text(), "503 Service Unavailable: maintenance\n");
    assert_eq!(client.get_with("/", "X-Forwarded-For: 10.1.2.3\r\n").text(), "in");
    let posted = client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello").read();
    assert_eq!((posted.status, posted.header("connection")), (503, Some("close")));
    wait_until("both are counted", || evenkeel.failures("maintenance") == 2.0);
    assert_eq!(origin.count(), 1);

    let two = Http2Client::connect(evenkeel.http());
    assert_eq!(two.get("/").head.status, 503);
    let call = two.request("POST", "/a.B/C", &[("content-type", "application/grpc"), ("te", "trailers")]);
    let answer = two.ask(call, "\0\0\0\0\0");
    assert_eq!((answer.header("grpc-status"), answer.header("grpc-message")), ("14", "maintenance"));
}

#[test]
fn a_file_switches_it() {
    let origin = Origin::saying("in");
    let evenkeel = start("file: on, body: soon", &origin);
    let flag = evenkeel.dir.path().join("on");
    assert_eq!(evenkeel.get("/").text(), "in");
    fs::write(&flag, "").unwrap();
    wait_until("it is on", || evenkeel.get("/").status == 503);
    let refused = evenkeel.get("/");
    assert_eq!((refused.text().as_str(), refused.header("content-type")), ("soon", Some("text/plain; charset=utf-8")));
    assert_eq!(refused.header("retry-after"), Some("300"));
    fs::remove_file(&flag).unwrap();
    wait_until("it is off", || evenkeel.get("/").status == 200);
}

#[test]
fn a_file_that_is_there_at_the_start_counts_from_the_first_request_on() {
    let origin = Origin::saying("in");
    let there = tempfile::NamedTempFile::new().unwrap();
    let evenkeel = start(&format!("file: {}", there.path().display()), &origin);
    assert_eq!(evenkeel.get("/").status, 503);
}

#[test]
fn a_page_is_shown_and_read_again_by_a_reload() {
    let origin = Origin::saying("in");
    let page = tempfile::Builder::new().suffix(".html").tempfile().unwrap();
    fs::write(page.path(), "<p>soon").unwrap();
    let evenkeel = start(&format!("page: {}", page.path().display()), &origin);
    let refused = evenkeel.get("/");
    assert_eq!(
        (refused.text().as_str(), refused.header("content-type")),
        ("<p>soon", Some("text/html; charset=utf-8"))
    );
    fs::write(page.path(), "<p>later").unwrap();
    assert!(evenkeel.ask("reload", &[]).status.success());
    assert_eq!(evenkeel.get("/").text(), "<p>later");
}

#[test]
fn off_is_off() {
    let origin = Origin::saying("in");
    assert_eq!(start("on: false", &origin).get("/").text(), "in");
}

#[test]
fn its_mistakes_have_their_place() {
    for (filter, message) in [
        ("maintenance: { on: yes }", "filters[0].maintenance.on: must be a boolean, got string"),
        ("maintenance: { on: true, file: a }", "3:24: filters[0].maintenance.on: cannot stand beside file"),
        ("maintenance: { body: a, page: b }", "3:26: filters[0].maintenance.body: cannot stand beside page"),
        (
            "maintenance: { page: nowhere.html }",
            "3:26: filters[0].maintenance.page: not usable here: nowhere.html: no such file or folder",
        ),
        ("maintenance: { allow: [a] }", "filters[0].maintenance.allow: must be IP addresses and ranges of them"),
        ("maintenance: { retry_after: 5 }", "retry_after: must be a duration with its unit"),
    ] {
        let said = check_filter(filter);
        assert!(said.contains(message), "{filter}: {said}");
    }
}
