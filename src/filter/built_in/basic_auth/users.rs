//! Who may come in: names and hashes, of the options and of a file in the form of Apache's `htpasswd`.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use super::hashes::Hash;

/// Larger files are something else.
const MOST_USERS: usize = 100_000;

/// Names and hashes. Never empty.
pub(super) struct Users {
    hashes: HashMap<Box<str>, Hash>,
    /// What passwords of unknown names are checked against: the hashes of all, so that it takes as long as for a name that is
    /// known, though some take longer than others.
    decoys: Vec<Hash>,
    /// By which a name has a decoy of its own, always the same, and nobody knows which.
    choice: RandomState,
}

impl Users {
    /// # Errors
    /// That there are none, or that a name is in both.
    pub(super) fn new(listed: BTreeMap<String, Hash>, of_file: Vec<(String, Hash)>) -> Result<Self, String> {
        let mut hashes: HashMap<Box<str>, Hash> = HashMap::new();
        for (name, hash) in listed.into_iter().chain(of_file) {
            if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
                return Err("has a name of nobody: it is empty, or has a colon or a control character".to_owned());
            }
            if hashes.insert(name.as_str().into(), hash).is_some() {
                return Err(format!("has '{name}' twice, in 'users' and 'file'"));
            }
        }
        if hashes.len() > MOST_USERS {
            return Err(format!("has more than {MOST_USERS} users"));
        }
        if hashes.is_empty() {
            return Err("needs 'users' or a 'file' with at least one".to_owned());
        }
        let decoys = hashes.values().cloned().collect();
        Ok(Users { hashes, decoys, choice: RandomState::new() })
    }

    /// The hash of this name.
    pub(super) fn hash(&self, name: &str) -> Option<&Hash> {
        self.hashes.get(name)
    }

    /// The one to check this name's password against, if nobody has the name.
    pub(super) fn decoy(&self, name: &str) -> &Hash {
        let number = self.choice.hash_one(name) % self.decoys.len() as u64;
        &self.decoys[number as usize]
    }

    /// How many have one that is guessed soon.
    pub(super) fn weak(&self) -> usize {
        self.hashes.values().filter(|hash| hash.is_weak()).count()
    }
}

/// The lines of a file.
///
/// # Errors
/// What is wrong in which line, without its text.
pub(super) fn of_file(text: &str) -> Result<Vec<(String, Hash)>, String> {
    let mut users: Vec<(String, Hash)> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) = line.split_once(':').ok_or_else(|| format!("line {number} is not NAME:HASH"))?;
        let hash = Hash::parse(hash).map_err(|e| format!("line {number}: {e}"))?;
        if !seen.insert(name) {
            return Err(format!("line {number}: its name stands above already"));
        }
        users.push((name.to_owned(), hash));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$fNoBX9BgE0x41e/qCNDDfuXTwBjpQUwgs40DJJfxj1ICBlsrRN0/.";

    #[test]
    fn a_file_has_names_comments_and_empty_lines() {
        let users = of_file(&format!("# us\n\nalice:{HASH}\r\nbob:{HASH}\n")).unwrap();
        assert_eq!(users.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
    }

    #[test]
    fn its_mistakes_have_a_line_and_no_text() {
        for (text, message) in [
            ("alice", "line 1 is not NAME:HASH"),
            ("\nalice:hunter2", "line 2: is a plain text password"),
            (&format!("alice:{HASH}\nalice:{HASH}"), "line 2: its name stands above already"),
        ] {
            let found = of_file(text).map(|_| ()).unwrap_err();
            assert!(found.starts_with(message) && !found.contains("hunter2"), "{found}");
        }
    }

    /// Where all decoys were one, whoever takes another time than that is known to exist.
    #[test]
    fn nobodys_hashes_are_as_mixed_as_everybodys() {
        let cheap = HASH.replace("$05$", "$04$");
        let users = of_file(&format!("a:{HASH}\nb:{cheap}\n")).unwrap();
        let users = Users::new(BTreeMap::new(), users).unwrap();
        let names: Vec<String> = (0..100).map(|number| format!("nobody{number}")).collect();
        let of = |name: &String| users.decoy(name).text() == HASH;
        let costly = names.iter().filter(|name| of(name)).count();
        assert!((10..=90).contains(&costly), "{costly}");
        assert!(names.iter().all(|name| of(name) == of(name)));
    }

    #[test]
    fn nobody_and_the_same_twice_are_mistakes() {
        let one = || [("alice".to_owned(), Hash::parse(HASH).unwrap())];
        let wrong = |listed: BTreeMap<_, _>, file: Vec<_>| Users::new(listed, file).map(|_| ()).unwrap_err();
        assert!(wrong(BTreeMap::new(), vec![]).starts_with("needs 'users' or a 'file'"));
        assert_eq!(wrong(one().into(), one().into()), "has 'alice' twice, in 'users' and 'file'");
    }
}
