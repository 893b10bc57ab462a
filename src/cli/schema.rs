//! `evenkeel schema`: what a configuration may hold, for editors.

use std::process::ExitCode;

use super::failed;
use crate::app::App;
use crate::config::Config;

pub(super) fn schema(extend: &impl Fn(App) -> App) -> ExitCode {
    // What is registered does not depend on the configuration, but an app has one.
    let shortest = "pools: { web: { backends: [127.0.0.1:1] } }\nlisteners: [{ address: 127.0.0.1:1 }]";
    match Config::parse(shortest, None) {
        Ok(config) => {
            println!("{:#}", extend(App::new(config)).schema());
            ExitCode::SUCCESS
        }
        Err(e) => failed(e),
    }
}
