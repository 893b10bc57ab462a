//! `evenkeel demo`: something to try in one command.

use std::process::ExitCode;

use super::failed;
use crate::app::App;

pub(super) fn demo(_extend: &impl Fn(App) -> App) -> ExitCode {
    failed("the demo is not here yet")
}
