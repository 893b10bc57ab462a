//! `evenkeel check`: every mistake at once, those of the file and those of its surroundings.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::{WRONG, load, wrong};
use crate::app::App;
use crate::config::ConfigError;

pub(super) fn check(file: &Path, as_json: bool, extend: &impl Fn(App) -> App) -> ExitCode {
    let result = load(file).and_then(|config| extend(App::new(config)).check());
    match (result, as_json) {
        (result, true) => {
            println!("{}", to_json(file, result.as_ref().err()));
            if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
        }
        (Ok(()), false) => {
            println!("{}: valid", file.display());
            ExitCode::SUCCESS
        }
        (Err(e), false) => wrong(e),
    }
}

fn to_json(file: &Path, error: Option<&ConfigError>) -> serde_json::Value {
    let mistakes: Vec<_> = error
        .iter()
        .flat_map(|error| &error.mistakes)
        .map(|m| json!({ "line": m.at.line, "column": m.at.column, "key": m.key, "message": m.message }))
        .collect();
    json!({ "file": file, "valid": mistakes.is_empty(), "mistakes": mistakes })
}
