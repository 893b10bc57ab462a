//! The whole way from text to configuration or to messages, by subject.

use std::path::Path;

use super::{Config, Position};

mod backends;
mod balance;
mod ejection;
mod extensions;
mod file;
pub(in crate::config) mod full;
mod fuzz;
mod health;
mod listeners;
mod overload;
mod policies;
mod pools;
mod route_actions;
mod route_matches;
mod routes;
mod server;
mod surroundings;
mod tls;
mod transport;

/// A valid configuration.
fn parsed(text: &str) -> Config {
    Config::parse(text, Some(Path::new("/etc/lb.yaml"))).unwrap_or_else(|e| panic!("{e}"))
}

/// All that is printed for a broken one, a line each, without the name of the file.
#[track_caller]
fn refuses(text: &str, lines: &[&str]) {
    let printed = Config::parse(text, Some(Path::new("lb.yaml"))).unwrap_err().to_string();
    let printed: Vec<_> = printed.lines().map(|line| line.strip_prefix("lb.yaml:").unwrap().trim_start()).collect();
    assert_eq!(printed, lines);
}

/// A valid start; `rest` goes on in `pools.web`, in `pools` or at the top, as it is indented.
fn with(rest: &str) -> String {
    format!("listeners: [{{ address: :80 }}]\npools:\n  web:\n    backends: [a:1]\n{rest}")
}

fn at(line: usize, column: usize) -> Position {
    Position { line, column }
}
