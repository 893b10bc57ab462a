//! `balance`.

use std::time::Duration;

use super::super::read_balance::BUILT_IN;
use super::super::{Balance, Choices, Decay, Hashing, KeySource, LeastTime, Percent, TableSize};
use super::{parsed, refuses, with};

fn balance(text: &str) -> Balance {
    parsed(&with(&format!("    balance: {text}\n"))).pools.remove(0).balance
}

#[track_caller]
fn refuses_balance(text: &str, line: &str) {
    refuses(&with(&format!("    balance: {text}\n")), &[line]);
}

#[test]
fn a_typo_of_an_algorithm_is_no_extension() {
    for (typo, known) in [
        ("round-robin", "round_robin"),
        ("Random", "random"),
        ("least_requests", "least_request"),
        ("p2", "p2c"),
        ("peak-ewma", "peak_ewma"),
        ("leasttime", "least_time"),
        ("consistent_hsh", "consistent_hash"),
        ("MAGLEV", "maglev"),
        ("rendez_vous", "rendezvous"),
    ] {
        refuses_balance(typo, &format!("5:14: pools.web.balance: unknown algorithm '{typo}', did you mean '{known}'?"));
    }
}

#[test]
fn what_others_call_an_algorithm_is_translated() {
    for (word, ours) in [
        ("least_conn", "least_request"),
        ("leastconn", "least_request"),
        ("least-connections", "least_request"),
        ("ip_hash", "{ consistent_hash: { key: client_ip } }"),
        ("source", "{ consistent_hash: { key: client_ip } }"),
        ("roundrobin", "round_robin"),
        ("rr", "round_robin"),
        ("RING_HASH", "consistent_hash"),
        ("ketama", "consistent_hash"),
        ("hash", "consistent_hash"),
        ("ewma", "peak_ewma"),
        ("random_two", "p2c"),
        ("power_of_two_choices", "p2c"),
    ] {
        refuses_balance(word, &format!("5:14: pools.web.balance: unknown algorithm '{word}', did you mean '{ours}'?"));
    }
    refuses_balance(
        "\n      hash: { on: ip }",
        "6:7: pools.web.balance.hash: unknown algorithm 'hash', did you mean 'consistent_hash'?",
    );
}

#[test]
fn some_take_no_options() {
    for name in ["round_robin", "random", "p2c"] {
        refuses(
            &with(&format!("    balance:\n      {name}: {{ a: 1 }}\n")),
            &[&format!("6:{}: pools.web.balance.{name}.a: unknown key: {name} has no options", name.len() + 11)],
        );
        refuses(
            &with(&format!("    balance:\n      {name}: 2\n")),
            &[&format!("6:{}: pools.web.balance.{name}: must be {{}}, it has no options, got 2", name.len() + 9)],
        );
    }
}

#[test]
fn an_extension_is_one_name() {
    refuses_balance(
        "{ mine: { a: 1 }, x: {} }",
        "5:5: pools.web.balance: must be an algorithm, NAME or { NAME: options }, got a map of 2 keys",
    );
    refuses_balance("[p2c]", "5:5: pools.web.balance: must be an algorithm, NAME or { NAME: options }, got a list");
    refuses_balance(
        "'my own'",
        "5:14: pools.web.balance: must be named with 1 to 100 letters, digits, '_', '-' and '.', got 'my own'",
    );
    refuses_balance(
        "{ 'my own': {} }",
        "5:16: pools.web.balance.my own: must be named with 1 to 100 letters, digits, '_', '-' and '.', got 'my own'",
    );
}

#[test]
fn choices_and_decay_are_checked() {
    refuses_balance(
        "{ least_request: { choices: 1 } }",
        "5:42: pools.web.balance.least_request.choices: must be 2 to 64, got 1 (or write all)",
    );
    refuses_balance(
        "{ least_request: { choices: 65 } }",
        "5:42: pools.web.balance.least_request.choices: must be 2 to 64, got 65 (or write all)",
    );
    refuses_balance(
        "{ least_request: { choices: every } }",
        "5:42: pools.web.balance.least_request.choices: must be a whole number, 2 to 64, got 'every' (or write all)",
    );
    refuses_balance(
        "{ least_request: { choice: 2 } }",
        "5:33: pools.web.balance.least_request.choice: unknown key, did you mean 'choices'?",
    );
    refuses_balance(
        "{ least_request: { decay: 1s } }",
        "5:33: pools.web.balance.least_request.decay: unknown key; allowed here: choices",
    );
    refuses_balance("{ least_request: 2 }", "5:31: pools.web.balance.least_request: must be a map of keys, got 2");
    refuses_balance(
        "{ peak_ewma: { decay: 10 } }",
        "5:36: pools.web.balance.peak_ewma.decay: must be a duration with its unit, like 2s or 250ms, got 10 (write 10s or 10ms)",
    );
    refuses_balance(
        "{ least_time: { interval: 1s } }",
        "5:30: pools.web.balance.least_time.interval: unknown key; allowed here: choices or decay",
    );
}

#[test]
fn keys_are_checked() {
    let forms = "must be client_ip, path, { header: NAME }, { cookie: NAME } or { query: NAME }";
    let token = "1 to 100 letters, digits and any of !#$%&'*+-.^_`|~";
    refuses(
        &with(
            r#"    balance:
      consistent_hash:
        key:
          - ip
          - {}
          - { header: "a b", from: x }
          - { cookie: a=b }
          - { query: "a b" }
          - { header: a, query: b }
          - client_ip
          - [path]
          - client_ip
          - { heder: a }
          - { header: X-User }
          - { header: x-user }
          -
"#,
        ),
        &[
            &format!("8:13: pools.web.balance.consistent_hash.key[0]: {forms}, got 'ip'"),
            &format!("9:13: pools.web.balance.consistent_hash.key[1]: {forms}, got a map"),
            &format!(
                "10:23: pools.web.balance.consistent_hash.key[2].header: must be the name of a header, {token}, got 'a b'"
            ),
            "10:30: pools.web.balance.consistent_hash.key[2].from: unknown key; allowed here: header, cookie or query",
            &format!(
                "11:23: pools.web.balance.consistent_hash.key[3].cookie: must be the name of a cookie, {token}, got 'a=b'"
            ),
            "12:22: pools.web.balance.consistent_hash.key[4].query: must be the name of a query parameter as it is sent, 1 to 100 visible ASCII characters but '&', '=' and '#', got 'a b'",
            "13:13: pools.web.balance.consistent_hash.key[5]: is several sources in one; write a list of them, the first that a request has counts",
            &format!("15:13: pools.web.balance.consistent_hash.key[7]: {forms}, got a list"),
            "16:13: pools.web.balance.consistent_hash.key[8]: is in this list already",
            "17:15: pools.web.balance.consistent_hash.key[9].heder: unknown key, did you mean 'header'?",
            "19:13: pools.web.balance.consistent_hash.key[11]: is in this list already",
            &format!("20:12: pools.web.balance.consistent_hash.key[12]: {forms}, got nothing"),
        ],
    );
    refuses_balance(
        "{ rendezvous: { key: header } }",
        &format!("5:35: pools.web.balance.rendezvous.key: {forms}, got 'header'"),
    );
    refuses_balance(
        "{ rendezvous: { key: [] } }",
        "5:30: pools.web.balance.rendezvous.key: must be a list of sources, got an empty one",
    );
    refuses_balance(
        "{ rendezvous: { keys: path } }",
        "5:30: pools.web.balance.rendezvous.keys: unknown key, did you mean 'key'?",
    );
}

#[test]
fn a_bounded_load_is_above_the_average() {
    refuses_balance(
        "{ maglev: { bounded_load: 100% } }",
        "5:40: pools.web.balance.maglev.bounded_load: must be 101% to 1000%, got '100%'",
    );
    refuses_balance(
        "{ rendezvous: { bounded_load: 1001% } }",
        "5:44: pools.web.balance.rendezvous.bounded_load: must be 101% to 1000%, got '1001%'",
    );
    refuses_balance(
        "{ consistent_hash: { bounded_load: 1.25 } }",
        "5:49: pools.web.balance.consistent_hash.bounded_load: must be a whole percentage, 101% to 1000%, got 1.25 (write 125%)",
    );
}

#[test]
fn a_table_has_a_prime_number_of_places() {
    let key = "5:38: pools.web.balance.maglev.table_size";
    for (size, message) in [
        ("65536", "must be a prime number, got 65536 (the next one is 65537)"),
        ("4", "must be a prime number, got 4 (the next one is 5)"),
        ("25", "must be a prime number, got 25 (the next one is 29)"),
        ("5000010", "must be a prime number, got 5000010 (the next one is 5000011)"),
        ("2", "must be 3 to 5000011, got 2"),
        ("5000012", "must be 3 to 5000011, got 5000012"),
        ("large", "must be a whole number, 3 to 5000011, got 'large'"),
    ] {
        refuses_balance(&format!("{{ maglev: {{ table_size: {size} }} }}"), &format!("{key}: {message}"));
    }
    refuses_balance(
        "{ rendezvous: { table_size: 3 } }",
        "5:30: pools.web.balance.rendezvous.table_size: unknown key; allowed here: key or bounded_load",
    );
}

#[test]
fn every_algorithm_has_three_forms_without_options() {
    let defaults = [
        Balance::RoundRobin,
        Balance::Random,
        Balance::LeastRequest(Choices::All),
        Balance::P2c,
        Balance::PeakEwma(Decay::default()),
        Balance::LeastTime(LeastTime::default()),
        Balance::ConsistentHash(Hashing::default()),
        Balance::Maglev(Hashing::default(), TableSize(65_537)),
        Balance::Rendezvous(Hashing::default()),
    ];
    for (name, default) in BUILT_IN.into_iter().zip(defaults) {
        assert_eq!(balance(name), default);
        assert_eq!(balance(&format!("{{ {name}: {{}} }}")), default);
        assert_eq!(balance(&format!("\n      {name}:")), default);
    }
}

#[test]
fn options_arrive() {
    assert_eq!(balance("{ least_request: { choices: all } }"), Balance::LeastRequest(Choices::All));
    assert_eq!(balance("{ least_request: { choices: 2 } }"), Balance::LeastRequest(Choices::Drawn(2)));
    let decay = Decay(Duration::from_millis(500));
    assert_eq!(balance("{ peak_ewma: { decay: 500ms } }"), Balance::PeakEwma(decay));
    assert_eq!(
        balance("{ least_time: { choices: 64, decay: 500ms } }"),
        Balance::LeastTime(LeastTime { choices: Choices::Drawn(64), decay })
    );
    let path = Hashing { key: vec![KeySource::Path], bounded_load: Some(Percent(1000)) };
    assert_eq!(balance("{ consistent_hash: { key: path, bounded_load: 1000% } }"), Balance::ConsistentHash(path));
    let key = vec![
        KeySource::Header("x-user".into()),
        KeySource::Cookie("Session".into()),
        KeySource::Query("User%20Id".into()),
        KeySource::Path,
        KeySource::ClientIp,
    ];
    let list = "[{ header: X-User }, { cookie: Session }, { query: User%20Id }, path, client_ip]";
    assert_eq!(
        balance(&format!("{{ maglev: {{ key: {list}, bounded_load: 101%, table_size: 3 }} }}")),
        Balance::Maglev(Hashing { key, bounded_load: Some(Percent(101)) }, TableSize(3))
    );
    let tenant = Hashing { key: vec![KeySource::Header("5".into())], bounded_load: None };
    assert_eq!(balance("{ rendezvous: { key: { header: 5 }, bounded_load: off } }"), Balance::Rendezvous(tenant));
    let largest = balance("{ maglev: { table_size: 5000011 } }");
    assert_eq!(largest, Balance::Maglev(Hashing::default(), TableSize(TableSize::MAX)));
}

#[test]
fn any_other_name_is_an_extension() {
    let Balance::Extension(own) = balance("least_in_flight") else { panic!() };
    assert_eq!((own.name.as_str(), own.options.key.as_str()), ("least_in_flight", "pools.web.balance.least_in_flight"));
    let Balance::Extension(own) = balance("{ mine: { a: 1 } }") else { panic!() };
    assert_eq!((own.name.as_str(), &own.options.value), ("mine", &serde_json::json!({ "a": 1 })));
}
