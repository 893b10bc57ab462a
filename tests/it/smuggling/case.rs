//! The files of `tests/corpus`, whose README says how they are written.

use std::path::Path;

/// One message, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file, the case's name there, and the variant.
    pub name: String,
    /// What is sent.
    pub sent: Vec<u8>,
    /// The same, line by line without their ends.
    pub lines: Vec<Vec<u8>>,
    /// What is sent behind that, from lines that begin with `=`.
    pub data: Option<Vec<u8>>,
    /// What arrives, if it is not what is sent.
    pub arrives: Option<Vec<u8>>,
    /// What the last line says, in words.
    pub verdict: Vec<String>,
}

impl Case {
    pub fn says(&self, word: &str) -> bool {
        self.verdict.iter().any(|said| said == word)
    }
}

/// The cases of one file.
pub fn read(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut cases = Vec::new();
    for block in text.split("\n## ").skip(1) {
        cases.extend(variants(file, block));
    }
    cases
}

fn variants(file: &str, block: &str) -> Vec<Case> {
    let mut lines = block.lines();
    let name = lines.next().unwrap();
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("# ")).collect();
    let each: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("each ")).collect();
    let variants: Vec<&str> = match each[..] {
        [] => vec![""],
        _ => each.iter().flat_map(|line| line.split(" | ")).collect(),
    };
    let one = |variant: &str| {
        let each = |mark: char| -> Vec<Vec<u8>> {
            let mine = lines.iter().filter_map(move |line| line.strip_prefix(mark));
            mine.map(|line| unescape(&line.strip_prefix(' ').unwrap_or(line).replace("{}", variant))).collect()
        };
        let with = |mark: char| Some(each(mark).concat()).filter(|bytes| !bytes.is_empty());
        let without_end = |line: Vec<u8>| line.strip_suffix(b"\r\n").map(<[u8]>::to_vec).unwrap_or(line);
        let verdict = lines.last().unwrap().split_whitespace().map(str::to_owned).collect();
        let name = format!("{file}: {name} {variant}");
        Case {
            name,
            sent: with('>').unwrap_or_default(),
            lines: each('>').into_iter().map(without_end).collect(),
            data: with('='),
            arrives: with('<'),
            verdict,
        }
    };
    variants.into_iter().map(one).collect()
}

/// A line as it is on the wire, with its end.
pub fn unescape(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (escape, mut after) = (rest.as_bytes()[at + 1], &rest[at + 2..]);
        match escape {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b's' => out.push(b' '),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                out.push(u8::from_str_radix(&after[..2], 16).unwrap());
                after = &after[2..];
            }
            b'*' => {
                let (count, text) = after.split_once('(').unwrap();
                let (text, behind) = text.split_once(')').unwrap();
                out.extend_from_slice(text.repeat(count.parse().unwrap()).as_bytes());
                after = behind;
            }
            b'c' => {
                assert_eq!(after, "", "\\c is for the end of a line: {line}");
                return out;
            }
            other => panic!("no escape: \\{} in {line}", char::from(other)),
        }
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out.extend_from_slice(b"\r\n");
    out
}
