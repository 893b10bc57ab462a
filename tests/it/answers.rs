//! Answers of our own to requests whose body is still coming: their clients see them.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Evenkeel, have};
use crate::tls::{curl, curl_speaks_http2};

const ROUTES: &str = "routes:
  - { match: { path: /fixed }, respond: { body: here } }
  - { match: { path: /away }, redirect: { path: /there } }
  - { match: { path: /refused }, pool: web, filters: [maintenance] }
  - { match: { path: /dead }, pool: web }
";

fn evenkeel(more: &str) -> Evenkeel {
    let pools = "pools: { web: { backends: [127.0.0.1:9] } }";
    Evenkeel::start(&format!("listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n{pools}\n{more}{ROUTES}"))
}

/// Over HTTP/1 the connection was closed with the body unread, which resets it: who was still sending got a broken pipe, and
/// over a longer way than here perhaps no answer.
#[test]
fn over_http1_the_body_is_read_to_its_end_before_the_connection_is_closed() {
    const BODY: usize = 2 << 20;
    let evenkeel = evenkeel("limits: { max_body_size: 1MiB }\n");
    let small = "Content-Length: 1000000\r\n";
    for (path, length, status) in [
        ("/fixed", small, "200"),
        ("/away", small, "302"),
        ("/refused", small, "503"),
        ("/nowhere", small, "404"),
        ("/dead", small, "503"),
        ("/dead", &format!("Content-Length: {BODY}\r\n"), "413"),
    ] {
        let length_in_bytes: usize = length.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        for _ in 0..5 {
            let mut stream = TcpStream::connect(evenkeel.http()).unwrap();
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{length}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let sent = stream.write_all(&vec![b'x'; length_in_bytes]);
            assert!(sent.is_ok(), "{path} {status}: {sent:?}");
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer);
            assert!(read.is_ok(), "{path} {status}: {read:?}");
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        }
    }
}

/// Over HTTP/2 the stream was cancelled when the answer was out, and clients took that for the answer.
#[test]
fn who_is_still_sending_sees_the_answer() {
    if !have("curl") || !curl_speaks_http2() {
        return;
    }
    let evenkeel = evenkeel("");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("body");
    // More than any window, and little enough to be sent within the 2 s that a busy machine has for it.
    std::fs::write(&file, "x".repeat(1 << 20)).unwrap();
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
