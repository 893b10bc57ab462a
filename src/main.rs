//! The `evenkeel` command: the library's own command line, with nothing added to it.

use std::process::ExitCode;

/// A proxied request makes some hundred small allocations, most of them Pingora's; the system's allocator spends a fifth of
/// a request's instructions on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    evenkeel::cli::main(|app| app)
}
