//! `request_id` over sockets: which header, which form, whose ids are believed, and who is told.

use crate::support::evenkeel::{check_filter, pool};
use crate::support::http2::Http2Client;
use crate::support::{Evenkeel, Origin};

fn start(options: &str, more: &str, origin: &Origin) -> Evenkeel {
    let yaml = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\n";
    Evenkeel::start(&format!(
        "{yaml}{more}filters: [{{ request_id: {{ {options} }} }}]\n{}",
        pool(&[origin.address], "")
    ))
}

/// The id that the client is told, which the backend and the log know as well.
#[track_caller]
fn id(evenkeel: &Evenkeel, origin: &Origin, header: &str, headers: &str) -> String {
    let response = evenkeel.client().get_with("/", headers);
    let id = response.header(header).unwrap().to_owned();
    assert_eq!(origin.last().head.all(header), [&id]);
    let logged = evenkeel.requests(origin.count()).pop().unwrap();
    assert_eq!(logged["request_id"], *id);
    id
}

#[test]
fn the_client_is_told_what_the_backend_and_the_log_know() {
    let origin = Origin::saying("in");
    let evenkeel = start("", "", &origin);
    let own = id(&evenkeel, &origin, "x-request-id", "X-Request-Id: mine\r\n");
    assert!(own.len() == 32 && own.bytes().all(|b| b.is_ascii_hexdigit()), "{own}");
    assert_ne!(own, id(&evenkeel, &origin, "x-request-id", ""));
    let two = Http2Client::connect(evenkeel.http());
    assert_eq!(two.get("/").header("x-request-id"), origin.last().head.header("x-request-id").unwrap());
}

#[test]
fn it_has_the_header_and_the_form_that_were_asked_for() {
    let origin = Origin::saying("in");
    for (format, version) in [("uuid", '4'), ("uuid_v7", '7')] {
        let evenkeel = start(&format!("header: X-Correlation-Id, format: {format}"), "", &origin);
        let response = evenkeel.client().get_with("/", "X-Correlation-Id: mine\r\nX-Request-Id: mine\r\n");
        let id = response.header("x-correlation-id").unwrap();
        assert_eq!((id.len(), id.chars().nth(14)), (36, Some(version)), "{id}");
        let head = origin.last().head;
        assert_eq!(
            (head.all("x-correlation-id"), head.header("x-request-id")),
            (vec![id], None),
            "one id, in one header"
        );
        assert_eq!(evenkeel.requests(1)[0]["request_id"], *id);
    }
}

#[test]
fn whose_ids_are_believed() {
    let origin = Origin::saying("in");
    let trusted = "trusted_proxies: [127.0.0.1]\n";
    for (options, more, taken) in [
        ("", "", false),
        ("", trusted, true),
        ("trust: everybody", "", true),
        ("trust: nobody", trusted, false),
        ("header: X-Id", trusted, true),
    ] {
        let evenkeel = start(options, more, &origin);
        let header = if options.contains("X-Id") { "x-id" } else { "x-request-id" };
        let response = evenkeel.client().get_with("/", &format!("{header}: theirs\r\n"));
        assert_eq!(response.header(header) == Some("theirs"), taken, "{options} {more}");
        assert_eq!(origin.last().head.header(header), response.header(header), "{options} {more}");
    }
    let evenkeel = start("trust: everybody", "", &origin);
    let long = format!("X-Request-Id: {}\r\n", "a".repeat(200));
    assert_eq!(id_of(&evenkeel, &long).len(), 32, "one that is too long is not");
}

fn id_of(evenkeel: &Evenkeel, headers: &str) -> String {
    evenkeel.client().get_with("/", headers).header("x-request-id").unwrap().to_owned()
}

#[test]
fn a_client_need_not_be_told_and_is_told_with_refusals_too() {
    let origin = Origin::saying("in");
    let evenkeel = start("response: false, format: uuid", "", &origin);
    assert_eq!(evenkeel.get("/").header("x-request-id"), None);
    assert_eq!(origin.last().head.header("x-request-id").map(str::len), Some(36));
    let evenkeel = start("format: uuid", "routes: [{ match: { path: /a }, pool: web }]\n", &origin);
    let refused = evenkeel.get("/nowhere");
    assert_eq!((refused.status, refused.header("x-request-id").map(str::len)), (404, Some(36)));
}

#[test]
fn its_mistakes_have_their_place() {
    for (filter, message) in [
        ("request_id: { header: 'a b' }", "3:27: filters[0].request_id.header: is not the name of a header"),
        (
            "request_id: { header: Content-Length }",
            "3:27: filters[0].request_id.header: cannot be changed: content-length is about",
        ),
        ("request_id: { header: host }", "3:27: filters[0].request_id.header: cannot be Host"),
        ("request_id: { format: guid }", "3:27: filters[0].request_id.format: must be hex, uuid or uuid_v7"),
        ("request_id: { trust: all }", "filters[0].request_id.trust: must be proxies, everybody or nobody"),
        ("request_id: { respons: true }", "filters[0].request_id.respons: unknown key, did you mean 'response'?"),
    ] {
        let said = check_filter(filter);
        assert!(said.contains(message), "{filter}: {said}");
    }
}
