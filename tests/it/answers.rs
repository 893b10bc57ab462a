//! Answers of our own to requests whose body is still coming: their clients see them.

use crate::support::{Evenkeel, have};
use crate::tls::{curl, curl_speaks_http2};

/// Over HTTP/2 the stream was cancelled when the answer was out, and clients took that for the answer.
#[test]
fn who_is_still_sending_sees_the_answer() {
    if !have("curl") || !curl_speaks_http2() {
        return;
    }
    let evenkeel = Evenkeel::start(
        "listeners: [{ address: 127.0.0.1:0, h2c: true }]\npools: { web: { backends: [127.0.0.1:9] } }\nroutes:\n  \
         - { match: { path: /fixed }, respond: { body: here } }\n  \
         - { match: { path: /away }, redirect: { path: /there } }\n  \
         - { match: { path: /refused }, pool: web, filters: [maintenance] }\n",
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("body");
    std::fs::write(&file, "x".repeat(8 << 20)).unwrap();
    let body = format!("@{}", file.display());
    for (path, status) in [("/fixed", "200"), ("/away", "302"), ("/refused", "503")] {
        let url = format!("http://{}{path}", evenkeel.http());
        for version in ["--http1.1", "--http2-prior-knowledge"].repeat(5) {
            let said = curl(&[
                version,
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-H",
                "Expect:",
                "--data-binary",
                &body,
                &url,
            ]);
            assert_eq!(said, status, "{path} {version}");
        }
    }
}
