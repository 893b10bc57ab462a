//! What a script makes of a request or a response is still HTTP.

use crate::scripts::{on_request, start, write};
use crate::support::evenkeel::pool;
use crate::support::http2::Http2Client;
use crate::support::{Evenkeel, Origin, Then, wait_until};

/// What is left of the path was cut where the match had ended: a path of the script's own came out in pieces, and in a redirect
/// it went on with the name of the host.
#[test]
fn a_path_that_a_script_has_set_is_not_cut() {
    let origin = Origin::saying("hi");
    let script = on_request("request:set_path('/elsewhere.example/' .. request:query())");
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &script);
    let route = |path: &str, action: &str| {
        format!(
            "  - {{ match: {{ path_prefix: {path} }}, filters: [{{ script: {{ file: hooks.lua }} }}], {action} }}\n"
        )
    };
    let routes = route("/old", "pool: web, rewrite: { prefix: / }")
        + &route("/away", "redirect: { host: good.example, prefix: / }");
    let yaml = format!("{}routes:\n{routes}", pool(&[origin.address], ""));
    let evenkeel = Evenkeel::start_program(env!("CARGO_BIN_EXE_evenkeel").as_ref(), &yaml, dir);
    wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
    assert_eq!(evenkeel.get("/old/x?q").status, 200);
    assert_eq!(origin.last().head.word(1), "/elsewhere.example/q?q");
    let location = evenkeel.get("/away/x?q").header("location").map(str::to_owned);
    assert_eq!(location.as_deref(), Some("http://good.example/elsewhere.example/q?q"));
}

/// HTTP/1.1 has no request without a `Host`, and HTTP/2 none without an `:authority`.
#[test]
fn a_request_keeps_its_host() {
    let origin = Origin::saying("hi");
    let script = on_request("pcall(function() request:remove_header('host') end)");
    let listener = "filters: [set_headers: { request: { Host: '{header.x-none}' } }]\n";
    let evenkeel = start(&script, "", listener, &origin);
    assert_eq!(evenkeel.get("/").status, 200);
    assert_eq!(origin.last().head.all("host"), ["test"]);
}

/// A 204 with a length, or in HTTP/2 with a body, is no HTTP to its client, and a 200 without any ended with its connection.
#[test]
fn a_status_that_a_script_sets_decides_whether_there_is_a_body() {
    let origin = Origin::new(|exchange| match exchange.path() {
        "/none" => exchange.send("HTTP/1.1 204 No Content\r\n\r\n").map(|()| Then::Keep),
        _ => exchange.ok("a body"),
    });
    let set = |name: &str, other: &str| {
        format!(
            "function {name}(request, response)\n  local to = request:header('{other}')\n  \
             if to then response:set_status(tonumber(to)) end\nend\n"
        )
    };
    let script = set("response_filter", "x-to") + &set("upstream_response_filter", "x-early");
    let listener = "listeners: [{ address: 127.0.0.1:0, h2c: true }]\n";
    let evenkeel = start(&script, "", listener, &origin);
    let mut client = evenkeel.client();
    let http2 = Http2Client::connect(evenkeel.http());
    for (path, header, status, length, body) in [
        ("/", "x-to", 204, None, ""),
        ("/", "x-early", 204, None, ""),
        ("/", "x-to", 304, None, ""),
        ("/none", "x-to", 200, Some("0"), ""),
        ("/none", "x-early", 200, Some("0"), ""),
        ("/", "x-to", 404, Some("6"), "a body"),
    ] {
        let what = format!("{path} {header} {status}");
        let old = client.get_with(path, &format!("{header}: {status}\r\n"));
        assert_eq!((old.status, old.header("content-length"), &*old.text()), (status, length, body), "{what}");
        let new = http2.ask(http2.request("GET", path, &[(header, &status.to_string())]), "");
        assert_eq!((new.head.status.as_u16(), &*new.body), (status, body), "{what} over HTTP/2");
        assert_eq!(new.header("content-length"), length.unwrap_or_default(), "{what} over HTTP/2");
    }
}

/// The client was told that there is no tunnel, and then neither side heard the other, nor its end.
#[test]
fn a_tunnel_whose_status_a_script_changes_has_an_end() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        exchange.hang()
    });
    let script = "function response_filter(request, response)\n  response:set_status(403)\nend\n";
    let evenkeel = start(script, "", "", &origin);
    let mut client = evenkeel.client();
    let asked = "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let refused = client.send(asked).read();
    assert_eq!((refused.status, refused.reason(), client.closed()), (403, "internal", true));
    wait_until("nothing is under way", || evenkeel.in_flight() == 0);
    assert!(evenkeel.log().contains("a filter has changed a status to or from 101"));
}
