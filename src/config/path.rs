//! A path in its one form, so that what is routed is byte for byte what a backend gets, and means the same to both.
//!
//! Dot segments are taken out, also where a dot is written `%2e`; of what is percent-encoded only letters, digits and `-._~` are
//! decoded, which need it nowhere (RFC 3986, 2.3); hexadecimal digits are in upper case. Nothing else is touched: `//` stays.
//! What readers disagree on is refused: a segment that is a dot segment to some of them only, `%00`, half an escape, and going
//! above the root.

/// A path that is not forwarded: readers disagree on what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// The one form of `path`, which has no query; `None` if it is that already.
///
/// # Errors
/// That it is ambiguous.
pub(crate) fn normal(path: &str) -> Result<Option<String>, Ambiguous> {
    if is_plain(path.as_bytes()) {
        return Ok(None);
    }
    let decoded = decode(path)?;
    let mut out = String::with_capacity(decoded.len());
    let mut segments = decoded.strip_prefix('/').ok_or(Ambiguous)?.split('/');
    while let Some(segment) = segments.next() {
        let last = segments.clone().next().is_none();
        match segment {
            "." => {}
            ".." => {
                let parent = out.rfind('/').ok_or(Ambiguous)?;
                out.truncate(parent);
            }
            _ if hides_dots(segment) => return Err(Ambiguous),
            _ => {
                out.push('/');
                out.push_str(segment);
                continue;
            }
        }
        // A dot segment is a folder: its slash stays.
        if last {
            out.push('/');
        }
    }
    Ok((out != path).then_some(out))
}

/// Whether there is nothing in it that could have another form. One look at each byte.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    for &byte in path {
        let strange = matches!(byte, b'%' | b'\\' | 0..=b' ' | 0x7f) || byte == b'.' && before == b'/';
        if strange {
            return false;
        }
        before = byte;
    }
    path.first() == Some(&b'/')
}

/// Decoded where it means the same, and in upper case where not.
fn decode(path: &str) -> Result<String, Ambiguous> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(|c: char| c == '%' || c.is_ascii_control() || c == ' ') {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        // What is no escape is a control byte, which no path has.
        let digits = escape.strip_prefix('%').and_then(|escape| escape.get(..2)).ok_or(Ambiguous)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Ambiguous);
        }
        match u8::from_str_radix(digits, 16).map_err(|_| Ambiguous)? {
            0 => return Err(Ambiguous),
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.extend(digits.chars().map(|digit| digit.to_ascii_uppercase()));
            }
        }
        rest = escape.get(3..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether it is, or holds, a dot segment to readers for whom `%2F`, `%5C` or `\` separates segments too, or a `;` ends one.
fn hides_dots(segment: &str) -> bool {
    let parts = segment.split('\\').flat_map(|part| part.split("%2F")).flat_map(|part| part.split("%5C"));
    let mut names = parts.map(|part| part.split(';').next().unwrap_or_default());
    names.any(|name| matches!(name, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_its_one_form_is_left_alone() {
        for path in ["/", "/a", "//", "/a//b/", "/a.b/c..", "/...", "/a;b=c/d", "/%2F", "/%5C", "/a%20b", "/é", "/~a"]
        {
            assert_eq!(normal(path), Ok(None), "{path}");
        }
    }

    #[test]
    fn one_form() {
        for (path, form) in [
            ("/./a", "/a"),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/..", "/"),
            ("/a/../b", "/b"),
            ("/a/b/../../c/", "/c/"),
            ("/a/b/..", "/a/"),
            ("/a//../b", "/a/b"),
            ("/a/..//b", "//b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/%61%7e", "/a~"),
            ("/%c3%a9", "/%C3%A9"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%5cb", "/a%5Cb"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/a%2Eb", "/a.b"),
        ] {
            let expected = (form != path).then(|| form.to_owned());
            assert_eq!(normal(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_readers_disagree_on() {
        for path in [
            "",
            "a",
            "*",
            "/..",
            "/a/../..",
            "/%2e%2e/a",
            "/%",
            "/%1",
            "/%g0",
            "/%0g",
            "/%+1",
            "/%00",
            "/a%00b",
            "/a b",
            "/a\tb",
            "/a\u{7f}",
            "/%2f..",
            "/..%2fa",
            "/a/..%2Fb",
            "/..%5cb",
            "/a%5c..%5cb",
            "/..\\b",
            "/\\..",
            "/.\\a",
            "/a/..;/b",
            "/a/.;x=1/b",
            "/%2e%2e%2f",
            "/a/%é",
        ] {
            assert_eq!(normal(path), Err(Ambiguous), "{path:?}");
        }
    }

    #[test]
    fn the_one_form_is_its_own_and_has_no_dot_segments() {
        const PIECES: [&str; 16] =
            ["/", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "a", "%61", "%", "0", ";", "%25", "é", "//"];
        let mut rng = fastrand::Rng::with_seed(9);
        for _ in 0..100_000 {
            let mut path = "/".to_owned();
            for _ in 0..rng.usize(..12) {
                path.push_str(PIECES[rng.usize(..PIECES.len())]);
            }
            let Ok(form) = normal(&path) else { continue };
            let form = form.unwrap_or_else(|| path.clone());
            assert!(form.starts_with('/') && !form.split('/').any(|s| matches!(s, "." | "..")), "{path} as {form}");
            assert_eq!(normal(&form), Ok(None), "{path} as {form}");
        }
    }
}
