//! The file as a whole.

use std::fs;
use std::path::Path;

use super::super::{Config, Source};
use super::{parsed, refuses, with};

#[test]
fn every_mistake_is_reported_in_the_order_of_the_file() {
    refuses(
        r"listeners:
  - address: :80
pools:
  api:
    backends:
      - { address: 10.0.1.1:8080, weight: 0 }
      - { address: 10.0.1.2:8080, weight: 1001 }
      - { address: 10.0.1.2:8080, wieght: 1.5 }
    ballance: p2c
  api:
    backends: [a:1]
frobnicate: 1
",
        &[
            r"6:43: pools.api.backends[0].weight: must be 1 to 1000, got 0 (to stop traffic to a backend, drain it)",
            r"7:43: pools.api.backends[1].weight: must be 1 to 1000, got 1001",
            r"8:20: pools.api.backends[2].address: 10.0.1.2:8080 is backends[1] (line 7) already; give it a weight for more traffic",
            r"8:35: pools.api.backends[2].wieght: unknown key, did you mean 'weight'?",
            r"9:5: pools.api.ballance: unknown key, did you mean 'balance'?",
            r"10:3: pools.api: is written twice, first on line 4",
            r"12:1: frobnicate: unknown key; allowed here: version, listeners, trusted_proxies, forwarded_headers, normalize_path, limits, filters, pools, routes, access_log, admin, watch, stop_delay or upgrade_timeout, and Pingora's own, which conf/full.yaml lists",
        ],
    );
}

#[test]
fn an_empty_file_is_refused() {
    refuses(
        r"# only a comment
",
        &[r"is empty; see conf/minimal.yaml for a start"],
    );
}

#[test]
fn the_top_must_be_a_map() {
    refuses(
        r"- a
",
        &[r"1:1: must be a map of keys at the top, like 'listeners:', got a list"],
    );
}

#[test]
fn a_syntax_error_has_its_place() {
    refuses(r"a: [b", &[r"2:1: is not valid YAML: while parsing a flow sequence, expected ',' or ']'"]);
}

#[test]
fn a_second_document_is_refused() {
    refuses(
        r"a: 1
---
b: 2
",
        &[r"2:1: a second YAML document starts here; a configuration is one"],
    );
}

#[test]
fn an_anchor_cannot_hold_itself() {
    refuses(
        r"x: &a [1, *a]
",
        &[r"1:11: x[1]: refers to an anchor that holds this very place"],
    );
}

#[test]
fn merge_keys_and_tags_are_refused() {
    refuses(
        r"<<: {a: 1}
b: !!str x
",
        &[
            r"1:1: <<: merge keys are not supported; write the keys out, or give whole values with & and *",
            r"1:1: needs 'listeners', like listeners: [{ address: :8080 }]",
            r"1:1: needs 'pools', like pools: { web: { backends: [127.0.0.1:8001] } }",
            r"2:1: b: unknown key; allowed here: version, listeners, trusted_proxies, forwarded_headers, normalize_path, limits, filters, pools, routes, access_log, admin, watch, stop_delay or upgrade_timeout, and Pingora's own, which conf/full.yaml lists",
            r"2:4: b: has a YAML tag ('!…'), which is not supported; text that starts with '!' needs quotes",
        ],
    );
}

#[test]
fn a_template_is_no_key() {
    refuses(
        r"{{ template }}: x
",
        &[r"1:1: a key must be a plain word (text with a { or [ in front needs quotes)"],
    );
}

#[test]
fn a_nul_byte_is_refused() {
    refuses("a: b\0c", &[r"1:5: is not a text file: it holds a NUL byte"]);
}

#[test]
fn an_unknown_anchor_is_refused() {
    refuses(
        &with(
            r"x: *nope
",
        ),
        &[r"5:4: is not valid YAML: while parsing node, found unknown anchor"],
    );
}

#[test]
fn a_repeated_key_names_the_first() {
    refuses(
        &with(
            r"    retry: 3
    retry: 4
",
        ),
        &[
            r"5:12: pools.web.retry: must be off or a map of keys, got 3",
            r"6:5: pools.web.retry: is written twice, first on line 5",
        ],
    );
}

#[test]
fn a_key_at_the_top_may_be_repeated_neither() {
    refuses(
        &with(
            r"listeners: []
",
        ),
        &[r"5:1: listeners: is written twice, first on line 1"],
    );
}

#[test]
fn a_value_beside_a_secret_is_not_shown() {
    refuses(
        &with(
            r"api_token: hunter2hunter2
",
        ),
        &[
            r"5:1: api_token: unknown key; allowed here: version, listeners, trusted_proxies, forwarded_headers, normalize_path, limits, filters, pools, routes, access_log, admin, watch, stop_delay or upgrade_timeout, and Pingora's own, which conf/full.yaml lists",
        ],
    );
}

#[test]
fn values_are_short_and_printable() {
    refuses(
        &with(
            r#"    health_check: { http: { path: "x\u001b[31mredxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" } }
"#,
        ),
        &[
            r"5:35: pools.web.health_check.http.path: must be a path that starts with '/', without spaces, got 'x\u{1b}[31mredxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'",
        ],
    );
}

#[test]
fn an_alias_repeats_a_value() {
    let config = parsed(&with(
        "    retry: &r { attempts: 2 }\n  api: { backends: [b:1], retry: *r }\nroutes: [{ pool: web }]\n",
    ));
    assert_eq!(config.pools[1].retry.attempts, 2);
}

#[test]
fn what_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lb.yaml");
    let printed =
        |path: &Path| Config::load(path).unwrap_err().to_string().replace(&format!("{}", path.display()), "FILE");
    assert_eq!(printed(&file), "FILE: no such file");
    assert_eq!(printed(folder.path()), "FILE: is a directory, not a file");
    fs::write(&file, b"a: b\nc: \xff\n").unwrap();
    assert_eq!(printed(&file), "FILE:2:4: is not UTF-8 text");
    fs::write(&file, b"").unwrap();
    assert_eq!(printed(&file), "FILE: is empty; see conf/minimal.yaml for a start");
    fs::File::create(&file).unwrap().set_len(16 * 1024 * 1024 + 1).unwrap();
    assert_eq!(printed(&file), "FILE: is larger than 16 MiB, which no configuration is");
}

#[test]
fn too_deep_and_too_many_are_refused() {
    let deep = format!("{}x: 1", "a: {".repeat(80));
    let printed = Config::parse(&deep, None).unwrap_err().to_string();
    assert!(printed.ends_with(": is nested more than 64 levels deep"), "{printed}");
    let laughs =
        (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |t, i| format!("{t}a{i}: &a{i} [*a{j}, *a{j}]\n", j = i - 1));
    let printed = Config::parse(&laughs, None).unwrap_err().to_string();
    assert!(printed.ends_with(": is one value too many: a file may hold 500000, aliases written out"), "{printed}");
}

#[test]
fn many_unknown_keys_are_cut_short() {
    let keys: String = (0..200).map(|i| format!("zzzzzzzzzz{i}: 1\n")).collect();
    let error = Config::parse(&with(&keys), None).unwrap_err();
    assert_eq!(error.mistakes.len(), 101);
    assert_eq!(error.mistakes[100].message, "unknown key, and 99 more");
}

#[test]
fn a_secret_of_the_wrong_kind_is_not_shown() {
    refuses(
        "listeners: [{ address: :80, tls: { certificates: [{ certificate: c, key: \"-----BEGIN\\nhunter2\" }] } }]\n\
         pools: { web: { backends: [a:1] } }\n",
        &["1:74: listeners[0].tls.certificates[0].key: must be the path of a file, got a value that is not shown here"],
    );
}

#[test]
fn the_command_line_is_checked_like_a_file() {
    let config = Config::quick(":8080", &["a:1,10.0.0.1:2".to_owned(), "unix:/c".to_owned()]).unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "0.0.0.0:8080");
    let Source::Backends(backends) = &config.pools[0].source else { panic!() };
    let addresses: Vec<_> = backends.iter().map(|b| b.address.to_string()).collect();
    assert_eq!(
        (config.pools[0].name.as_str(), addresses),
        ("default", vec!["a:1".into(), "10.0.0.1:2".into(), "unix:/c".into()])
    );
    assert_eq!((config.routes.len(), config.file), (1, None));
    let printed = |listen: &str, to: &[&str]| {
        let to: Vec<String> = to.iter().map(|&t| t.to_owned()).collect();
        Config::quick(listen, &to).unwrap_err().to_string()
    };
    assert_eq!(
        printed("here", &["a", "b:1,b:1"]),
        "--listen: must be ip:port, :port or unix:/path, got 'here' (the port is missing)\n\
         --to: must be ip:port, host:port or unix:/path, got 'a' (the port is missing)\n\
         --to: b:1 is backends[1] already; give it a weight for more traffic"
    );
    assert_eq!(printed(":80", &[]), "--to: must be a list of backends, got an empty one");
}
