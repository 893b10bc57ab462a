//! Makes the crate's documentation of the pages in `docs/`: `evenkeel::book`, a module for each page.
//!
//! Its snippets are compiled and run like all others then. The pages are written for a reader of the repository, whose links
//! name files; rustdoc's name items. A link to another page becomes one, and what leads out of `docs/` stays as text.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=docs");
    let docs = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("docs");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    let modules = modules(&docs, Path::new(""), &out)?;
    fs::write(out.join("book.rs"), modules)
}

/// The modules of a folder's pages. A page has the pages of the folder of its name within it.
fn modules(docs: &Path, folder: &Path, out: &Path) -> io::Result<String> {
    let mut pages: Vec<PathBuf> =
        fs::read_dir(docs.join(folder))?.map(|entry| Ok(folder.join(entry?.file_name()))).collect::<io::Result<_>>()?;
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    let mut modules = String::new();
    for page in pages.iter().filter(|page| named(page).is_some()) {
        let text = fs::read_to_string(docs.join(page))?;
        let copy = out.join("book").join(page);
        fs::create_dir_all(copy.parent().unwrap_or(out))?;
        fs::write(&copy, for_rustdoc(&text, folder))?;
        let below = page.with_extension("");
        let inner = if docs.join(&below).is_dir() { self::modules(docs, &below, out)? } else { String::new() };
        let name = module(&below);
        let _ =
            writeln!(modules, "#[doc = include_str!({:?})]\npub mod {name} {{\n{inner}}}", copy.display().to_string());
    }
    Ok(modules)
}

/// The page as it is, but for its links and for fences without a language, which rustdoc takes for Rust.
fn for_rustdoc(text: &str, folder: &Path) -> String {
    let mut page = String::new();
    let mut in_fence = false;
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        if fence && !in_fence && line.trim_start() == "```" {
            let _ = writeln!(page, "{line}text");
        } else if fence || in_fence {
            let _ = writeln!(page, "{line}");
        } else {
            let _ = writeln!(page, "{}", with_links(line, folder));
        }
        in_fence ^= fence;
    }
    page
}

fn with_links(line: &str, folder: &Path) -> String {
    let mut changed = String::new();
    let mut rest = line;
    while let Some((before, (target, after))) =
        rest.split_once("](").and_then(|(before, after)| Some((before, after.split_once(')')?)))
    {
        let open = before.rfind('[').unwrap_or(0);
        let (file, fragment) = target.split_once('#').map_or((target, ""), |(file, fragment)| (file, fragment));
        let elsewhere = target.contains("://") || file.is_empty();
        let _ = match page(&folder.join(file)) {
            _ if elsewhere => write!(changed, "{before}]({target})"),
            Some(module) if fragment.is_empty() => write!(changed, "{before}]({module})"),
            Some(module) => write!(changed, "{before}]({module}#{fragment})"),
            None => write!(changed, "{}{}", &before[..open], before.get(open + 1..).unwrap_or_default()),
        };
        rest = after;
    }
    changed + rest
}

/// The item of a page, if that is what the path leads to.
fn page(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            // Out of `docs/`.
            Component::ParentDir => drop(parts.pop()?),
            _ => return None,
        }
    }
    let page: PathBuf = parts.iter().collect();
    if page == Path::new("README.md") {
        return Some("crate::book".to_owned());
    }
    page.extension().filter(|extension| *extension == "md")?;
    let modules: Vec<String> = page.with_extension("").iter().map(|part| module(Path::new(part))).collect();
    Some(format!("crate::book::{}", modules.join("::")))
}

/// The pages that are a module: not the book's first, which is the module around them, and not its list of pages.
fn named(page: &Path) -> Option<&str> {
    page.file_stem()?.to_str().filter(|name| !matches!(*name, "README" | "SUMMARY"))
}

fn module(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().replace('-', "_")
}
