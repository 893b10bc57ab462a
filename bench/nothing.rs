//! Evenkeel with a filter that implements no hook: what a filter costs that does nothing. `bench/filters` runs it.

use std::process::ExitCode;

use evenkeel::filter::Filter;

struct Nothing;

impl Filter for Nothing {}

fn main() -> ExitCode {
    evenkeel::cli::main(|app| {
        app.filter("nothing", |options| {
            options.none()?;
            Ok(Nothing)
        })
    })
}
