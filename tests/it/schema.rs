//! `evenkeel schema`. That configurations are what it says, and mistakes are not, `.ci/docs` sees with a validator that is not ours.

use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use crate::examples::example;

fn schema(program: &Path) -> Json {
    let output = Command::new(program).arg("schema").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn names(schema: &Json, definition: &str) -> Vec<String> {
    let words = schema["$defs"][definition]["enum"].as_array().unwrap_or_else(|| panic!("{definition}")).iter();
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn it_has_the_names_of_the_program() {
    let ours = schema(Path::new(env!("CARGO_BIN_EXE_evenkeel")));
    assert_eq!(ours["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(ours["properties"]["limits"]["$ref"], "#/$defs/limits");
    assert!(names(&ours, "filter_name").contains(&"compress".to_owned()));
    assert!(names(&ours, "algorithm_name").contains(&"maglev".to_owned()));

    let Some(program) = example("hook") else { return };
    let theirs = schema(&program);
    let mut known = names(&theirs, "filter_name");
    known.retain(|name| name != "api_key");
    assert_eq!(known, names(&ours, "filter_name"), "and what its author registered");
    assert!(theirs["$defs"]["filter"]["properties"]["api_key"].is_object());
}
