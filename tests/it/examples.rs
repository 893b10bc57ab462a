//! The examples, which bring their tests along; and where their programs are, for tests that run these.

use std::path::{Path, PathBuf};

#[allow(dead_code)]
#[path = "../../examples/algorithm.rs"]
mod algorithm;
#[allow(dead_code)]
#[path = "../../examples/discovery.rs"]
mod discovery;
#[allow(dead_code)]
#[path = "../../examples/health_check.rs"]
mod health_check;
#[allow(dead_code)]
#[path = "../../examples/hook.rs"]
mod hook;

/// The program of an example, which `cargo test` builds beside the tests; `None`, said, where only these were built.
pub fn example(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_evenkeel")).with_file_name("examples").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is not built", path.display());
    println!("skipped: {} is not built, cargo build --examples builds it", path.display());
    None
}
