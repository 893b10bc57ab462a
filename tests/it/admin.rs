//! What people see of a running process.

use serde_json::Value;

use crate::support::evenkeel::{pool, run};
use crate::support::{Client, Evenkeel, Origin};

#[test]
fn the_pages_of_the_admin_address() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    assert_eq!(evenkeel.page("/healthz").text(), "alive\n");
    assert_eq!(evenkeel.page("/readyz").text(), "ready\n");
    assert_eq!(evenkeel.page("/nothing").status, 404);
    let listeners: Vec<String> = serde_json::from_slice(&evenkeel.page("/api/v1/listeners").body).unwrap();
    assert_eq!(listeners, [evenkeel.http().to_string(), evenkeel.admin.to_string()]);
    for page in ["/healthz", "/metrics", "/api/v1/pools"] {
        assert!(evenkeel.page("/").text().contains(page), "{page}");
    }
    let mut client = Client::connect(evenkeel.admin);
    let response = client.send("POST /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").read();
    assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")));
    let mut client = Client::connect(evenkeel.admin);
    client.send("HEAD /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = client.read_to("HEAD");
    assert_eq!((response.status, response.header("content-length")), (200, Some("6")));
    // The listeners for clients serve none of it.
    assert_eq!(evenkeel.get("/metrics").text(), "hello");
}

#[test]
fn metrics_count_what_happened() {
    let origin = Origin::new(|exchange| match exchange.path() {
        "/404" => exchange.answer("404 Not Found", ""),
        "/500" => exchange.answer("500 Bad", ""),
        _ => exchange.ok("hello"),
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    for path in ["/", "/", "/", "/404", "/500", "/500"] {
        client.get(path);
    }
    evenkeel.requests(6);
    let page = evenkeel.page("/metrics");
    assert!(page.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let label = format!("backend=\"{}\"", origin.address);
    for (sample, value) in [
        ("evenkeel_requests_total{code=\"2xx\",pool=\"web\"}".to_owned(), 3.0),
        ("evenkeel_requests_total{code=\"4xx\",pool=\"web\"}".to_owned(), 1.0),
        ("evenkeel_requests_total{code=\"5xx\",pool=\"web\"}".to_owned(), 2.0),
        ("evenkeel_request_duration_seconds_count{pool=\"web\"}".to_owned(), 6.0),
        (format!("evenkeel_backend_attempts_total{{{label},outcome=\"succeeded\",pool=\"web\"}}"), 4.0),
        (format!("evenkeel_backend_attempts_total{{{label},outcome=\"failed\",pool=\"web\"}}"), 2.0),
        (format!("evenkeel_backend_in_flight{{{label},pool=\"web\"}}"), 0.0),
        (format!("evenkeel_backend_admitted{{{label},pool=\"web\"}}"), 1.0),
    ] {
        assert!(page.text().contains(&sample), "{sample} is missing from\n{}", page.text());
        assert_eq!(evenkeel.metric(&sample), value, "{sample}");
    }
    // Each sample's family says what it is, once.
    let text = page.text();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let described = |what: &str| text.lines().filter(|l| l.starts_with(&format!("# {what} {family} "))).count();
        assert_eq!((described("HELP"), described("TYPE")), (1, 1), "{family}");
    }
}

#[test]
fn pools_as_json_and_status() {
    let (one, mut two) = (Origin::saying("one"), Origin::saying("two"));
    two.stop();
    let check = "health_check: { tcp: {}, interval: 10s, timeout: 5s }";
    let evenkeel = Evenkeel::start(&pool(&[one.address, two.address], check));
    assert_eq!(evenkeel.get("/").text(), "one");
    let pools: Value = serde_json::from_slice(&evenkeel.page("/api/v1/pools").body).unwrap();
    assert_eq!((&pools[0]["name"], &pools[0]["admitted"]), (&"web".into(), &1.into()));
    let [first, second] = &pools[0]["backends"].as_array().unwrap()[..] else {
        panic!("{pools}");
    };
    assert_eq!(first["address"], one.address.to_string());
    assert_eq!((&first["weight"], &first["state"], &first["admitted"]), (&1.into(), &"healthy".into(), &true.into()));
    assert_eq!((&first["probes_passed"], &first["reason"]), (&1.into(), &Value::Null));
    assert_eq!((&second["state"], &second["admitted"]), (&"unhealthy".into(), &false.into()));
    assert!(second["reason"].as_str().unwrap().contains("Connection refused"), "{second}");
    assert!(second["last_probe_age_seconds"].as_f64().unwrap() < 10.0);

    let admin = evenkeel.admin.to_string();
    let output = run(&["status", "--admin", &admin]);
    let screen = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{screen}");
    let lines: Vec<_> = screen.lines().collect();
    assert_eq!(lines[0], "pool web: 1 of 2 backends admitted");
    assert!(lines[2].contains(&one.address.to_string()) && lines[2].contains("healthy"), "{screen}");
    assert!(lines[3].contains("unhealthy") && lines[3].contains("Connection refused"), "{screen}");

    let output = run(&["status", "--json", "--admin", &admin]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["name"], "web");
}

#[test]
fn admin_may_be_off() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.yaml");
    let yaml = "listeners: [{ address: '127.0.0.1:0' }]\nadmin: off\npools: { web: { backends: ['127.0.0.1:1'] } }\n";
    std::fs::write(&file, yaml).unwrap();
    let output = run(&["status", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("admin: off"));
}
