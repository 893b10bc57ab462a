//! The one way down: which folder of `src` may import which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Who may import whom, beside itself; `app` and what starts it may import everybody, and so may what tries all parsers.
const MAY: [(&str, &[&str]); 20] = [
    // The pages of docs/, no code.
    ("book", &[]),
    ("testing", &["app", "admin", "health", "config"]),
    ("cli", &["app", "admin", "config"]),
    // A program on top of the library, which brings a filter of its own.
    ("cli/demo", &["app", "config", "filter"]),
    ("admin", &["proxy", "pool", "backend", "metrics", "config"]),
    ("front", &["proxy", "access_log", "metrics", "reason", "terms", "config"]),
    ("proxy", &["pool", "route", "filter", "access_log", "backend", "metrics", "reason", "terms", "config"]),
    ("access_log", &["filter", "reason", "config"]),
    ("filter", &["route", "pool", "backend", "metrics", "reason", "terms", "config"]),
    ("route", &["config"]),
    ("pool", &["selection", "health", "discovery", "backend", "metrics", "proxy_header", "config"]),
    ("selection", &["backend", "config"]),
    ("health", &["backend", "proxy_header", "config"]),
    ("discovery", &["backend", "config"]),
    ("backend", &["metrics", "config"]),
    ("metrics", &["reason"]),
    ("proxy_header", &["config"]),
    ("config", &[]),
    ("reason", &[]),
    ("terms", &["config"]),
];

/// Modules of ours that a text names after `crate::`, in paths and in braces.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    for after in code.collect::<Vec<_>>().join("\n").split("crate::").skip(1) {
        let group = after.strip_prefix('{').map(|rest| rest.split('}').next().unwrap_or_default());
        let names = group.map_or_else(|| vec![after], |group| group.split(',').collect());
        for name in names {
            let word: String = name.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.insert(word);
        }
    }
    found
}

fn files(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_import_goes_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let may: BTreeMap<_, BTreeSet<_>> = MAY.iter().map(|(name, to)| (*name, to.iter().copied().collect())).collect();
    let mut all = Vec::new();
    files(&src, &mut all);
    let mut wrong = Vec::new();
    for file in all {
        let inside = file.strip_prefix(&src).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "main" | "app" | "fuzzing") {
            continue;
        }
        let inner = inside.parent().unwrap().to_str().unwrap();
        let Some(allowed) = may.get(inner).or_else(|| may.get(module)) else {
            wrong.push(format!("{}: a module that MAY does not know", inside.display()));
            continue;
        };
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            if import != module && !allowed.contains(import.as_str()) {
                wrong.push(format!("{}: imports crate::{import}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::pool::Pool;\nuse crate::{ctx::Ctx, reason};\nlet x = crate::app::y(); // crate::no";
    let found: Vec<_> = imports(text).into_iter().collect();
    assert_eq!(found, ["app", "ctx", "pool", "reason"]);
}
