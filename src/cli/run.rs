//! `evenkeel -c FILE`, `evenkeel --listen … --to …`, and `-t`.

use std::process::ExitCode;

use super::{Arguments, check, failed, load, wrong};
use crate::app::{App, RunError, RunOptions};
use crate::config::{Config, ConfigError};

pub(super) fn run(arguments: &Arguments, extend: &impl Fn(App) -> App) -> ExitCode {
    if let (true, Some(file)) = (arguments.test, &arguments.conf) {
        return check::check(file, false, extend);
    }
    let Some(config) = configuration(arguments) else {
        return wrong("what to run? evenkeel -c FILE, evenkeel --listen ADDRESS --to HOST:PORT, or evenkeel demo");
    };
    let app = match App::of(config, extend) {
        Ok(app) => app,
        Err(e) => return wrong(e),
    };
    if arguments.test {
        return app.check().map_or_else(wrong, |()| ExitCode::SUCCESS);
    }
    start_log();
    let options = RunOptions { daemon: arguments.daemon, upgrade: arguments.upgrade };
    end(app.run(options))
}

fn configuration(arguments: &Arguments) -> Option<Result<Config, ConfigError>> {
    match (&arguments.conf, &arguments.listen) {
        (Some(file), _) => Some(load(file)),
        (None, Some(listen)) => Some(Config::quick(listen, &arguments.to)),
        (None, None) => None,
    }
}

/// The exit code for how an app ended.
pub(super) fn end(result: Result<(), RunError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Config(e)) => wrong(e),
        Err(e) => failed(e),
    }
}

/// The error log: to stderr, ours from `info`, pingora's from `error`, but nothing of its proxy: it calls every client that
/// hangs up an error, and what concerns a request we say ourselves. `RUST_LOG` changes all of it, but not to `trace`: pingora 0.9.1 panics there over a response header that is not UTF-8.
pub(super) fn start_log() {
    const LEVELS: &str = "info,pingora_core=error,pingora_proxy=off,pingora_load_balancing=error";
    let env = env_logger::Env::default().default_filter_or(LEVELS);
    env_logger::Builder::from_env(env).format_target(false).init();
    log::set_max_level(log::max_level().min(log::LevelFilter::Debug));
}
