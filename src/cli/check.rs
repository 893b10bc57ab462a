//! `evenkeel check`: every mistake at once, those of the file and those of its surroundings.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::{WRONG, load, wrong};
use crate::app::App;
use crate::config::{ConfigError, Mistake};

pub(super) fn check(file: &Path, as_json: bool, extend: &impl Fn(App) -> App) -> ExitCode {
    let app = App::of(load(file), extend);
    let warnings = app.as_ref().ok().and_then(App::warnings);
    let result = app.and_then(|app| app.check());
    if as_json {
        println!("{}", to_json(file, result.as_ref().err(), warnings.as_ref()));
        return if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) };
    }
    if let Some(warnings) = warnings {
        eprintln!("warning: {}", warnings.to_string().replace('\n', "\nwarning: "));
    }
    match result {
        Ok(()) => {
            println!("{}: valid", file.display());
            ExitCode::SUCCESS
        }
        Err(e) => wrong(e),
    }
}

fn to_json(file: &Path, error: Option<&ConfigError>, warnings: Option<&ConfigError>) -> serde_json::Value {
    let list = |error: Option<&ConfigError>| -> Vec<serde_json::Value> {
        let mistakes = error.iter().flat_map(|error| &error.mistakes);
        let one = |m: &Mistake| json!({ "line": m.at.line, "column": m.at.column, "key": m.key, "message": m.message });
        mistakes.map(one).collect()
    };
    json!({ "file": file, "valid": error.is_none(), "mistakes": list(error), "warnings": list(warnings) })
}
