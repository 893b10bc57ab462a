//! Every target: the parser of the program's own name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel::fuzzing::run(env!("CARGO_BIN_NAME"), data));
