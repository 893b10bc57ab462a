//! `evenkeel explain`: what would become of a request is what becomes of it.

use std::process::Output;

use serde_json::Value as Json;

use crate::support::evenkeel::{complete, run};
use crate::support::nginx::free;
use crate::support::{Evenkeel, Origin};

fn yaml(web: &str, dead: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:0, filters: [request_id] }}]
admin: {{ address: 127.0.0.1:0 }}
filters: [{{ ip_deny: [203.0.113.7] }}]
pools:
  api: {{ backends: [{{ address: '{dead}', priority: 1 }}, '{web}'], health_check: {{ tcp: {{}}, fall: 1, interval: 50ms, timeout: 40ms }} }}
  web: {{ backends: ['{web}'] }}
routes:
  - match: {{ path_prefix: /v1, headers: {{ x-canary: 'yes' }}, client: [10.0.0.0/8] }}
    pool: web
  - match: {{ path_prefix: /v1 }}
    split: [{{ pool: api, weight: 3 }}, {{ pool: web, weight: 1 }}]
    filters: [compress, {{ rate_limit: {{ rate: 1000/s }} }}]
  - match: {{ path: /old }}
    redirect: {{ path: /new }}
"
    )
}

fn text(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn it_says_which_route_and_which_backend_and_why_not() {
    let (web, dead) = (Origin::saying("web"), free());
    let evenkeel = Evenkeel::start(&yaml(&web.address.to_string(), &dead.to_string()));
    let ask = |more: &[&str]| text(&evenkeel.ask("explain", more));

    let (code, said) = ask(&["--host", "Shop.example:80", "--path", "/v1/./a?b=c", "--header", "X-Canary: yes"]);
    assert_eq!(code, Some(0), "{said}");
    let start =
        "GET /v1/./a?b=c of Shop.example:80\npath      /v1/a, in its one form\nroute     routes[1] (line 13): /v1/*\n";
    assert!(said.starts_with(start), "{said}");
    assert!(said.contains("not       routes[0] (line 11): client does not hold"), "{said}");
    let filters: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("filter    ")).collect();
    let [deny, id, compress, limit] = filters[..] else { panic!("{said}") };
    assert_eq!((deny, compress), ("ip_deny, filters[0]", "compress, routes[1].filters[0]"));
    assert!(id.starts_with("request_id, listeners[0].filters[0], for what comes to 127.0.0.1:"), "{id}");
    assert_eq!(limit, "rate_limit, routes[1].filters[1]");
    assert!(said.contains("pool      api, 75.0%: 1 of 2 backends admitted"), "{said}");
    assert!(said.contains("pool      web, 25.0%: 1 of 1 backends admitted"), "{said}");
    let plain = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(plain.contains(&format!("{} may be picked: healthy, weight 1, 0 in flight", web.address)), "{said}");
    assert!(plain.contains(&format!("{dead} not picked: unhealthy, ")), "{said}");

    // And so it is.
    assert_eq!(evenkeel.get("/v1/./a?b=c").text(), "web");
    let (_, said) = ask(&["--path", "/old"]);
    assert!(said.contains("is redirected, with status 302"), "{said}");
    assert_eq!(evenkeel.get("/old").status, 302);
    let (_, said) = ask(&["--path", "/else"]);
    assert!(said.contains("route     none: 404, no_route"), "{said}");
    assert_eq!(evenkeel.get("/else").status, 404);
    let (_, said) = ask(&["--path", "/a%2f..%2fb"]);
    assert!(said.contains("refused   400"), "{said}");
    assert_eq!(evenkeel.get("/a%2f..%2fb").status, 400);

    let canary = ["--path", "/v1", "--header", "x-canary:yes", "--client", "10.1.2.3", "--json"];
    let (_, said) = ask(&canary);
    let said: Json = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["route"]["key"], &said["pools"][0]["name"]), (&"routes[0]".into(), &"web".into()));
    assert_eq!(said["passed_over"], Json::Array(Vec::new()));
}

#[test]
fn without_a_process_it_is_explained_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let admin = free();
    let yaml = yaml("127.0.0.1:1", "127.0.0.1:2")
        .replace("admin: { address: 127.0.0.1:0 }", &format!("admin: {{ address: '{admin}' }}"));
    let file = dir.path().join("lb.yaml");
    std::fs::write(&file, complete(&yaml, &dir)).unwrap();
    let output = run(&["explain", "-c", file.to_str().unwrap(), "--path", "/v1"]);
    let (code, said) = text(&output);
    assert_eq!(code, Some(0), "{output:?}");
    assert!(said.contains("routes[1]") && said.contains("pool      api, 75.0%\n"), "{said}");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("from the file alone"), "{output:?}");

    let output = run(&["explain", "--admin", &admin.to_string()]);
    assert_eq!(output.status.code(), Some(1), "there is nothing to explain it from: {output:?}");
}

#[test]
fn a_question_that_makes_no_sense_is_wrong_usage() {
    let web = Origin::saying("web");
    let evenkeel = Evenkeel::start(&yaml(&web.address.to_string(), "127.0.0.1:2"));
    for (more, message) in
        [(["--method", "G T"], "the method is none\n"), (["--header", "a b: c"], "'a b' is not the name of a header\n")]
    {
        let output = evenkeel.ask("explain", &more);
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(2), message));
    }
}

#[test]
fn who_is_well_and_asked_only_for_what_others_cannot_take_is_said_to_be_so() {
    // It said that all of them may be picked, while every request went to one.
    let [near, far, spare] = ["near", "far", "spare"].map(Origin::saying);
    let backends = [(&near, "zone: a"), (&far, "zone: b"), (&spare, "zone: a, priority: 1")];
    let backends: Vec<String> =
        backends.iter().map(|(origin, more)| format!("{{ address: '{}', {more} }}", origin.address)).collect();
    let evenkeel = Evenkeel::start(&format!("pools: {{ web: {{ zone: a, backends: [{}] }} }}", backends.join(", ")));
    let (_, said) = text(&evenkeel.ask("explain", &[]));
    let plain = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = |origin: &Origin, what: &str| format!("{} {what}", origin.address);
    for expected in [
        line(&near, "may be picked: healthy, weight 1, 0 in flight"),
        line(&far, "not picked: healthy, priority 0 in zone b: only for what others cannot take"),
        line(&spare, "not picked: healthy, priority 1 in zone a: only for what others cannot take"),
    ] {
        assert!(plain.contains(&expected), "{expected}\n{said}");
    }
    for _ in 0..10 {
        assert_eq!(evenkeel.get("/").text(), "near");
    }
}
