//! How to run it, and how to extend it: the pages of `docs/`, as the repository has them.
//!
//! Begin with the [start]. `build.rs` makes the modules.
include!(concat!(env!("OUT_DIR"), "/book.rs"));
