//! The pages are those of `docs/` in the repository; `build.rs` makes the modules.
include!(concat!(env!("OUT_DIR"), "/book.rs"));
