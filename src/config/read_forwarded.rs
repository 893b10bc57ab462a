//! `forwarded_headers`: what backends are told of the client.

use super::map::Map;
use super::reader::Value;
use super::{ForwardedHeaders, Told};

const WORDS: [(&str, Told); 4] =
    [("append", Told::Append), ("set", Told::Set), ("keep", Told::Keep), ("drop", Told::Drop)];

/// Read `forwarded_headers`.
pub(super) fn forwarded_headers(top: &mut Map<'_>) -> ForwardedHeaders {
    let default = ForwardedHeaders::default();
    let Some(mut map) = top.get("forwarded_headers").and_then(|value| value.map()) else {
        return default;
    };
    let list = |value: &Value<'_>| value.word(&WORDS);
    // One value, to which nothing can be added.
    let single = |value: &Value<'_>| value.word(&WORDS[1..]);
    let headers = ForwardedHeaders {
        x_forwarded: map.read("x_forwarded", default.x_forwarded, list),
        x_forwarded_port: map.read("x_forwarded_port", default.x_forwarded_port, single),
        forwarded: map.read("forwarded", default.forwarded, list),
        x_real_ip: map.read("x_real_ip", default.x_real_ip, single),
    };
    map.done();
    headers
}
