//! The whole way from text to configuration or to messages, by subject.

use std::path::Path;

use super::Config;

mod scratch;

/// A valid configuration.
fn parsed(text: &str) -> Config {
    Config::parse(text, Some(Path::new("/etc/lb.yaml"))).unwrap_or_else(|e| panic!("{e}"))
}

/// What is printed for a broken one.
fn printed(text: &str) -> String {
    Config::parse(text, Some(Path::new("lb.yaml"))).unwrap_err().to_string()
}

/// A valid start whose `pools.web` and top level can go on.
fn with(rest: &str) -> String {
    format!("listeners: [{{ address: :80 }}]\npools:\n  web:\n    backends: [a:1]\n{rest}")
}
