//! `script`: hooks in a file, with requests that pass them.

use std::path::Path;
use std::process::Command;

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin, wait_until};

/// A process whose one route has this script; `more` are other options, and `rest` the rest of the configuration.
pub fn start(script: &str, more: &str, rest: &str, origin: &Origin) -> Evenkeel {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), script);
    let program = env!("CARGO_BIN_EXE_evenkeel");
    let evenkeel = Evenkeel::start_program(program.as_ref(), &yaml(more, rest, origin), dir);
    wait_until("/readyz says 200", || evenkeel.page("/readyz").status == 200);
    evenkeel
}

fn yaml(more: &str, rest: &str, origin: &Origin) -> String {
    let pools = pool(&[origin.address], "");
    format!("{rest}{pools}routes: [{{ pool: web, filters: [{{ script: {{ file: hooks.lua{more} }} }}] }}]\n")
}

/// At once, as an editor does it.
pub fn write(dir: &Path, script: &str) {
    std::fs::write(dir.join("new"), script).unwrap();
    std::fs::rename(dir.join("new"), dir.join("hooks.lua")).unwrap();
}

/// A script with this body of a request_filter.
pub fn on_request(body: &str) -> String {
    format!("function request_filter(request)\n  {body}\nend\n")
}

#[test]
fn every_hook_sees_and_changes_its_message() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: origin\r\nX-Inner: secret\r\n\r\nhi")?;
        exchange.hang()
    });
    let script = r#"
local seen = 0
function early_request_filter(request)
    request:set_header("X-Early", "yes")
end
function request_filter(request)
    if request:header("x-user") == nil then
        return request:respond(401, { ["WWW-Authenticate"] = "Basic" }, "who are you?\n")
    end
    request.ctx.user = request:header("x-user")
    request:set_path("/in" .. request:path())
end
function upstream_request_filter(request)
    request:set_header("X-Known-As", request.ctx.user .. " " .. request:pool() .. " " .. request:backend() .. " " .. request:attempt())
    request:remove_header("x-user")
end
function upstream_response_filter(request, response)
    response:set_status(203)
end
function response_filter(request, response)
    response:remove_header("server")
    response:set_header("X-Script", request:client() .. " " .. response:status() .. " " .. tostring(response:header("x-inner")))
end
function logging(request, response)
    log.warn("ended", response:status(), request:path(), response:header("x-script"), request:failure())
end
"#;
    let evenkeel = start(script, "", "", &origin);
    let response = evenkeel.client().get_with("/a?b", "X-User: alice\r\n");
    assert_eq!((response.status, response.header("x-script")), (203, Some("127.0.0.1 203 secret")));
    assert_eq!(response.header("server"), None);
    let seen = origin.last();
    assert_eq!(seen.head.start, "GET /in/a?b HTTP/1.1");
    let known_as = format!("alice web {} 1", origin.address);
    assert_eq!(seen.head.header("x-known-as"), Some(known_as.as_str()));
    assert_eq!((seen.head.header("x-user"), seen.head.header("x-early")), (None, Some("yes")));
    let said = evenkeel.logged("script hooks.lua: ended", 1);
    assert!(said[0].ends_with("ended 203 /in/a 127.0.0.1 203 secret nil"), "{said:?}");
    let refused = evenkeel.client().get("/");
    assert_eq!((refused.status, refused.text().as_str()), (401, "who are you?\n"));
    assert_eq!(refused.header("www-authenticate"), Some("Basic"));
    assert_eq!(
        refused.header("x-script"),
        Some("127.0.0.1 401 nil"),
        "an answer of its own passes its response_filter"
    );
    assert_eq!(origin.count(), 1, "nobody is asked");
}

#[test]
fn a_bound_that_is_hit_refuses_the_request_and_no_other() {
    let origin = Origin::saying("hi");
    let script = on_request(
        "local what = request:header('x-do')\n\
         if what == 'loop' then while true do end end\n\
         if what == 'eat' then return string.rep('x', 100000000) end\n\
         if what == 'fail' then error('so') end\n\
         request:set_header('x-passed', 'yes')",
    );
    let mut evenkeel = start(&script, "", "", &origin);
    let mut client = evenkeel.client();
    for (what, cause, message) in [
        ("loop", "time", "hooks.lua:3: took more than 5ms"),
        ("eat", "memory", "hooks.lua: needed more than 4.0 MiB of memory"),
        ("fail", "error", "hooks.lua:5: so"),
    ] {
        let refused = evenkeel.client().get_with("/", &format!("X-Do: {what}\r\n"));
        assert_eq!((refused.status, refused.reason()), (500, "internal"), "{what}");
        let failures = format!("evenkeel_script_failures_total{{cause=\"{cause}\",script=\"hooks.lua\"}}");
        assert_eq!(evenkeel.metric(&failures), 1.0);
        // Not more than once a second.
        wait_until("it is said", || {
            evenkeel.client().get_with("/", &format!("X-Do: {what}\r\n"));
            evenkeel.lines(message).len() == 1
        });
        assert_eq!(client.get("/").status, 200, "another client goes on");
        assert_eq!(origin.last().head.header("x-passed"), Some("yes"));
    }
    assert!(evenkeel.lines("FilterFailed").is_empty(), "said once: {}", evenkeel.log());
    assert!(evenkeel.alive());
}

#[test]
fn a_hook_that_fails_may_let_the_request_go_on() {
    let origin = Origin::saying("hi");
    let script = on_request("request:set_header('x-before', '1') error('so') request:set_header('x-after', '1')")
        + "function response_filter(request, response) while true do end end\n";
    let evenkeel = start(&script, ", on_error: continue, time: 2ms", "", &origin);
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.text().as_str()), (200, "hi"));
    let seen = origin.last();
    assert_eq!((seen.head.header("x-before"), seen.head.header("x-after")), (Some("1"), None));
    assert_eq!(evenkeel.metric("evenkeel_script_failures_total{cause=\"time\",script=\"hooks.lua\"}"), 1.0);
}

#[test]
fn a_failure_after_the_backend_answered_is_an_answer_too() {
    let origin = Origin::saying("hi");
    let evenkeel = start("function response_filter(request, response)\n error('so') end", "", "", &origin);
    for _ in 0..2 {
        let response = evenkeel.client().get("/");
        assert_eq!((response.status, response.reason()), (500, "internal"));
    }
}

#[test]
fn a_reload_takes_a_changed_file_and_no_broken_one() {
    let origin = Origin::saying("hi");
    let adds = |value: &str| {
        format!(
            "local n = 0 function response_filter(request, response) n = n + 1 response:set_header('x-script', '{value}') response:set_header('x-n', n) end"
        )
    };
    let evenkeel = start(&adds("first"), "", "threads: 1\n", &origin);
    let config = yaml("", "threads: 1\n", &origin);
    let headers = || {
        let response = evenkeel.get("/");
        ["x-script", "x-n"].map(|name| response.header(name).unwrap().to_owned())
    };
    assert_eq!(headers(), ["first", "1"]);
    assert_eq!(headers(), ["first", "2"]);
    assert!(evenkeel.reload(&config).ends_with("routes 1 kept"));
    assert_eq!(headers(), ["first", "3"], "what has not changed goes on with what it knows");
    write(evenkeel.dir.path(), "function response_filter(request, response) response: end");
    let output = evenkeel.ask("reload", &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("routes[0].filters[0].script.file: hooks.lua:1: Expected"), "{said}");
    assert_eq!(headers(), ["first", "4"], "the last good one serves");
    write(evenkeel.dir.path(), &adds("second"));
    evenkeel.reload(&config);
    assert_eq!(headers(), ["second", "1"]);
}

#[test]
fn a_watched_script_is_loaded_when_it_changes() {
    let origin = Origin::saying("hi");
    let says = |value: &str| {
        format!("function response_filter(request, response) response:set_header('x-script', '{value}') end")
    };
    let evenkeel = start(&says("first"), "", "watch: true\n", &origin);
    assert_eq!(evenkeel.get("/").header("x-script"), Some("first"));
    write(evenkeel.dir.path(), "function response_filte() end");
    let said = evenkeel.logged("not reloaded, serving on as before", 1);
    assert!(
        said[0].contains("did you mean 'response_filter'?")
            || evenkeel.log().contains("did you mean 'response_filter'?")
    );
    assert_eq!(evenkeel.get("/").header("x-script"), Some("first"));
    write(evenkeel.dir.path(), &says("second"));
    wait_until("the other script is loaded", || evenkeel.get("/").header("x-script") == Some("second"));
}

#[test]
fn mistakes_have_their_place() {
    let origin = Origin::saying("hi");
    let dir = tempfile::tempdir().unwrap();
    let check = |script: &str, options: &str| {
        write(dir.path(), script);
        let file = dir.path().join("evenkeel.yaml");
        let pools = pool(&[origin.address], "");
        let listeners = "listeners: [{ address: 127.0.0.1:0 }]\n";
        std::fs::write(&file, format!("filters:\n  - script: {options}\n{listeners}{pools}")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_evenkeel")).args(["check", "-c"]).arg(&file).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let good = on_request("");
    for (script, options, message) in [
        ("function request_filter(", "{ file: hooks.lua }", "2:21: filters[0].script.file: hooks.lua:1: Expected"),
        (
            "request_filte = print",
            "{ file: hooks.lua }",
            "file: hooks.lua: function 'request_filte' is no hook, did you mean 'request_filter'?",
        ),
        ("", "{ file: hooks.lua }", "file: hooks.lua: has no function of a hook; hooks are early_request_filter, "),
        (&good, "{ file: absent.lua }", "2:21: filters[0].script.file: not usable here: "),
        (&good, "{}", "2:5: filters[0].script: needs 'file'"),
        (&good, "{ file: hooks.lua, time: 2s }", "filters[0].script.time: must be 1ms to 1s"),
        (&good, "{ file: hooks.lua, memory: 1KiB }", "filters[0].script.memory: must be 1MiB to 1GiB"),
        (&good, "{ file: hooks.lua, on_error: ignore }", "filters[0].script.on_error: must be refuse or continue"),
        (&good, "{ file: hooks.lua, tim: 2ms }", "filters[0].script.tim: unknown key, did you mean 'time'?"),
    ] {
        let said = check(script, options);
        assert!(said.contains(message), "{options}: {said}");
    }
}
