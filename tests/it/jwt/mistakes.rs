//! What `check` says of its options.

use super::*;

#[test]
fn its_mistakes_have_their_place_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let keys = write("keys.json", &jwks(&[&Signer::new("a")]));
    let short = write("short", "hunter2");
    let secret = write("secret", "hunter2hunter2hunter2hunter2hunter2");
    let wrong = write("wrong.json", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"hunter2\"}]}");
    assert!(Path::new(&keys).exists());
    let one_of = "3:5: filters[0].jwt: needs one of 'jwks_file', 'jwks_url' and 'secret_file'";
    for (options, message) in [
        ("{}".to_owned(), one_of.to_owned()),
        (format!("{{ jwks_file: {keys}, secret_file: {secret} }}"), one_of.to_owned()),
        (format!("{{ secret_file: {short} }}"), "is too short: at least 32 bytes".to_owned()),
        (format!("{{ jwks_file: {wrong} }}"), "filters[0].jwt.jwks_file: ".to_owned() + &wrong + " has no key"),
        ("{ jwks_file: /nowhere }".to_owned(), "3:23: filters[0].jwt.jwks_file: cannot read /nowhere".to_owned()),
        (
            "{ jwks_url: 'http://a:hunter2@idp/' }".to_owned(),
            "jwt.jwks_url: must have no user and no password".to_owned(),
        ),
        (format!("{{ jwks_file: {keys}, refresh: 1m }}"), "jwt.refresh: is of no use without 'jwks_url'".to_owned()),
        (format!("{{ jwks_file: {keys}, algorithms: [none] }}"), "jwt.algorithms[0]: must be RS256".to_owned()),
        (
            format!("{{ jwks_file: {keys}, algorithms: [RS256, HS256] }}"),
            "jwt.algorithms: has one that its keys are not for: HS256, HS384 and HS512 need a 'secret_file'".to_owned(),
        ),
        (
            format!("{{ secret_file: {secret}, algorithms: [RS256] }}"),
            "jwt.algorithms: has one that its keys are not for: 'secret_file' has HS256".to_owned(),
        ),
        (
            format!("{{ jwks_file: {keys}, claims: {{ a: {{}} }} }}"),
            "jwt.claims: must be values, like admin".to_owned(),
        ),
        (format!("{{ jwks_file: {keys}, issuer: 7 }}"), "jwt.issuer: must be a text or a list of texts".to_owned()),
        // Whoever writes these wants something looked at.
        (format!("{{ jwks_file: {keys}, issuer: [] }}"), "jwt.issuer: must be a text or a list of texts".to_owned()),
        (
            format!("{{ jwks_file: {keys}, audience: [] }}"),
            "jwt.audience: must be a text or a list of texts".to_owned(),
        ),
        (
            format!("{{ jwks_file: {keys}, audience: null }}"),
            "jwt.audience: must be a text or a list of texts".to_owned(),
        ),
        ("{ jwks_url: 'http://a/', refresh: 0s }".to_owned(), "jwt.refresh: must be 1ms to 365d".to_owned()),
        ("{ jwks_url: 'http://a/', timeout: 0s }".to_owned(), "jwt.timeout: must be 1ms to 365d".to_owned()),
        (format!("{{ jwks_file: {keys}, leeway: 2h }}"), "jwt.leeway: must be 1h at the most".to_owned()),
        (format!("{{ jwks_file: {keys}, from: body }}"), "jwt.from: must be header, cookie or query".to_owned()),
        (
            format!("{{ jwks_file: {keys}, claim_headers: {{ sub: Host }} }}"),
            "claim_headers.sub: may not be host".to_owned(),
        ),
        (
            format!("{{ jwks_file: {keys}, issuers: us }}"),
            "jwt.issuers: unknown key, did you mean 'issuer'?".to_owned(),
        ),
    ] {
        let output = check(&format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nfilters:\n  - jwt: {options}\npools: {{ web: {{ backends: [127.0.0.1:1] }} }}\n"
        ));
        assert!(output.contains(&message), "{options}: {output}");
        assert!(!output.contains("hunter2"), "{output}");
    }
}
