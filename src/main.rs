//! The `evenkeel` command: the library's own command line, with nothing added to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel::cli::main(|app| app)
}
