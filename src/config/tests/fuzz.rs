//! No text makes the loader panic. The mutations are random but always the same.

use std::path::Path;

use super::Config;
use super::full::{FULL, everything};

const ROUNDS: usize = 10_000;
/// What YAML and our own readers take for special.
const PIECES: &[&str] = &[
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "!x ",
    "|\n",
    ">\n",
    "%",
    "@",
    "? ",
    "---\n",
    "...\n",
    "<<: ",
    "\n",
    "\n  ",
    "\t",
    "\r\n",
    "\0",
    "\u{feff}",
    "é",
    "🦀",
    "\u{85}",
    "\u{2028}",
    "\\",
    "~",
    "off",
    "0",
    "-1",
    "99999999999999999999",
    "1e999",
    ".nan",
    "NaN",
    "0s",
    "18446744073709551615s",
    "999999999999999d",
    "1EiB",
    "99999999EiB",
    "70%",
    "1e999%",
    "0.7",
    "p2c",
    "maglev",
    "client_ip",
    "::",
    "[::]:",
    "unix:",
    ".",
    "*.",
    "/",
    "(",
    "null",
    "true",
    "\u{1b}[",
];

fn boundary(text: &str, rng: &mut fastrand::Rng) -> usize {
    let mut at = rng.usize(..=text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn mutate(text: &mut String, rng: &mut fastrand::Rng) {
    let (from, to) = (boundary(text, rng), boundary(text, rng));
    let (from, to) = (from.min(to), from.max(to));
    match rng.u8(..6) {
        0 => text.replace_range(from..to, ""),
        1 => text.truncate(from),
        2 if to - from < 2000 => {
            let copy = text[from..to].to_owned();
            let at = boundary(text, rng);
            text.insert_str(at, &copy);
        }
        _ => {
            // Most changes are small, or nothing would be left that comes near to a configuration.
            let end = (from + rng.usize(..4)).min(text.len());
            let piece = PIECES[rng.usize(..PIECES.len())];
            if text.is_char_boundary(end) {
                text.replace_range(from..end, piece);
            }
        }
    }
}

/// Without comments a mutation hits something that matters.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("  #").next().unwrap_or_default());
    let plain: Vec<&str> = lines.filter(|line| !line.trim_start().starts_with('#') && !line.is_empty()).collect();
    plain.join("\n")
}

#[test]
fn no_mutation_panics() {
    let mut rng = fastrand::Rng::with_seed(7);
    let starts = [plain(FULL), plain(&everything())];
    for round in 0..ROUNDS {
        let mut text = starts[round % starts.len()].clone();
        for _ in 0..rng.usize(1..4) {
            mutate(&mut text, &mut rng);
        }
        if let Err(e) = Config::parse(&text, Some(Path::new("lb.yaml"))) {
            assert!(!e.mistakes.is_empty(), "round {round}: refused without a reason");
            let printed = e.to_string();
            assert!(!printed.contains(['\u{1b}', '\0']), "round {round}: {printed:?}");
        }
    }
}

#[test]
fn hostile_files_end_soon() {
    let started = std::time::Instant::now();
    let laughs =
        (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| format!("{text}a{i}: &a{i} [*a{j}, *a{j}]\n", j = i - 1));
    let tall = (1..200).fold(format!("a0: &a0 {}{}\n", "[".repeat(50), "]".repeat(50)), |text, i| {
        format!("{text}a{i}: &a{i} {}*a{}{}\n", "[".repeat(50), i - 1, "]".repeat(50))
    });
    let megabyte = 1 << 20;
    let keys: String = (0..50_000).map(|i| format!("k{i}: v\n")).collect();
    for text in [
        laughs,
        tall,
        "[".repeat(megabyte),
        "{a: ".repeat(megabyte / 4),
        "- ".repeat(megabyte / 2),
        "a".repeat(megabyte),
        keys,
    ] {
        assert!(Config::parse(&text, None).is_err());
    }
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}
