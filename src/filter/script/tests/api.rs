//! What scripts see and change.

use super::*;

#[test]
fn a_request_is_seen() {
    for (lines, said) in [
        ("say(request:method())", "GET"),
        ("say(request:path())", "/a/b"),
        ("say(request:query())", "c=d"),
        ("say(request:header('X-Tenant'))", "acme"),
        ("say(request:header('x-absent'))", "nil"),
        ("say(#request:headers('x-tenant'))", "1"),
        ("say(request:client())", "nil"),
        ("say(#request:id())", "32"),
        ("say(request:pool())", "nil"),
        ("say(request:attempt())", "0"),
        ("say(request:elapsed() >= 0)", "true"),
        ("say(request:failure())", "nil"),
        ("say(now() > 1.5e9)", "true"),
        ("say(string.find('a.b', '.', 1, true))", "2"),
        ("say(select(2, string.find('xabab', 'ab', -2, true)))", "5"),
        ("say(string.find('abc', 'b'))", "2"),
        ("local t = { 3, 1, 2 } table.sort(t) say(table.concat(t))", "123"),
        ("say(table.concat(table.move({ 1, 2 }, 1, 2, 2), ','))", "1,1,2"),
        ("say(table.concat(string.split('a,b', ','), ';'))", "a;b"),
    ] {
        assert_eq!(says(lines), said, "{lines}");
    }
}

#[test]
fn headers_are_set_added_and_removed() {
    let mut tried = Tried::new(&in_hook(
        "request:set_header('X-Seen', request:header('x-tenant')) request:add_header('x-many', 1) \
         request:add_header('X-Many', 2) request:remove_header('X-Tenant')",
    ));
    tried.request_filter().unwrap();
    assert_eq!((tried.header("x-seen"), tried.header("x-tenant")), (Some("acme"), None));
    let many: Vec<_> = tried.request.headers.get_all("x-many").iter().collect();
    assert_eq!(many, ["1", "2"]);
    let mut wire = Vec::new();
    tried.request.header_to_h1_wire(&mut wire);
    assert!(String::from_utf8(wire).unwrap().contains("X-Seen: acme"), "as it is written");
}

#[test]
fn more_names_than_are_remembered_are_told_apart() {
    let text = in_hook(
        "for i = 1, 600 do request:set_header('x-' .. i, i) end for i = 1, 600 do assert(request:header('x-' .. i) == tostring(i)) end",
    );
    Tried::new(&text).request_filter().unwrap();
}

#[test]
fn what_would_split_a_message_is_refused() {
    for (lines, why) in [
        ("request:set_header('x', 'a\\r\\nb: c')", "hooks.lua:1: x: a value may not have characters that end a line"),
        ("request:set_header('x y', 'a')", "hooks.lua:1: \"x y\" is not the name of a header"),
        ("request:set_path('a')", "hooks.lua:1: \"a\" is not a path, with or without a query, that starts with '/'"),
        (
            "request:set_path('/a b')",
            "hooks.lua:1: \"/a b\" is not a path, with or without a query, that starts with '/'",
        ),
        ("request:respond(99)", "hooks.lua:1: the status must be 200 to 599, got 99"),
    ] {
        assert_eq!(fails(lines).message, why, "{lines}");
    }
    for name in ["Content-Length", "transfer-encoding", "Connection", "upgrade"] {
        let failure = fails(&format!("request:remove_header('{name}')"));
        assert!(failure.message.contains("not a script's to change"), "{}", failure.message);
        assert!(fails(&format!("request:set_header('{name}', '1')")).message.starts_with("hooks.lua:1: "));
        assert!(fails(&format!("request:respond(200, {{ ['{name}'] = '1' }})")).message.starts_with("hooks.lua:1: "));
    }
    for lines in [
        "request:set_header(nil, 'a')",
        "request:set_header('x')",
        "request:set_header('x', {})",
        "request.set_header('x', 'y')",
    ] {
        assert!(fails(lines).message.starts_with("hooks.lua:1: "), "{}", fails(lines).message);
    }
}

#[test]
fn a_path_keeps_its_query_unless_it_has_one() {
    for (lines, target) in
        [("request:set_path('/x')", "/x?c=d"), ("request:set_path('/x?y')", "/x?y"), ("request:set_path('/x?')", "/x?")]
    {
        let mut tried = Tried::new(&in_hook(lines));
        tried.request_filter().unwrap();
        assert_eq!(tried.request.uri.path_and_query().unwrap().as_str(), target);
    }
}

#[test]
fn an_answer_has_a_status_headers_and_a_body() {
    let respond = |lines: &str| Tried::new(&in_hook(lines)).request_filter().unwrap();
    let reply = respond("return request:respond(403, { ['X-Why'] = 'so' }, 'no')").unwrap();
    assert_eq!((reply.status, &reply.body[..]), (403, &b"no"[..]));
    assert_eq!(reply.headers, [("X-Why".to_owned(), "so".try_into().unwrap())]);
    let reply = respond("request:respond(200, 'yes')").unwrap();
    assert_eq!((reply.headers.len(), &reply.body[..]), (0, &b"yes"[..]));
    assert!(respond("request:respond(204)").unwrap().body.is_empty());
    assert!(respond("").is_none());
}

#[test]
fn a_hook_does_what_it_may() {
    let text = "function response_filter(request, response) response:set_status(404) response:set_header('x', request:path()) \
                if request:header('fail') then request:set_header('a', 'b') end end function request_filter() end";
    let mut tried = Tried::new(text);
    tried.response_filter().unwrap();
    assert_eq!((tried.response.status.as_u16(), tried.response.headers["x"].to_str().unwrap()), (404, "/a/b"));
    tried.request.insert_header("fail", "1").unwrap();
    let failure = tried.response_filter().err().unwrap();
    assert_eq!(failure.message, "hooks.lua:1: the request has been sent: it cannot be changed in this hook");
    let early = Rights { respond: false, ..ANSWERABLE };
    let failure = Tried::new(&in_hook("request:respond(200)")).call(Hook::Request, early).err().unwrap();
    assert_eq!(failure.message, "hooks.lua:1: only request_filter may respond");
}

#[test]
fn what_is_kept_is_plain_and_bounded() {
    let text = "function request_filter(request) request.ctx.user = 'alice' request.ctx.n = 1.5 request.ctx.b = true request.ctx.gone = 1 request.ctx.gone = nil end \
                function response_filter(request, response) local c = request.ctx response:set_header('x', c.user .. c.n .. tostring(c.b) .. tostring(c.gone)) end";
    let mut tried = Tried::new(text);
    tried.request_filter().unwrap();
    tried.response_filter().unwrap();
    assert_eq!(tried.response.headers["x"], "alice1.5truenil");
    let failure = fails("request.ctx.x = {}");
    assert_eq!(failure.message, "hooks.lua:1: ctx keeps texts, numbers and booleans, not a table");
    for lines in ["for i = 1, 65 do request.ctx['k' .. i] = i end", "request.ctx.x = string.rep('x', 70000)"] {
        assert!(fails(lines).message.contains("ctx holds at most"), "{lines}");
    }
}

#[test]
fn a_request_is_not_seen_by_the_next() {
    let text = "local before function request_filter(request) if before then before:set_header('x-before', 'same') end before = request \
                request:set_header('x-kept', tostring(request.ctx.user)) request.ctx.user = 'alice' end";
    let mut first = Tried::new(text);
    first.request_filter().unwrap();
    let mut second = Tried::new(text);
    second.source = Arc::clone(&first.source);
    second.request_filter().unwrap();
    assert_eq!(first.header("x-before"), None, "an object that was kept shows the request of the call");
    assert_eq!((second.header("x-before"), second.header("x-kept")), (Some("same"), Some("nil")));
}

#[test]
fn an_error_says_where() {
    for (lines, message) in [
        ("\n\nerror('so')", "hooks.lua:3: so"),
        ("\nlocal x = nil\nreturn x.y", "hooks.lua:3: attempt to index nil with 'y'"),
        ("error({})", "hooks.lua:1: table: "),
        ("\nlog.info(request:nothing())", "hooks.lua:2: attempt to call missing method 'nothing' of table"),
    ] {
        let failure = fails(lines);
        assert!(failure.message.starts_with(message), "{}", failure.message);
    }
    let mut tried = Tried::new(&in_hook(
        "if request:header('x-tenant') == 'acme' then request:set_header('x', 'done') error('after') end",
    ));
    tried.request_filter().err().unwrap();
    assert_eq!(tried.header("x-tenant"), Some("acme"), "what was lent is given back");
    assert_eq!(tried.header("x"), Some("done"));
}
