//! Another configuration for a running process: all of it or nothing, said in advance and afterwards.

use std::collections::BTreeMap;
use std::process::Output;

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Origin, wait_until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Who answers how many of so many requests.
fn shares(evenkeel: &Evenkeel, requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let mut client = evenkeel.client();
    for _ in 0..requests {
        *shares.entry(client.get("/").text()).or_default() += 1;
    }
    shares
}

fn of(list: &[(&str, usize)]) -> BTreeMap<String, usize> {
    list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

#[test]
fn backends_come_and_go_and_the_receipt_says_so() {
    let [a, b, c] = ["a", "b", "c"].map(Origin::saying);
    let evenkeel = Evenkeel::start(&pool(&[a.address, b.address], ""));
    assert_eq!(shares(&evenkeel, 10), of(&[("a", 5), ("b", 5)]));
    let receipt = evenkeel.reload(&pool(&[a.address, c.address], "health_check: { tcp: {} }"));
    let expected =
        "generation 2: pools 1 changed; backends 1 kept, 1 added, 1 draining; listeners 1 kept; routes 1 kept";
    assert_eq!(receipt, expected);
    assert_eq!(evenkeel.logged(expected, 1).len(), 1);
    assert_eq!(shares(&evenkeel, 10), of(&[("a", 5), ("c", 5)]));
    let receipt = evenkeel.reload(&pool(&[a.address, c.address], "health_check: { tcp: {} }"));
    assert_eq!(receipt, "generation 3: pools 1 kept; backends 2 kept; listeners 1 kept; routes 1 kept");
    assert_eq!(evenkeel.metric("evenkeel_config_generation"), 3.0);
    assert_eq!(evenkeel.metric("evenkeel_config_reloads_total{result=\"success\"}"), 2.0);
}

#[test]
fn hup_reloads_and_a_broken_file_changes_nothing() {
    let [a, b] = ["a", "b"].map(Origin::saying);
    let mut evenkeel = Evenkeel::start(&pool(&[a.address], ""));
    evenkeel.write(&pool(&[b.address], "weight: 3"));
    evenkeel.signal("HUP");
    evenkeel.logged("not reloaded, serving on as before", 1);
    let output = evenkeel.ask("reload", &[]);
    let (code, out, err) = said(&output);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let file = evenkeel.file();
    let line = format!("{}:11:5: pools.web.weight: unknown key", file.display());
    assert!(err.starts_with(&line), "{err}");
    assert_eq!(evenkeel.metric("evenkeel_config_last_reload_successful"), 0.0);
    assert_eq!(evenkeel.metric("evenkeel_config_reloads_total{result=\"failure\"}"), 2.0);
    assert_eq!(evenkeel.get("/").text(), "a");
    evenkeel.write(&pool(&[b.address], ""));
    evenkeel.signal("HUP");
    wait_until("the other backend answers", || evenkeel.get("/").text() == "b");
    wait_until("it is said", || evenkeel.metric("evenkeel_config_last_reload_successful") == 1.0);
    assert!(evenkeel.alive());
}

#[test]
fn what_only_an_upgrade_can_change_is_refused_as_a_whole() {
    let [a, b] = ["a", "b"].map(Origin::saying);
    let evenkeel = Evenkeel::start(&format!("threads: 1\n{}", pool(&[a.address], "")));
    evenkeel.write(&format!("threads: 2\n{}", pool(&[b.address], "")));
    let (code, out, err) = said(&evenkeel.ask("reload", &[]));
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "", "evenkeel: needs an upgrade: threads"));
    assert_eq!(evenkeel.get("/").text(), "a");
    let (code, out, _) = said(&evenkeel.ask("plan", &[]));
    assert_eq!(code, Some(3));
    assert!(out.ends_with("a reload would refuse this; it needs an upgrade: threads"), "{out}");
}

#[test]
fn another_file_is_planned_and_not_loaded() {
    let [a, b] = ["a", "b"].map(Origin::saying);
    let evenkeel = Evenkeel::start(&pool(&[a.address], ""));
    let (code, out, err) = said(&evenkeel.ask("plan", &[]));
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "no changes", ""));

    let own = std::fs::read_to_string(evenkeel.file()).unwrap();
    let other = evenkeel.dir.path().join("other.yaml");
    std::fs::write(&other, own.replace(&a.address.to_string(), &b.address.to_string())).unwrap();
    let (other, admin) = (other.to_str().unwrap(), evenkeel.admin.to_string());
    let run = |command: &str| said(&crate::support::evenkeel::run(&[command, "-c", other, "--admin", &admin]));
    let (code, out, _) = run("plan");
    let expected = format!(
        "pool web: changed (backends)\nbackend web/{}: added\nbackend web/{}: draining\n\
         generation 2: pools 1 changed; backends 1 added, 1 draining; listeners 1 kept; routes 1 kept",
        b.address, a.address
    );
    assert_eq!((code, out), (Some(3), expected));
    let (code, out, err) = run("reload");
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("nothing was loaded"), "{err}");
    assert_eq!((evenkeel.get("/").text().as_str(), b.count()), ("a", 0));
    assert_eq!(evenkeel.metric("evenkeel_config_generation"), 1.0);

    std::fs::write(other, "listeners: 3\n").unwrap();
    let (code, out, err) = run("plan");
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains(&format!("{other}:1:12: listeners: ")), "{err}");
    assert_eq!(evenkeel.metric("evenkeel_config_last_reload_successful"), 1.0, "a plan is no reload");
}

#[test]
fn only_who_may_can_have_it_reload() {
    let origin = Origin::saying("a");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let post = |path: &str, headers: &str, body: &str| {
        let mut client = Client::connect(evenkeel.admin);
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        client.send(head).read().status
    };
    let json = "Content-Type: application/json\r\n";
    assert_eq!(post("/api/v1/reload", "", ""), 415);
    assert_eq!(post("/api/v1/reload", &format!("{json}Origin: http://evil.example\r\n"), ""), 403);
    assert_eq!(post("/api/v1/reload", json, "{ \"fill\": 1 }"), 400);
    assert_eq!(post("/api/v1/plan", json, "{}"), 400);
    assert_eq!(post("/api/v1/reload", json, "{ \"file\": \"/etc/passwd\" }"), 500, "not its own");
    assert_eq!(post("/api/v1/reload", json, ""), 200);
    assert_eq!(evenkeel.page("/api/v1/reload").status, 405);
}

#[test]
fn a_watched_file_is_loaded_when_it_changes() {
    let [a, b] = ["a", "b"].map(Origin::saying);
    let watched = |origin: &Origin, more: &str| format!("watch: true\n{}", pool(&[origin.address], more));
    let evenkeel = Evenkeel::start(&watched(&a, ""));
    evenkeel.write(&watched(&b, "balance: nonsense"));
    evenkeel.logged("not reloaded, serving on as before", 1);
    evenkeel.write(&watched(&b, "balance: random"));
    wait_until("the other backend answers", || evenkeel.get("/").text() == "b");
    evenkeel.logged("the configuration file has changed", 2);
}

#[test]
fn routes_limits_and_the_access_log_change() {
    let [a, b] = ["a", "b"].map(Origin::saying);
    let pools = format!("pools:\n  a: {{ backends: [\"{}\"] }}\n  b: {{ backends: [\"{}\"] }}\n", a.address, b.address);
    let evenkeel = Evenkeel::start(&format!("{pools}routes: [{{ pool: a }}]\n"));
    assert_eq!(evenkeel.get("/b/x").text(), "a");
    let receipt = evenkeel.reload(&format!(
        "{pools}routes: [{{ pool: a }}, {{ match: {{ path_prefix: /b }}, pool: b }}, {{ match: {{ path: /c }}, respond: {{ body: c }} }}]\n\
         limits: {{ max_body_size: 4B }}\naccess_log: {{ path: DIR/other.log, format: combined }}\n"
    ));
    let expected = "generation 2: pools 2 kept; backends 2 kept; listeners 1 kept; routes 1 kept, 2 added; changed: limits, access_log";
    assert_eq!(receipt, expected);
    assert_eq!(["/", "/b/x", "/c"].map(|path| evenkeel.get(path).text()), ["a", "b", "c"]);
    let mut client = evenkeel.client();
    assert_eq!(client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").read().status, 413);
    let other = evenkeel.dir.path().join("other.log");
    wait_until("the other log has the requests", || {
        std::fs::read_to_string(&other).is_ok_and(|text| text.lines().count() == 4)
    });
    assert_eq!(evenkeel.requests(1).len(), 1, "and the first one those of before");
    let receipt = evenkeel.reload(&format!("{pools}routes: [{{ match: {{ path_prefix: /b }}, pool: a }}]\n"));
    assert!(receipt.ends_with("routes 1 changed, 2 removed; changed: limits, access_log"), "{receipt}");
    assert_eq!((evenkeel.get("/b/x").text().as_str(), evenkeel.get("/").status), ("a", 404));
}

/// A pool that a route needs as soon as it is there must not turn its first clients away.
#[test]
fn a_new_pool_has_been_probed_before_requests_come_to_it() {
    let [a, b] = ["a", "b"].map(Origin::saying);
    let evenkeel = Evenkeel::start(&pool(&[a.address], ""));
    let both = format!(
        "pools:\n  web: {{ backends: [\"{}\"] }}\n  new: {{ backends: [\"{}\"] }}\nroutes: [{{ pool: new }}]\n",
        a.address, b.address
    );
    let stop = std::sync::atomic::AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let (mut client, mut answers) = (evenkeel.client(), BTreeMap::<_, usize>::new());
            while !stop.load(std::sync::atomic::Ordering::SeqCst) || !answers.contains_key("b") {
                *answers.entry(client.get("/").text()).or_default() += 1;
            }
            answers
        });
        let receipt = evenkeel.reload(&both);
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(receipt.starts_with("generation 2: pools 1 changed, 1 added"), "{receipt}");
        load.join().unwrap()
    });
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_name_that_does_not_resolve_takes_nobody_out() {
    let a = Origin::saying("a");
    let evenkeel = Evenkeel::start(&pool(&[a.address], ""));
    evenkeel.write("pools: { web: { backends: ['nowhere.invalid:80'] } }\n");
    let (code, _, err) = said(&evenkeel.ask("reload", &[]));
    assert_eq!(code, Some(1));
    assert!(err.contains("pool web: no backend can be found"), "{err}");
    assert_eq!(evenkeel.get("/").text(), "a");
    evenkeel.write(&format!(
        "pools: {{ web: {{ backends: ['{}'] }}, new: {{ backends: ['nowhere.invalid:80'] }} }}\nroutes: [{{ pool: web }}]\n",
        a.address
    ));
    let (code, out, err) = said(&evenkeel.ask("reload", &[]));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("1 added"), "{out}");
    assert!(err.contains("warning: pool new: no backend can be found"), "{err}");
    assert_eq!(evenkeel.get("/").text(), "a");
}
