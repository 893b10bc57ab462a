//! What a script tries to get out of its bounds with.

use std::time::Instant;

use super::*;
use crate::filter::script::failure::Cause;

/// Each ends because of this, and soon: a step takes a few milliseconds at most, in a build that is not optimised as well.
fn all_end(cause: Cause, scripts: &[(&str, &str)]) {
    for (what, lines) in scripts {
        let mut tried = Tried::new(&in_hook(lines));
        let begin = Instant::now();
        let failure = tried.request_filter().err().unwrap_or_else(|| panic!("{what} does not fail"));
        assert_eq!(failure.cause, cause, "{what}: {}", failure.message);
        assert!(failure.message.starts_with("hooks.lua"), "{what}: {}", failure.message);
        assert!(begin.elapsed().as_secs() < 2, "{what} took {:?}", begin.elapsed());
        threads::forget(&tried.source);
        // The next is not worse off.
        assert_eq!(says("say(1 + 1)"), "2");
    }
}

#[test]
fn what_does_not_end_is_ended() {
    all_end(
        Cause::Time,
        &[
            ("a loop", "while true do end"),
            ("a loop that catches", "while true do pcall(function() while true do end end) end"),
            ("a tree that catches", "local function f() pcall(f) pcall(f) end f()"),
            ("a handler of errors", "while true do xpcall(error, function() while true do end end) end"),
            ("a coroutine", "coroutine.wrap(function() while true do end end)()"),
            ("a comparison", "table.sort({ 3, 2, 1 }, function(a, b) while true do end end)"),
            ("a length", "local t = setmetatable({}, { __len = function() while true do end end }) return #t"),
            ("a replacement", "string.gsub('abc', '.', function() while true do end end)"),
            ("calls of ours", "while true do request:header('x-tenant') end"),
        ],
    );
}

#[test]
fn a_single_call_of_the_library_does_not_take_long() {
    let text = "local text = string.rep('a', 20000) ";
    all_end(
        Cause::Time,
        &[
            (
                "a pattern that backtracks",
                &format!("{text} string.find(text, string.rep('a?', 15) .. string.rep('a', 15) .. 'b')"),
            ),
            ("nested repetitions", &format!("{text} string.match(text, '.-.-.-.-b')")),
            ("an iterator of matches", &format!("{text} for a in text:gmatch('.-.-.-b') do end")),
            ("a replacement", &format!("{text} text:gsub('(.-)*(.-)*x', 'y')")),
            ("a large sort", "local t = table.create(100000, 0) for i = 1, 1e9 do table.sort(t) end"),
            ("many searches", "local t = table.create(100000, 0) for i = 1, 1e9 do table.find(t, 1) end"),
            ("many joins", "local t = table.create(100000, '') while true do table.concat(t) end"),
        ],
    );
    all_end(
        Cause::Error,
        &[
            ("an endless move", "table.move({}, 1, 2147483646, 2)"),
            ("a pattern as long as its text", "local t = string.rep('a', 100000) string.find(t, t .. '[b]')"),
            ("a set as long as its text", "local t = string.rep('a', 100000) string.match(t, '[' .. t .. ']*b')"),
            ("a separator as long as its text", "local t = string.rep('a', 100000) string.split(t, t)"),
        ],
    );
    // As quadratic as those, done in another way.
    assert_eq!(
        says("local t = string.rep('a', 400000) say(string.find(t, string.rep('a', 200000) .. 'b', 1, true))"),
        "nil"
    );
}

#[test]
fn memory_is_bounded() {
    all_end(
        Cause::Memory,
        &[
            ("a text", "return string.rep('x', 1000000000)"),
            ("texts", "local t = {} for i = 1, 1000 do t[i] = string.rep('x', 1000000) .. i end"),
            ("a text that doubles", "local s = 'x' while true do s = s .. s end"),
            ("a buffer", "return buffer.create(1000000000)"),
            ("a table", "return table.create(10000000, 1)"),
            ("a reply", "request:respond(200, string.rep('x', 100000000))"),
        ],
    );
    let mut grows = Tried::new(&in_hook("local t = {} while true do t[#t + 1] = {} end"));
    assert_ne!(grows.request_filter().err().unwrap().cause, Cause::Error, "whichever bound is reached first");
}

#[test]
fn a_script_that_catches_the_end_of_its_time_has_failed_all_the_same() {
    let failure = fails("\npcall(function()\nwhile true do end\nend)");
    assert_eq!((failure.cause, &*failure.message), (Cause::Time, "hooks.lua:3: took more than 50ms"));
}

#[test]
fn a_stack_is_bounded() {
    for (what, lines) in [
        ("calls", "local function f() return 1 + f() end f()"),
        ("calls of the library", "local t = setmetatable({}, { __index = function(t, k) return t[k] end }) return t.x"),
        ("coroutines", "local function f() return coroutine.wrap(f)() end f()"),
        ("results", "return table.unpack({}, 1, 1e8)"),
        ("captures", "return string.find('a', string.rep('(', 1000))"),
    ] {
        assert_eq!(fails(lines).cause, Cause::Error, "{what}");
    }
}

#[test]
fn there_is_no_way_out() {
    for name in [
        "io",
        "os",
        "debug",
        "package",
        "require",
        "load",
        "loadstring",
        "dofile",
        "loadfile",
        "getfenv",
        "setfenv",
        "newproxy",
        "collectgarbage",
        "gcinfo",
        "host",
    ] {
        assert_eq!(says(&format!("say({name})")), "nil", "{name}");
    }
    let failure = fails("coroutine.yield(1)");
    assert!(failure.message.contains("yield"), "{}", failure.message);
    let bytecode = mlua::chunk::Compiler::new().compile("function request_filter() end").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hooks.lua");
    std::fs::write(&path, bytecode).unwrap();
    assert!(Source::read("hooks.lua".as_ref(), path, TIME, MEMORY).is_err(), "bytecode is not checked by anybody");
}

#[test]
fn what_is_global_cannot_be_changed() {
    for lines in [
        "leak = 1",
        "request_filter = nil",
        "string.rep = nil",
        "getmetatable('').__index = nil",
        "log.info = nil",
        "request.header = nil",
        "rawset(request, 'header', nil)",
        "rawset(_G, 'leak', 1)",
        "rawset(request.ctx, 'leak', 1)",
        "setmetatable(request, nil)",
        "setmetatable(_G, nil)",
        "getmetatable(request).__index = nil",
    ] {
        let failure = fails(lines);
        assert_eq!(failure.cause, Cause::Error, "{lines}: {}", failure.message);
        assert!(failure.message.starts_with("hooks.lua:1: "), "{lines}: {}", failure.message);
    }
}

#[test]
fn a_vm_that_was_full_is_replaced() {
    let text = "local kept = {} function request_filter(request) kept[#kept + 1] = string.rep('x', 1000000) .. #kept request:set_header('n', #kept) end";
    let mut tried = Tried::new(text);
    let failure = (0..10).find_map(|_| tried.request_filter().err()).unwrap();
    assert_eq!(failure.message, "hooks.lua: needed more than 4.0 MiB of memory");
    threads::forget(&tried.source);
    tried.request_filter().unwrap();
    assert_eq!(tried.header("n"), Some("1"));
}
