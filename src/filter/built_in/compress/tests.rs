use std::io::Read;

use super::*;

fn compress(yaml: &str) -> std::result::Result<Compress, Mistake> {
    let text = format!("listeners: [{{ address: :80 }}]\npools: {{ web: {{ backends: [a:1] }} }}\nfilters: [{yaml}]\n");
    let config = crate::config::Config::parse(&text, None).unwrap();
    Compress::new(&config.filters[0].options)
}

fn response(status: u16, headers: &[(&'static str, &str)]) -> ResponseHeader {
    let mut response = ResponseHeader::build(status, None).unwrap();
    for (name, value) in headers {
        response.append_header(*name, *value).unwrap();
    }
    response
}

fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match coding {
        Coding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut text),
        Coding::Br => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut text),
        Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut text),
    }
    .unwrap();
    text
}

#[test]
fn what_is_worth_it_is_compressed() {
    let filter = compress("compress").unwrap();
    let html = ("content-type", "text/html; charset=utf-8");
    for (status, headers, suits) in [
        (200, &[html][..], true),
        (404, &[html], true),
        (200, &[("content-type", "Application/JSON")], true),
        (200, &[("content-type", "image/png")], false),
        (200, &[("content-type", "text/event-stream")], false),
        (200, &[("content-type", "application/grpc+proto")], false),
        (200, &[], false),
        (200, &[html, ("content-length", "1023")], false),
        (200, &[html, ("content-length", "1024")], true),
        (200, &[html, ("content-encoding", "br")], false),
        (200, &[html, ("cache-control", "public, no-transform")], false),
        (200, &[html, ("cache-control", "max-age=1,No-Transform")], false),
        (206, &[html, ("content-range", "bytes 0-99/100")], false),
        (204, &[html], false),
        (304, &[html], false),
        (101, &[html], false),
    ] {
        assert_eq!(filter.suits(&response(status, headers)), suits, "{status} {headers:?}");
    }
    let own = compress("compress: { types: [image/*], min_length: 10 }").unwrap();
    assert!(own.suits(&response(200, &[("content-type", "image/png"), ("content-length", "10")])));
    assert!(!own.suits(&response(200, &[html])));
    let all = compress("compress: { types: ['*/*'] }").unwrap();
    assert!(all.suits(&response(200, &[("content-type", "image/png")])) && !all.suits(&response(200, &[])));
    assert!(!all.suits(&response(200, &[("content-type", "text/event-stream")])));
}

#[test]
fn nothing_is_said_that_is_not_true_any_more() {
    let headers = [
        ("content-length", "5000"),
        ("etag", "\"a\""),
        ("accept-ranges", "bytes"),
        ("content-md5", "x"),
        ("vary", "Origin"),
    ];
    let mut response = response(200, &headers);
    vary(&mut response).unwrap();
    announce(&mut response, Coding::Br).unwrap();
    let get =
        |name: &str| response.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(get("content-encoding"), ["br"]);
    assert_eq!(get("etag"), ["W/\"a\""]);
    assert_eq!(get("vary"), ["Origin", "Accept-Encoding"]);
    for gone in ["content-length", "accept-ranges", "content-md5"] {
        assert_eq!(get(gone), [""; 0], "{gone}");
    }
}

/// Pingora's Brotli was only flushed, so that a strict reader found the end of the stream missing.
#[test]
fn every_coding_comes_back_whole_in_whatever_pieces() {
    let text: Vec<u8> = (0..200_000_u32).flat_map(|n| (n % 1000).to_string().into_bytes()).collect();
    for coding in [Coding::Zstd, Coding::Br, Coding::Gzip] {
        for size in [1000, 64 << 10, text.len()] {
            let mut encoder = Encoder::new(coding, Levels::default()).unwrap();
            let pieces = text.chunks(size).map(|piece| encoder.encode(piece, false).unwrap());
            let mut encoded: Vec<u8> = pieces.flatten().collect();
            encoded.extend(encoder.finish().unwrap());
            assert!(encoded.len() < text.len() / 10, "{coding:?} {}", encoded.len());
            assert_eq!(decoded(coding, &encoded), text, "{coding:?} {size}");
        }
    }
}

#[test]
fn a_piece_that_is_flushed_can_be_read_at_once() {
    for coding in [Coding::Zstd, Coding::Br, Coding::Gzip] {
        let mut encoder = Encoder::new(coding, Levels::default()).unwrap();
        let encoded = encoder.encode(b"first", true).unwrap();
        let mut text = [0; 5];
        match coding {
            Coding::Zstd => zstd::stream::read::Decoder::new(&encoded[..]).unwrap().read_exact(&mut text),
            Coding::Br => brotli::Decompressor::new(&encoded[..], 4096).read_exact(&mut text),
            Coding::Gzip => flate2::read::GzDecoder::new(&encoded[..]).read_exact(&mut text),
        }
        .unwrap();
        assert_eq!(&text, b"first", "{coding:?}");
    }
}

#[test]
fn its_mistakes_say_what_may_be() {
    for (yaml, key, message) in [
        ("compress: { levels: { gzip: 10 } }", "levels", "gzip must be 1 to 9, got 10"),
        ("compress: { levels: { br: 0 } }", "levels", "br must be 1 to 11, got 0"),
        ("compress: { algorithms: [] }", "algorithms", "must name at least one of zstd, br and gzip"),
        ("compress: { algorithms: [deflate] }", "algorithms[0]", "must be zstd, br or gzip"),
        ("compress: { types: [html] }", "types", "must be types like text/html or text/*, got 'html'"),
    ] {
        let mistake = compress(yaml).err().unwrap();
        assert_eq!((&*mistake.key, &*mistake.message), (&*format!("filters[0].compress.{key}"), message));
    }
}
