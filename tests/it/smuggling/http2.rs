//! The corpus over HTTP/2, in front of a backend that speaks HTTP/1: nothing in a field becomes another field, a body or a request.

use super::case::{self, Case};
use super::frames::{Frames, Outcome};
use super::http1::Stage;
use super::recorder::{in_one_chunk, shown};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What a case sends: what every request has, with what the case says otherwise.
fn fields(case: &Case) -> Fields {
    let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test")];
    let raw = case.says("raw");
    let usual =
        usual.iter().filter(|_| !raw).map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let mut fields: Fields = usual.collect();
    for line in &case.lines {
        if let Some(left_out) = line.strip_prefix(b"-") {
            fields.retain(|(name, _)| name != left_out);
            continue;
        }
        let colon = line.windows(2).position(|two| two == b": ").unwrap_or_else(|| panic!("{}: no field", case.name));
        let (name, value) = (line[..colon].to_vec(), line[colon + 2..].to_vec());
        match fields.iter_mut().find(|(known, _)| !raw && *known == name && name.starts_with(b":")) {
            Some((_, usual)) => *usual = value,
            None => fields.push((name, value)),
        }
    }
    fields
}

fn try_case(stage: &Stage, case: &Case) -> Result<(), String> {
    let mut client = Frames::connect(stage.evenkeel.http());
    let data = case.data.as_deref().map(|data| data.strip_suffix(b"\r\n").unwrap_or(data));
    let sent = client.request(1, &fields(case), data);
    let outcome = if sent.is_ok() { client.outcome(1) } else { Outcome::Gone };
    if case.says("forwarded") {
        let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/marker"), (":authority", "test")];
        let marker = usual.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let next = client.request(3, &marker, None).map(|()| client.outcome(3));
        let arrived = stage.arrived();
        let expected = [case.arrives.as_deref().unwrap(), b"GET /marker HTTP/1.1\r\nHost: test\r\n\r\n"].concat();
        let answered = outcome == Outcome::Status(200) && next.is_ok_and(|next| next == Outcome::Status(200));
        return match answered && in_one_chunk(&arrived) == in_one_chunk(&expected) {
            true => Ok(()),
            false => Err(format!("{outcome:?}, and there arrived\n    {}", shown(&arrived))),
        };
    }
    let arrived = if case.says("cut") { stage.arrived_whole() } else { stage.arrived() };
    let refused = matches!(outcome, Outcome::Reset | Outcome::Gone | Outcome::Status(400 | 0));
    let expected = case.arrives.as_deref().unwrap_or_default();
    match refused && (arrived.is_empty() || arrived == expected) {
        true => Ok(()),
        false => Err(format!("{outcome:?}, and there arrived\n    {}", shown(&arrived))),
    }
}

#[test]
fn requests_over_http2() {
    let stage = Stage::set("listeners: [{ address: '127.0.0.1:0', h2c: true }]\n");
    let mut cases = case::read("http2/requests.txt");
    assert!(cases.len() >= 100, "{} cases", cases.len());
    // What is cut may arrive late, and would be taken for the next one's: last of all comes what may arrive whole.
    cases.sort_by_key(|case| (case.says("cut"), case.says("cut") && case.arrives.is_some()));
    let tried = cases.iter().filter_map(|case| try_case(&stage, case).err().map(|what| (case, what)));
    let wrong: Vec<_> =
        tried.map(|(case, what)| format!("{}, {}: {what}", case.name, case.verdict.join(" "))).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
