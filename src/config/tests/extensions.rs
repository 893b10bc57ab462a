//! What stands beside the name of an extension, read as a type of its author's.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{Config, at};
use crate::config::{Options, Period, Size};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    rate: u32,
    #[serde(default)]
    every: Option<Period>,
    #[serde(default)]
    body: Option<Size>,
    #[serde(default)]
    by: Vec<Key>,
    #[serde(default)]
    names: BTreeMap<String, u8>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Key {
    ClientIp,
    Header(String),
}

fn options(written: &str) -> Options {
    let text = format!(
        "listeners: [{{ address: :80 }}]\npools: {{ web: {{ backends: [a:1] }} }}\nroutes:\n  - pool: web\n    filters:\n      - limit:\n{written}"
    );
    let config = Config::parse(&text, Some(Path::new("/etc/lb.yaml"))).unwrap();
    config.routes[0].filters[0].options.clone()
}

#[test]
fn options_are_read_as_a_type() {
    let limit: Limit = options(
        "          rate: 5\n          every: 250ms\n          body: 64KiB\n          by: [client_ip, { header: x-user }]\n          names: { a: 1 }\n",
    )
    .parse()
    .unwrap();
    assert_eq!((limit.rate, limit.every.unwrap().as_millis(), limit.body.unwrap().0), (5, 250, 65536));
    assert_eq!(limit.by, [Key::ClientIp, Key::Header("x-user".into())]);
    assert_eq!(limit.names["a"], 1);
}

#[test]
fn a_mistake_has_the_place_and_the_words_of_all_others() {
    for (written, place, message) in [
        ("          rate: x\n", (7, 17, "rate"), "must be a whole number, 0 to 4294967295, got string \"…\""),
        ("          every: 1s\n", (6, 9, ""), "needs 'rate'"),
        ("          rate: 1\n          evry: 1s\n", (8, 11, "evry"), "unknown key, did you mean 'every'?"),
        (
            "          rate: 1\n          frobnicate: 1s\n",
            (8, 11, "frobnicate"),
            "unknown key; allowed here: rate, every, body, by or names",
        ),
        (
            "          rate: 1\n          every: 5\n",
            (8, 18, "every"),
            "must be a duration with its unit, like 2s or 250ms, got 5 (write 5s or 5ms)",
        ),
        (
            "          rate: 1\n          body: lots\n",
            (8, 17, "body"),
            "must be a size with its unit, like 64KiB or 1GiB",
        ),
        (
            "          rate: 1\n          by:\n            - client_ip\n            - clientip\n",
            (10, 15, "by[1]"),
            "must be client_ip or header",
        ),
        (
            "          rate: 1\n          names:\n            a: 1\n            b: 300\n",
            (10, 16, "names.b"),
            "must be a whole number, 0 to 255, got integer `300`",
        ),
    ] {
        let mistake = options(written).parse::<Limit>().unwrap_err();
        let (line, column, key) = place;
        let key = if key.is_empty() { String::new() } else { format!(".{key}") };
        assert_eq!(mistake.message, message, "{written}");
        assert_eq!(mistake.key, format!("routes[0].filters[0].limit{key}"), "{written}");
        assert_eq!(mistake.at, at(line, column), "{written}");
    }
}

#[test]
fn a_mistake_that_a_type_cannot_express_has_its_place_too() {
    let options = options("          rate: 1\n          by: [a]\n");
    let mistake = options.mistake_at("by", "must not be");
    assert_eq!((mistake.at, &*mistake.key), (at(8, 11), "routes[0].filters[0].limit.by"));
    let missing = options.mistake_at("every", "must be there");
    assert_eq!((missing.at, &*missing.key), (at(6, 9), "routes[0].filters[0].limit.every"));
    assert_eq!(options.path("a/b.txt"), Path::new("/etc/a/b.txt"));
}
