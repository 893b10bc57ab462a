//! The value of a header, taken apart once when it is loaded: text, and places that each request fills.

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::HOST;
use http::{HeaderName, HeaderValue};
use pingora_proxy::Session;

use crate::config::nearest;
use crate::filter::{Ctx, authority, host_of};

/// `a text with {placeholders}`
#[derive(Debug, PartialEq)]
pub(super) enum Template {
    Fixed(HeaderValue),
    Parts(Vec<Part>),
}

#[derive(Debug, PartialEq)]
pub(super) enum Part {
    Text(Box<str>),
    Place(Place),
}

/// What stands in braces.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    Backend,
    ClientIp,
    Host,
    Method,
    Path,
    Pool,
    Query,
    RequestId,
    Scheme,
    /// `header.NAME`
    Header(HeaderName),
}

/// Those that are one word.
const WORDS: [(&str, Place); 9] = [
    ("backend", Place::Backend),
    ("client_ip", Place::ClientIp),
    ("host", Place::Host),
    ("method", Place::Method),
    ("path", Place::Path),
    ("pool", Place::Pool),
    ("query", Place::Query),
    ("request_id", Place::RequestId),
    ("scheme", Place::Scheme),
];

const KNOWN: &str =
    "{backend}, {client_ip}, {host}, {method}, {path}, {pool}, {query}, {request_id}, {scheme} and {header.NAME}";

impl Template {
    /// Take `text` apart.
    ///
    /// # Errors
    /// What is wrong with it, without what stands in it: it may be a secret.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("must not be empty (to be rid of a header, use remove_headers)".to_owned());
        }
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| "must be visible characters and spaces, on one line".to_owned())
        };
        value(text)?;
        let mut parts = Vec::new();
        let (mut literal, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            literal.push_str(before);
            let doubled = brace.as_bytes().get(1) == brace.as_bytes().first();
            if doubled {
                literal.push_str(&brace[..1]);
                rest = &brace[2..];
                continue;
            }
            let inner = brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = inner else {
                return Err("has a brace without its other half (write {{ or }} for a brace itself)".to_owned());
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(Part::Place(Place::parse(name)?));
            rest = after;
        }
        literal.push_str(rest);
        if parts.is_empty() {
            return value(&literal).map(Template::Fixed);
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Template::Parts(parts))
    }

    /// The value for a request; `None` if nothing is left of it.
    pub(super) fn fill(&self, session: &Session, ctx: &Ctx) -> Option<HeaderValue> {
        let parts = match self {
            Template::Fixed(value) => return Some(value.clone()),
            Template::Parts(parts) => parts,
        };
        let mut value = BytesMut::with_capacity(64);
        for part in parts {
            match part {
                Part::Text(text) => value.put_slice(text.as_bytes()),
                Part::Place(place) => place.fill(&mut value, session, ctx),
            }
        }
        let value: Bytes = value.freeze();
        // Of values that a request or the configuration holds; none has a character that a header may not have.
        if value.is_empty() { None } else { HeaderValue::from_maybe_shared(value).ok() }
    }
}

impl Place {
    fn parse(name: &str) -> Result<Self, String> {
        if let Some((_, place)) = WORDS.iter().find(|(word, _)| *word == name) {
            return Ok(place.clone());
        }
        if let Some(header) = name.strip_prefix("header.") {
            let wrong = |_| "has a {header.NAME} whose NAME is no name of a header".to_owned();
            return HeaderName::try_from(header).map(Place::Header).map_err(wrong);
        }
        Err(match nearest(name, WORDS.map(|(word, _)| word)) {
            Some(near) => format!("has an unknown placeholder, did you mean {{{near}}}?"),
            None => format!("has an unknown placeholder; known are {KNOWN} (write {{{{ or }}}} for a brace itself)"),
        })
    }

    fn fill(&self, value: &mut BytesMut, session: &Session, ctx: &Ctx) {
        let request = session.req_header();
        match self {
            Place::Backend => value.put_slice(ctx.backend().map_or("", |backend| backend.label()).as_bytes()),
            Place::ClientIp => put_address(value, ctx.client()),
            Place::Host => value.put_slice(authority(request).map_or("", host_of).as_bytes()),
            Place::Method => value.put_slice(request.method.as_str().as_bytes()),
            Place::Path => value.put_slice(request.uri.path().as_bytes()),
            Place::Pool => value.put_slice(ctx.pool().map_or("", |pool| pool.name()).as_bytes()),
            Place::Query => value.put_slice(request.uri.query().unwrap_or_default().as_bytes()),
            Place::RequestId => value.put_slice(ctx.request_id().as_str().as_bytes()),
            Place::Scheme => {
                let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
                value.put_slice(if tls { b"https" } else { b"http" });
            }
            // HTTP/2 has it elsewhere.
            Place::Header(name) if *name == HOST => value.put_slice(authority(request).unwrap_or_default().as_bytes()),
            Place::Header(name) => {
                for (number, one) in request.headers.get_all(name).iter().enumerate() {
                    value.put_slice(if number > 0 { b", " } else { b"" });
                    value.put_slice(one.as_bytes());
                }
            }
        }
    }
}

fn put_address(value: &mut BytesMut, address: Option<IpAddr>) {
    use std::fmt::Write;
    if let Some(address) = address {
        // Writing to a growing buffer does not fail.
        let _ = write!(value, "{address}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart() {
        let text = |text: &str| Part::Text(text.into());
        for (from, parts) in [
            ("{client_ip}", vec![Part::Place(Place::ClientIp)]),
            ("id={request_id};", vec![text("id="), Part::Place(Place::RequestId), text(";")]),
            ("{{{host}}}", vec![text("{"), Part::Place(Place::Host), text("}")]),
            (
                "{header.X-User}{path}",
                vec![Part::Place(Place::Header("x-user".parse().unwrap())), Part::Place(Place::Path)],
            ),
        ] {
            assert_eq!(Template::parse(from).unwrap(), Template::Parts(parts), "{from}");
        }
        for (from, value) in [("1", "1"), ("{{\"a\":1}}", "{\"a\":1}"), ("}}{{", "}{"), ("a b", "a b")] {
            assert_eq!(Template::parse(from).unwrap(), Template::Fixed(value.parse().unwrap()), "{from}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_what_stands_there() {
        for (from, message) in [
            ("", "must not be empty"),
            ("{", "has a brace without its other half"),
            ("secret}", "has a brace without its other half"),
            ("{path", "has a brace without its other half"),
            ("{client-ip}", "has an unknown placeholder, did you mean {client_ip}?"),
            ("{secret}", "has an unknown placeholder; known are {backend}, {client_ip}"),
            ("{}", "has an unknown placeholder; known are"),
            ("{header.a b}", "has a {header.NAME} whose NAME is no name"),
            ("a\nb", "must be visible characters and spaces"),
        ] {
            let said = Template::parse(from).unwrap_err();
            assert!(said.starts_with(message) && !said.contains("secret"), "{from}: {said}");
        }
    }

    #[tokio::test]
    async fn what_a_request_does_not_have_is_empty() {
        let (client, server) = tokio::io::duplex(1024);
        let mut session = Session::new_h1(Box::new(server));
        let sent = "GET /a?b=c HTTP/1.1\r\nHost: Shop.example:80\r\nX-A: 1\r\nX-A: 2\r\n\r\n";
        let mut client = client;
        tokio::io::AsyncWriteExt::write_all(&mut client, sent.as_bytes()).await.unwrap();
        session.read_request().await.unwrap();
        let filled = |text: &str| Template::parse(text).unwrap().fill(&session, &Ctx::new());
        for (text, value) in [
            ("{method} {scheme}://{host}{path}?{query}", "GET http://Shop.example/a?b=c"),
            ("{header.x-a}", "1, 2"),
            ("{header.host}", "Shop.example:80"),
            ("<{client_ip}{pool}{backend}{header.none}>", "<>"),
            ("{request_id}", &"0".repeat(32)),
        ] {
            assert_eq!(filled(text).unwrap(), value, "{text}");
        }
        assert_eq!(filled("{client_ip}{header.none}"), None);
    }
}
