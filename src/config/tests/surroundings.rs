//! `environment`: what a valid file still needs.

use std::fs;
use std::path::Path;

use super::super::environment::{contents, names};
use super::super::{Config, Mistake, Sticky, environment, unresolved};
use super::at;

fn said(config: &Config, folder: &Path) -> Vec<String> {
    let line = |m: Mistake| format!("{}:{}: {}: {}", m.at.line, m.at.column, m.key, m.message);
    let folder = format!("{}/", folder.display());
    environment(config).into_iter().map(line).map(|line| line.replace(&folder, "")).collect()
}

#[test]
fn names_must_resolve_wherever_they_stand() {
    let text = "listeners: [{ address: :80 }]\npools:\n  web:\n    backends: [here:1, nowhere:2, 10.0.0.1:3]\n  \
                api: { backends: [nowhere:2] }\nroutes: [{ pool: web }]\n";
    let look_up = |(name, port): (&str, u16)| match name {
        "here" => Ok(()),
        _ => Err(format!("nobody at {name}:{port}")),
    };
    let said = names(&Config::parse(text, None).unwrap(), look_up);
    let message = "cannot resolve 'nowhere' here, it will be tried again while running: nobody at nowhere:2";
    let expected = [
        Mistake::new(at(4, 24), "pools.web.backends[1]", message),
        Mistake::new(at(5, 21), "pools.api.backends[0]", message),
    ];
    assert_eq!(said, expected);
}

#[test]
fn localhost_resolves() {
    let text = "listeners: [{ address: :80 }]\npools: { web: { backends: [localhost:1] } }\n";
    assert_eq!(unresolved(&Config::parse(text, None).unwrap()), []);
}

#[test]
fn the_access_log_must_be_writable_and_is_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let config = |path: &str| {
        let text = format!(
            "listeners: [{{ address: :80 }}]\npools: {{ web: {{ backends: [127.0.0.1:1] }} }}\naccess_log: {path}\n"
        );
        Config::parse(&text, Some(&folder.path().join("lb.yaml"))).unwrap()
    };
    assert_eq!(said(&config("access.log"), folder.path()), [""; 0]);
    assert!(!folder.path().join("access.log").exists());
    assert_eq!(
        said(&config("nowhere/access.log"), folder.path()),
        ["0:0: access_log.path: not usable here: cannot write to nowhere/access.log: no such file or folder"]
    );
    assert_eq!(said(&config("/dev/null"), folder.path()), [""; 0]);
    assert_eq!(
        said(&config("/"), folder.path()),
        ["0:0: access_log.path: not usable here: cannot write to /: it is a directory"]
    );
}

/// What is wrong with a `sticky.secret_file` at `path` in `folder`.
fn secret(folder: &Path, path: &str) -> Vec<String> {
    let text = format!(
        "listeners: [{{ address: :80 }}]\npools:\n  web:\n    backends: [127.0.0.1:1]\n    sticky:\n      cookie: lb\n      \
         secret_file: {path}\n"
    );
    said(&Config::parse(&text, Some(&folder.join("lb.yaml"))).unwrap(), folder)
}

#[test]
fn a_secret_is_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let holding = |bytes: &[u8]| {
        fs::write(folder.path().join("s"), bytes).unwrap();
        secret(folder.path(), "s")
    };
    let short = |n: usize| {
        [format!("7:20: pools.web.sticky.secret_file: not usable here: s must hold at least 32 bytes, got {n}")]
    };
    assert_eq!(holding(b""), short(0));
    assert_eq!(holding(&[b'\n'; 32]), short(31));
    for newline in ["", "\n", "\r\n"] {
        let of = |n: usize| [vec![b'x'; n], newline.into()].concat();
        assert_eq!(holding(&of(31)), short(31));
        assert_eq!(holding(&of(32)), [""; 0]);
    }
    assert_eq!(holding(&[0xff; 32]), [""; 0]);
}

#[test]
fn a_secret_is_in_a_file_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let cannot = "7:20: pools.web.sticky.secret_file: not usable here: cannot read";
    assert_eq!(secret(folder.path(), "s"), [format!("{cannot} s: no such file or folder")]);
    assert_eq!(secret(folder.path(), "/"), [format!("{cannot} /: it is a directory")]);
    // It would never end.
    assert_eq!(secret(folder.path(), "/dev/zero"), [format!("{cannot} /dev/zero: it is not a regular file")]);
}

#[test]
fn a_secret_comes_without_its_newline() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s");
    fs::write(&file, [[b'x'; 40].as_slice(), b"\n\n"].concat()).unwrap();
    let drain_grace = Sticky::DRAIN_GRACE;
    let sticky = |secret_file| Sticky { cookie: "lb".into(), ttl: None, drain_grace, secret_file, at: at(1, 1).into() };
    assert_eq!(sticky(Some(file)).secret(), Ok(Some([[b'x'; 40].as_slice(), b"\n"].concat())));
    assert_eq!(sticky(None).secret(), Ok(None));
}

/// A device without an end took all of the memory, and a pipe made the process wait for ever: of a reload, the one that serves.
#[test]
fn only_plain_files_of_a_bounded_size_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page.html");
    fs::write(&file, "0123456789").unwrap();
    assert_eq!(contents(&file, 10).unwrap(), b"0123456789");
    assert_eq!(contents(&file, 9).unwrap_err(), "has 10 bytes, and may have 9");
    assert_eq!(contents(dir.path(), 9).unwrap_err(), "it is a directory");
    assert_eq!(contents(&dir.path().join("none"), 9).unwrap_err(), "no such file or folder");
    assert_eq!(contents("/dev/zero".as_ref(), 9).unwrap_err(), "it is no plain file");
}
