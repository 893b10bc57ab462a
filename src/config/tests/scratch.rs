use super::*;
#[test]
fn scratch() {
    let cases = std::fs::read_to_string("/tmp/cases.txt").unwrap();
    for case in cases.split("\n====\n") {
        let text = case.strip_prefix("+").map(with).unwrap_or(case.to_string());
        println!("---- {case}");
        match Config::parse(&text, Some(Path::new("lb.yaml"))) {
            Ok(_) => println!("OK"),
            Err(e) => println!("{e}"),
        }
    }
    for (l, t) in [
        (":8080", vec!["a:1,b:2".to_string()]),
        ("nope", vec!["a".into(), "b:1".into(), "b:1".into()]),
        (":1", vec![]),
        (":9901", vec!["a:1".into()]),
    ] {
        match Config::quick(l, &t) {
            Ok(_) => println!("OK"),
            Err(e) => println!("{e}"),
        }
    }
    for f in [
        "conf/full.yaml",
        "conf/minimal.yaml",
        "conf",
        "nope.yaml",
        "/dev/zero",
        "target/debug/.cargo-lock",
    ] {
        match Config::load(Path::new(f)) {
            Ok(_) => println!("OK {f}"),
            Err(e) => println!("{e}"),
        }
    }
}
