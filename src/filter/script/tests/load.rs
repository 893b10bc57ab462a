//! What is found out when a file is loaded.

use super::*;

fn mistake(text: &str) -> String {
    source(text).err().unwrap_or_else(|| panic!("loads: {text}"))
}

#[test]
fn a_mistake_is_told_with_its_line() {
    for (text, message) in [
        ("function request_filter(request)\n  if x then\nend", "hooks.lua:"),
        ("local x = 1\nx.y = 2", "hooks.lua:2: attempt to index number with 'y'"),
        ("\nwhile true do end", "hooks.lua:2: takes too long to load"),
        ("local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1000) .. i end", "hooks.lua: "),
        ("\nrequest:header('x')", "hooks.lua:2: attempt to index nil with 'header'"),
    ] {
        let said = mistake(text);
        assert!(said.starts_with(message), "{said}");
    }
}

#[test]
fn a_file_without_a_hook_or_with_one_misspelt_is_a_mistake() {
    assert_eq!(
        mistake("\nfunction request_filte(request)\nend"),
        "hooks.lua:2: function 'request_filte' is no hook, did you mean 'request_filter'?"
    );
    let known = "early_request_filter, request_filter, upstream_request_filter, upstream_response_filter, response_filter, logging";
    for text in ["", "local function request_filter() end", "function help() end"] {
        assert_eq!(mistake(text), format!("hooks.lua: has no function of a hook; hooks are {known}"), "{text:?}");
    }
    assert_eq!(mistake("request_filter = 1"), "hooks.lua: request_filter must be a function, got integer");
    let source = source("function help() end function logging() end").unwrap();
    assert_eq!((source.has(Hook::Logging), source.has(Hook::Request)), (true, false));
}

#[test]
fn a_file_that_is_too_large_is_not_loaded() {
    let text = format!("function logging() end -- {}", "x".repeat(1 << 20));
    assert!(mistake(&text).contains("and may have 1048576"));
}
