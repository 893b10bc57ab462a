//! Wrong input: `check`, `-t` and a start say the same, before anything has begun.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::evenkeel::{complete, run};

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What `check`, `-t` and a start say of this configuration: the same, with exit code 2. `FILE` stands for the file.
#[track_caller]
fn refused(yaml: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.yaml");
    fs::write(&file, yaml).unwrap();
    refused_file(&file)
}

#[track_caller]
fn refused_file(file: &Path) -> String {
    let name = file.to_str().unwrap();
    let said = [vec!["check", "-c", name], vec!["-t", "-c", name], vec!["-c", name]].map(|arguments| {
        let output = run(&arguments);
        let said = stderr(&output).replace(name, "FILE");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
        said
    });
    assert_eq!(said[0], said[1], "check and -t");
    assert_eq!(said[0], said[2], "check and a start");
    said[0].clone()
}

const LISTENERS: &str = "listeners: [{ address: '127.0.0.1:0' }]\nadmin: { address: '127.0.0.1:0' }\n";

/// The same with listeners in front, two lines of them.
#[track_caller]
fn refused_pools(yaml: &str) -> String {
    refused(&format!("{LISTENERS}{yaml}"))
}

#[test]
fn a_missing_file() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(refused_file(&dir.path().join("lb.yaml")), "FILE: no such file\n");
}

#[test]
fn an_empty_file() {
    assert_eq!(refused(""), "FILE: is empty; see conf/minimal.yaml for a start\n");
}

#[test]
fn a_file_that_is_not_yaml() {
    let said = refused("pools: [\n");
    assert!(said.starts_with("FILE:2:1: is not valid YAML: "), "{said}");
    let said = refused("hello\n");
    assert_eq!(said, "FILE:1:1: must be a map of keys at the top, like 'listeners:', got 'hello'\n");
}

#[test]
fn two_pools_of_one_name() {
    let said = refused_pools("pools:\n  web: { backends: ['127.0.0.1:1'] }\n  web: { backends: ['127.0.0.1:2'] }\n");
    assert_eq!(said, "FILE:5:3: pools.web: is written twice, first on line 4\n");
}

#[test]
fn a_route_to_an_unknown_pool() {
    let said = refused_pools("pools:\n  web: { backends: ['127.0.0.1:1'] }\nroutes:\n  - pool: wep\n");
    assert_eq!(said, "FILE:6:11: routes[0].pool: unknown pool 'wep', did you mean 'web'?\n");
}

#[test]
fn weights_of_0_and_1001() {
    let said = refused_pools(
        "pools:\n  web:\n    backends:\n      - { address: '127.0.0.1:1', weight: 0 }\n\
         \x20     - { address: '127.0.0.1:2', weight: 1001 }\n",
    );
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "FILE:6:43: pools.web.backends[0].weight: must be 1 to 1000, got 0 (to stop traffic to a backend, drain it)",
            "FILE:7:43: pools.web.backends[1].weight: must be 1 to 1000, got 1001",
        ]
    );
}

#[test]
fn bad_addresses() {
    let said = refused_pools("pools:\n  web: { backends: ['127.0.0.1:99999', nowhere, '::1:80'] }\n");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    for (n, line) in lines.iter().enumerate() {
        assert!(line.contains(&format!(": pools.web.backends[{n}]: must be ip:port, host:port or unix:/path, got ")));
    }
    let said = refused("listeners: [{ address: '127.0.0.1' }]\npools: { web: { backends: ['127.0.0.1:1'] } }\n");
    assert!(said.starts_with("FILE:1:24: listeners[0].address: "), "{said}");
}

#[test]
fn a_timeout_that_is_not_below_the_interval() {
    let said = refused_pools(
        "pools:\n  web:\n    backends: ['127.0.0.1:1']\n    health_check: { tcp: {}, interval: 1s, timeout: 1s }\n",
    );
    assert_eq!(said, "FILE:6:53: pools.web.health_check.timeout: must be below interval (1s), got 1s\n");
}

#[test]
fn an_unreadable_certificate() {
    let said = refused(
        "listeners:\n  - address: 127.0.0.1:0\n    tls: { certificates: [{ certificate: no.pem, key: no.key }] }\n\
         admin: { address: 127.0.0.1:0 }\npools: { web: { backends: ['127.0.0.1:1'] } }\n",
    );
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains(": listeners[0].tls.certificates[0].certificate: not usable here: cannot read "));
    assert!(lines[0].ends_with("no.pem: no such file or folder"), "{said}");
    assert!(lines[1].contains(": listeners[0].tls.certificates[0].key: not usable here: cannot read "));
}

#[test]
fn a_certificate_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["site.pem", "site.key"] {
        fs::write(dir.path().join(name), "hello\n").unwrap();
    }
    let file = dir.path().join("lb.yaml");
    let tls =
        "listeners:\n  - address: 127.0.0.1:0\n    tls: { certificates: [{ certificate: site.pem, key: site.key }] }\n";
    let rest = "admin: { address: 127.0.0.1:0 }\npools: { web: { backends: ['127.0.0.1:1'] } }\n";
    fs::write(&file, format!("{tls}{rest}")).unwrap();
    let said = refused_file(&file);
    assert!(said.contains("listeners[0].tls.certificates[0].certificate: not usable here: "), "{said}");
}

#[test]
fn an_access_log_that_cannot_be_written() {
    let said = refused_pools("access_log: /nowhere/access.log\npools: { web: { backends: ['127.0.0.1:1'] } }\n");
    assert!(said.contains("access_log.path: not usable here: "), "{said}");
}

#[test]
fn every_mistake_at_once_with_the_nearest_key() {
    let said = refused_pools(
        "accesslog: off\npools:\n  web:\n    backends: ['127.0.0.1:1']\n    ballance: round_robin\n\
         \x20   timeouts: { read: soon }\n    balance: rond_robin\n",
    );
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "FILE:3:1: accesslog: unknown key, did you mean 'access_log'?");
    assert_eq!(lines[1], "FILE:7:5: pools.web.ballance: unknown key, did you mean 'balance'?");
    assert!(lines[2].starts_with("FILE:8:23: pools.web.timeouts.read: must be a duration"), "{said}");
}

#[test]
fn what_the_file_names_is_looked_at_beside_its_other_mistakes() {
    // Was in two stages: a typo anywhere hid a filter that nobody registered, until it was mended.
    let yaml = format!(
        "{LISTENERS}limts: {{}}
filters: [rate_limit: {{ rate: 10 }}, nobodys]
pools:
  web:
    backends: [127.0.0.1:8001]
    balance: nobodys
    health_check: {{ nobodys: {{}}, interval: 5 }}
"
    );
    let said = refused(&yaml);
    let places: Vec<&str> = said.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    let expected = [
        "limts",
        "filters[0].rate_limit.rate",
        "filters[1].nobodys",
        "pools.web.balance.nobodys",
        "pools.web.health_check.nobodys",
        "pools.web.health_check.interval",
    ];
    assert_eq!(places, expected, "{said}");

    let yaml = yaml.replace("limts: {}\n", "access_log: /nowhere/at/all\n").replace("interval: 5", "interval: 5s");
    let said = refused(&yaml);
    assert!(said.contains("access_log.path: not usable here") && said.contains("unknown filter 'nobodys'"), "{said}");
}

#[test]
fn check_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.yaml");
    fs::write(&file, format!("{LISTENERS}pools:\n  web: {{ backends: [], ballance: x }}\n")).unwrap();
    let output = run(&["check", "--json", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["valid"], &json["file"]), (&false.into(), &file.to_str().unwrap().into()));
    let keys: Vec<_> = json["mistakes"].as_array().unwrap().iter().map(|m| m["key"].as_str().unwrap()).collect();
    assert!(keys.contains(&"pools.web.ballance"), "{json}");
    assert_eq!(json["mistakes"][0]["line"], 4);

    fs::write(&file, format!("{LISTENERS}pools:\n  web: {{ backends: ['127.0.0.1:1'] }}\n")).unwrap();
    let output = run(&["check", "--json", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["valid"], &json["mistakes"]), (&true.into(), &Value::Array(vec![])));
}

#[test]
fn every_file_in_conf_is_valid() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut files = 0;
    for entry in fs::read_dir(conf).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let name = file.to_str().unwrap();
        for arguments in [["check", "-c", name], ["-t", "-c", name]] {
            let output = run(&arguments);
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{name}: valid\n"));
        }
        files += 1;
    }
    assert!(files >= 2);
}

/// A start that fails because the address is taken: exit code 1, and what it says.
#[track_caller]
fn taken(yaml: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.yaml");
    fs::write(&file, complete(yaml, &dir)).unwrap();
    let output = run(&["-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn a_port_that_is_taken() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let pools = "pools: { web: { backends: ['127.0.0.1:1'] } }\n";
    let said = format!("evenkeel: cannot listen on {address}: Address already in use (os error 98)\n");
    assert_eq!(taken(&format!("listeners: [{{ address: '{address}' }}]\n{pools}")), said);
    assert_eq!(taken(&format!("admin: {{ address: '{address}' }}\n{pools}")), said);
    // One of two: nothing is left half started.
    let two = format!("listeners: [{{ address: '127.0.0.1:0' }}, {{ address: '{address}' }}]\n{pools}");
    assert_eq!(taken(&two), said);
}

#[test]
fn a_unix_socket_that_is_taken_and_one_that_is_left_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("front.sock");
    let holder = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let yaml = format!(
        "listeners: [{{ address: 'unix:{}' }}]\npools: {{ web: {{ backends: ['127.0.0.1:1'] }} }}\n",
        path.display()
    );
    assert!(taken(&yaml).contains("cannot listen on unix:"), "{}", taken(&yaml));
    drop(holder);
    // Nobody listens there any more.
    let evenkeel = crate::support::Evenkeel::start(&yaml);
    let mut client = crate::support::Client::connect_unix(&path);
    assert_eq!(client.get("/").status, 503);
    drop(evenkeel);
}

#[test]
fn wrong_usage() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("evenkeel -c FILE"));
    let output = run(&["--nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--nonsense"));
    let output = run(&["--listen", ":0"]);
    assert_eq!(output.status.code(), Some(2), "--listen needs --to");
    let output = run(&["--help"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let output = run(&["status", "--admin", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no answer from 127.0.0.1:1"), "{}", stderr(&output));
}
