//! The page for people on the admin address, and what it asks.

use serde_json::Value as Json;

use crate::examples::example;
use crate::support::{Client, Evenkeel, Origin, Response};

fn browse(evenkeel: &Evenkeel, path: &str) -> Response {
    let accept = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    Client::connect(evenkeel.admin).get_with(path, accept)
}

#[test]
fn a_browser_gets_a_page_and_everybody_else_the_list_of_pages() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&crate::support::evenkeel::pool(&[origin.address], ""));
    let list = evenkeel.page("/");
    assert_eq!(list.header("content-type"), Some("text/plain; charset=utf-8"));

    let page = browse(&evenkeel, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    // All that it takes is there, and is ours.
    let html = page.text();
    let paths: Vec<&str> = html.split(['"']).filter(|part| part.starts_with('/')).collect();
    assert!(paths.contains(&"/dashboard.js") && paths.contains(&"/dashboard.css"), "{paths:?}");
    for path in paths {
        assert_eq!(browse(&evenkeel, path).status, 200, "{path}");
    }
    for path in ["/", "/dashboard.js", "/dashboard.css"] {
        let text = browse(&evenkeel, path).text();
        assert!(!text.contains("innerHTML"), "{path}: what is shown is text, never markup");
        assert!(!text.replace("://${", "").contains("://"), "{path}: nothing is from elsewhere");
    }
}

#[test]
fn what_is_loaded_is_told_by_its_names_and_a_program_s_own_are_among_them() {
    let Some(program) = example("hook") else { return };
    let origin = Origin::saying("in");
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0, filters: [request_id] }}]
filters: [{{ ip_deny: [203.0.113.7] }}]
pools: {{ web: {{ backends: ['{}'], balance: p2c, health_check: {{ http: {{}} }} }} }}
routes:
  - pool: web
    filters: [{{ api_key: {{ keys: {{ open-sesame: alice }} }} }}]
  - match: {{ path: /gone, headers: {{ x-api-key: open-sesame }} }}
    respond: {{ status: 410 }}
",
        origin.address
    );
    let evenkeel = Evenkeel::start_program(&program, &yaml, tempfile::tempdir().unwrap());
    let page = evenkeel.page("/api/v1/config").text();
    assert!(!page.contains("sesame"), "what may be a secret is not told: {page}");
    let config: Json = serde_json::from_str(&page).unwrap();
    assert_eq!(config["filters"], serde_json::json!(["ip_deny"]));
    assert_eq!(config["listeners"][0]["filters"], serde_json::json!(["request_id"]));
    let pool = serde_json::json!({ "name": "web", "balance": "p2c", "health_check": "http", "source": "backends" });
    assert_eq!(config["pools"], serde_json::json!([pool]));
    let route = |i: usize| &config["routes"][i];
    assert_eq!((&route(0)["matches"], &route(0)["does"]), (&"everything else".into(), &"goes to pool web".into()));
    assert_eq!(route(0)["filters"], serde_json::json!(["api_key"]));
    assert_eq!(route(1)["does"], "is answered here, with status 410");

    // After a reload it tells of that.
    evenkeel.reload(&yaml.replace("balance: p2c", "balance: random"));
    let config: Json = serde_json::from_str(&evenkeel.page("/api/v1/config").text()).unwrap();
    assert_eq!(config["pools"][0]["balance"], "random");
}
