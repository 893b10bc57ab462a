//! What `plan` says in advance is what a reload then does, over generated pairs of configurations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Output;

use crate::support::{Evenkeel, Origin};

/// Seeded, so that a failure can be looked at again.
struct Dice(fastrand::Rng);

impl Dice {
    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.0.usize(..of.len())]
    }

    /// A configuration of up to three pools, whose backends share a few addresses, and some routes.
    fn configuration(&mut self, backends: &[SocketAddr]) -> String {
        let names: Vec<&str> = ["web", "api", "img"].into_iter().filter(|_| self.0.u8(..4) > 0).collect();
        let names = if names.is_empty() { vec!["web"] } else { names };
        let mut text = String::from("pools:\n");
        for name in &names {
            let mut chosen: Vec<_> = backends.iter().filter(|_| self.0.bool()).collect();
            if chosen.is_empty() {
                chosen.push(&backends[0]);
            }
            self.0.shuffle(&mut chosen);
            let list: Vec<_> = chosen
                .iter()
                .map(|address| {
                    format!(
                        "{{ address: \"{address}\", {} }}",
                        self.one_of(&["weight: 1", "weight: 2", "zone: a", "max_in_flight: 9"])
                    )
                })
                .collect();
            text.push_str(&format!("  {name}:\n    backends: [{}]\n    ejection: off\n", list.join(", ")));
            let balance = self.one_of(&["round_robin", "p2c", "peak_ewma", "{ consistent_hash: { key: path } }"]);
            let check =
                self.one_of(&["off", "{ tcp: {} }", "{ http: { path: /healthz } }", "{ tcp: {}, interval: 9s }"]);
            text.push_str(&format!("    balance: {balance}\n    health_check: {check}\n"));
            let more = [
                "",
                "    slow_start: 1s\n",
                "    max_in_flight: 5\n    queue: {}\n",
                "    concurrency: adaptive\n",
                "    sticky: { cookie: lb }\n",
            ];
            text.push_str(self.one_of(&more));
        }
        text.push_str("routes:\n");
        for path in ["/a", "/b", "/c"].into_iter().filter(|_| self.0.bool()).collect::<Vec<_>>() {
            let action = if self.0.bool() {
                format!("pool: {}", self.one_of(&names))
            } else {
                "respond: { status: 204 }".to_owned()
            };
            text.push_str(&format!("  - {{ match: {{ path: {path} }}, {action} }}\n"));
        }
        text.push_str(&format!("  - pool: {}\n", names[0]));
        text + self.one_of(&["", "limits: { max_body_size: 1MiB }\n", "trusted_proxies: [10.0.0.0/8]\n"])
    }
}

/// The pools of a process: name, and address and weight of each backend.
fn inventory(evenkeel: &Evenkeel) -> BTreeMap<String, Vec<String>> {
    let name = |pool: &serde_json::Value| pool["name"].as_str().unwrap().to_owned();
    let one = |backend: &serde_json::Value| format!("{} {}", backend["address"], backend["weight"]);
    let backends = |pool: &serde_json::Value| pool["backends"].as_array().unwrap().iter().map(one).collect();
    evenkeel.pools().iter().map(|pool| (name(pool), backends(pool))).collect()
}

#[test]
fn what_a_plan_says_is_what_a_reload_does() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = Dice(fastrand::Rng::with_seed(seed));
    let origins = ["a", "b", "c", "d"].map(Origin::saying);
    let addresses = origins.each_ref().map(|origin| origin.address);
    let evenkeel = Evenkeel::start(&dice.configuration(&addresses));
    for round in 0..40 {
        let yaml = dice.configuration(&addresses);
        let (before, known) = (evenkeel.metric("evenkeel_config_generation"), inventory(&evenkeel));
        evenkeel.write(&yaml);
        let planned = evenkeel.ask("plan", &["--json"]);
        let context = format!("seed {seed}, round {round}, {}\n{yaml}", text_of(&planned));
        assert!(matches!(planned.status.code(), Some(0 | 3)), "{context}");
        assert_eq!(
            (evenkeel.metric("evenkeel_config_generation"), &inventory(&evenkeel)),
            (before, &known),
            "{context}"
        );
        let done = evenkeel.ask("reload", &["--json"]);
        let [planned, done] =
            [&planned, &done].map(|output| serde_json::from_slice::<serde_json::Value>(&output.stdout));
        let (planned, done) = (planned.unwrap(), done.unwrap());
        assert_eq!(planned, done, "{context}");
        let now = inventory(&evenkeel);
        let count = |of: &BTreeMap<String, Vec<String>>| of.values().map(Vec::len).sum::<usize>() as u64;
        let tally = |what: &str, word: &str| done[what][word].as_u64().unwrap();
        let here = ["kept", "changed", "added"].map(|word| tally("backends", word)).iter().sum::<u64>();
        let there = ["kept", "changed", "removed"].map(|word| tally("backends", word)).iter().sum::<u64>();
        assert_eq!((here, there), (count(&now), count(&known)), "{context}");
        let (gone, new) = (
            known.keys().filter(|name| !now.contains_key(*name)),
            now.keys().filter(|name| !known.contains_key(*name)),
        );
        assert_eq!(
            (tally("pools", "removed"), tally("pools", "added")),
            (gone.count() as u64, new.count() as u64),
            "{context}"
        );
        let again = evenkeel.ask("plan", &[]);
        assert_eq!((again.status.code(), text(&again.stdout).as_str()), (Some(0), "no changes"), "{context}");
    }
}

fn text_of(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}
