//! The filter `compress`: what clients get is what backends sent, in fewer bytes.

use std::io::{BufRead, Read};

use crate::support::evenkeel::pool;
use crate::support::http2::{Call, Http2Client, Http2Origin};
use crate::support::{Evenkeel, Origin, Then, have};
use crate::tls::{curl, curl_speaks_http2};

const FILTER: &str = "filters: [compress]\n";

/// Long enough to be worth it, and easy to make smaller.
fn text() -> String {
    (0..5000).map(|n| format!("line {n} of a text\n")).collect()
}

fn site(kind: &'static str) -> Origin {
    Origin::new(move |exchange| {
        let text = text();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n", text.len());
        exchange.send(head)?;
        if exchange.method() != "HEAD" {
            exchange.send(text)?;
        }
        Ok(Then::Keep)
    })
}

fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match coding {
        "zstd" => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut text),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut text),
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut text),
        _ => bytes.to_vec().as_slice().read_to_end(&mut text),
    }
    .unwrap();
    text
}

#[test]
fn each_coding_is_what_the_client_asks_for() {
    let origin = site("text/html");
    let evenkeel = Evenkeel::start(&format!("{FILTER}{}", pool(&[origin.address], "")));
    let mut client = evenkeel.client();
    for (accepted, coding) in
        [("zstd", "zstd"), ("br", "br"), ("gzip, deflate", "gzip"), ("deflate", ""), ("gzip;q=0", "")]
    {
        let response = client.get_with("/", &format!("Accept-Encoding: {accepted}\r\n"));
        assert_eq!(response.head.header("content-encoding").unwrap_or_default(), coding);
        assert_eq!(response.head.header("vary"), Some("Accept-Encoding"));
        assert_eq!(response.head.header("etag"), Some(if coding.is_empty() { "\"1\"" } else { "W/\"1\"" }));
        assert_eq!(response.head.header("content-length").is_none(), !coding.is_empty());
        assert!(coding.is_empty() || response.body.len() < text().len() / 5, "{}", response.body.len());
        assert_eq!(decoded(coding, &response.body), text().as_bytes(), "{accepted}");
    }
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.read_to("HEAD").head;
    assert_eq!((head.header("content-encoding"), head.header("vary")), (None, Some("Accept-Encoding")));
    client.send("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(client.read().head.header("content-encoding"), None, "HTTP/1.0 has no chunks");
}

#[test]
fn curl_reads_it_over_either_http_from_either_http() {
    if !have("curl") || !curl_speaks_http2() {
        return;
    }
    let old = site("application/json");
    let new = Http2Origin::new(|mut call: Call| async move {
        let head = http::Response::builder().header("content-type", "text/css").body(()).unwrap();
        let Ok(mut send) = call.answer.send_response(head, false) else { return };
        let _ = send.send_data(text().into(), false);
        let _ = match call.head.uri.path() {
            "/trailers" => {
                send.send_trailers([("x-after".parse().unwrap(), "1".parse().unwrap())].into_iter().collect())
            }
            _ => send.send_data(Default::default(), true),
        };
    });
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n{FILTER}pools:\n  old: {{ backends: ['{}'] }}\n  \
         new: {{ backends: ['{}'], protocol: h2 }}\nroutes: [{{ pool: old }}, {{ match: {{ path_prefix: /new }}, pool: new }}, \
         {{ match: {{ path: /trailers }}, pool: new }}]\n",
        old.address, new.address
    ));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for path in ["/", "/new", "/trailers"] {
            for coding in ["gzip", "br", "zstd"] {
                let url = format!("http://{}{path}", evenkeel.http());
                let wanted = format!("Accept-Encoding: {coding}");
                let said = curl(&[version, "-sS", "-D", "-", "-o", "/dev/null", "-H", &wanted, &url]);
                assert!(
                    said.to_lowercase().contains(&format!("content-encoding: {coding}")),
                    "{version} {path} {said}"
                );
                let read = curl(&[version, "-sS", "--fail", "--compressed", "-H", &wanted, &url]);
                assert!(read == text(), "{version} {path} {coding}: {} bytes", read.len());
            }
        }
    }
}

#[test]
fn a_stream_stays_one() {
    let origin = Origin::new(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        exchange.send("6\r\nfirst\n\r\n")?;
        // The next comes when the client has read the first, and asks for it.
        let path = exchange.path().to_owned();
        if path == "/" {
            let mut more = [0];
            exchange.wire.read_exact(&mut more)?;
        }
        exchange.send("5\r\nlast\n\r\n0\r\n\r\n")?;
        Ok(Then::Close)
    });
    let evenkeel = Evenkeel::start(&format!("{FILTER}{}", pool(&[origin.address], "")));
    let mut client = evenkeel.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\nContent-Length: 1\r\n\r\n");
    let response = crate::support::Response::read_head(&mut client.wire).unwrap();
    assert_eq!(response.head.header("content-encoding"), Some("gzip"));
    let mut body = Chunks { wire: &mut client.wire, left: 0 };
    let mut decoder = flate2::read::GzDecoder::new(&mut body);
    let mut first = [0; 6];
    decoder.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first\n");
    drop(decoder);
    client.send("x");
    let whole = evenkeel.client().get_with("/whole", "Accept-Encoding: gzip\r\n");
    assert_eq!(decoded("gzip", &whole.body), b"first\nlast\n");
}

/// A chunked body, as it comes.
struct Chunks<'a, R> {
    wire: &'a mut R,
    left: usize,
}

impl<R: BufRead> Read for Chunks<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        while self.left == 0 {
            let mut line = String::new();
            self.wire.read_line(&mut line)?;
            self.left = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        }
        let most = self.left.min(to.len());
        let read = self.wire.read(&mut to[..most])?;
        self.left -= read;
        Ok(read)
    }
}

#[test]
fn events_and_parts_stay_as_they_are() {
    for kind in ["text/event-stream", "application/grpc", "image/png"] {
        let origin = site(kind);
        let evenkeel = Evenkeel::start(&format!("{FILTER}{}", pool(&[origin.address], "")));
        let response = evenkeel.client().get_with("/", "Accept-Encoding: gzip, br, zstd\r\n");
        assert_eq!((response.head.header("content-encoding"), response.head.header("vary")), (None, None), "{kind}");
        assert_eq!(response.body, text().as_bytes());
    }
}

#[test]
fn answers_of_ours_and_of_hedged_requests_are_compressed() {
    let origin = site("text/plain");
    let body = "an answer of ours, again and again; ".repeat(100);
    let evenkeel = Evenkeel::start(&format!(
        "{FILTER}{}routes: [{{ pool: web }}, {{ match: {{ path: /ours }}, respond: {{ body: '{body}' }} }}, \
         {{ match: {{ path: /short }}, respond: {{ body: short }} }}]\n",
        pool(&[origin.address], "hedge: { after: 5s }")
    ));
    let mut client = evenkeel.client();
    for (path, expected) in [("/ours", body.as_str()), ("/", &text()), ("/ours", &body)] {
        let response = client.get_with(path, "Accept-Encoding: br\r\n");
        assert_eq!(response.head.header("content-encoding"), Some("br"), "{path}");
        assert_eq!(decoded("br", &response.body), expected.as_bytes(), "{path}");
    }
    assert_eq!(client.get("/ours").text(), body);
    // A refusal of a line was made longer by it: what filters saw of it had no length.
    let refused = evenkeel.client().send("GET / HTTP/1.1\r\nHost: a@b\r\nAccept-Encoding: br\r\n\r\n").read();
    assert_eq!((refused.status, refused.head.header("content-encoding")), (400, None));
    let short = client.get_with("/short", "Accept-Encoding: br\r\n");
    assert_eq!((short.head.header("content-encoding"), short.text().as_str()), (None, "short"));
}

#[test]
fn twice_in_a_chain_it_is_done_once() {
    let origin = site("text/plain");
    let evenkeel = Evenkeel::start(&format!(
        "{FILTER}{}routes: [{{ pool: web, filters: [{{ compress: {{ algorithms: [gzip] }} }}] }}]\n",
        pool(&[origin.address], "")
    ));
    let response = evenkeel.client().get_with("/", "Accept-Encoding: gzip, br\r\n");
    assert_eq!(response.head.all("content-encoding"), ["gzip"]);
    assert_eq!(decoded("gzip", &response.body), text().as_bytes());
}

/// Over HTTP/2 a response may end with its header, and need not say that it is empty. It was said to be gzip, which nothing is not.
#[test]
fn what_has_no_body_is_left_alone() {
    let origin = Http2Origin::new(|mut call: Call| async move {
        let head = http::Response::builder().header("content-type", "text/css").body(()).unwrap();
        let _ = call.answer.send_response(head, true);
    });
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n{FILTER}{}",
        pool(&[origin.address], "protocol: h2")
    ));
    let (mut client, http2) = (evenkeel.client(), Http2Client::connect(evenkeel.http()));
    for _ in 0..2 {
        let old = client.get_with("/", "Accept-Encoding: gzip\r\n");
        assert_eq!((old.header("content-encoding"), old.header("content-length")), (None, Some("0")));
        let new = http2.ask(http2.request("GET", "/", &[("accept-encoding", "gzip")]), "");
        assert_eq!((new.header("content-encoding"), &*new.body), ("", ""));
    }
}
