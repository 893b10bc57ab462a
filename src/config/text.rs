//! How values and names are put into messages: short, printable, with the nearest known word beside a typo.

use super::node::{Kind, Node};

/// How many characters of a value a message shows.
const SHOWN: usize = 40;

/// A value as a message shows it: `0`, `'abc'`, `a list`.
pub(super) fn shown(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "nothing".to_owned(),
        Kind::Scalar { text, plain: true } if looks_typed(text) => short(text),
        Kind::Scalar { text, .. } => quoted(text),
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a map".to_owned(),
    }
}

/// `'text'`, shortened.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", short(text))
}

/// At most 40 characters of `text`, none of which can disturb a terminal.
pub(super) fn short(text: &str) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == SHOWN {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Numbers and truth values are shown without quotes.
fn looks_typed(text: &str) -> bool {
    text.parse::<f64>().is_ok() || matches!(text, "true" | "false")
}

/// `a, b or c`
pub(super) fn any_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// The word that `typo` was probably meant to be.
pub(crate) fn nearest<'w>(typo: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // No word of ours is this long, and the distance takes time that grows with the square.
    if typo.len() > 64 {
        return None;
    }
    let typo = typo.to_lowercase().replace('-', "_");
    let near = |word: &str| {
        let distance = strsim::damerau_levenshtein(&typo, &word.to_lowercase().replace('-', "_"));
        // Short words are near to everything: one letter in three may differ, and never more than two.
        let allowed = (word.len().min(typo.len()) / 3).clamp(1, 2);
        (distance <= allowed).then_some(distance)
    };
    let candidates = words.into_iter().filter_map(|word| near(word).map(|d| (d, word)));
    candidates.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// Does a key by this name hold something that must not be printed?
pub(crate) fn looks_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).to_lowercase();
    ["key", "password", "passwd", "secret", "token", "credential"].iter().any(|word| last.contains(word))
}
