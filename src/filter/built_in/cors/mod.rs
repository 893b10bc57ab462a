//! `cors`: which pages of other origins may read our answers, by [Fetch](https://fetch.spec.whatwg.org/#http-cors-protocol).
//!
//! Everything is said in `response_filter`, which sees every answer: a backend's, whose own `Access-Control-*` are replaced, a
//! refusal, an error, and the preflight's, which is answered here and reaches no backend.

mod origin;

use async_trait::async_trait;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::Result;
use pingora_proxy::Session;
use serde::Deserialize;

use crate::config::{Mistake, Options, Period};
use crate::filter::{Answer, Ctx, Filter};

use self::origin::Origins;

const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What says something of this to a browser, and is ours to say.
const OURS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
struct Settings {
    origins: Origins,
    #[serde(default = "simple_methods")]
    methods: Vec<String>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    expose: Vec<String>,
    #[serde(default)]
    credentials: bool,
    max_age: Option<Period>,
}

fn simple_methods() -> Vec<String> {
    ["GET", "HEAD", "POST"].map(str::to_owned).to_vec()
}

/// Says which origins may read what, and answers preflights.
pub(super) struct Cors {
    origins: Origins,
    credentials: bool,
    /// Lists, as they are sent; `None` for an empty one.
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
}

impl Cors {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let settings: Settings = options.parse()?;
        if settings.origins.is_empty() {
            return Err(
                options.mistake_at("origins", "needs at least one origin, like https://app.example.com, or '*'")
            );
        }
        if settings.credentials {
            refuse_any(options, &settings)?;
        }
        let max_age = settings.max_age.map(|age| HeaderValue::from(age.as_secs()));
        let is_method = |method: &str| method == "*" || Method::from_bytes(method.as_bytes()).is_ok();
        let is_name = |name: &str| name == "*" || HeaderName::from_bytes(name.as_bytes()).is_ok();
        Ok(Cors {
            origins: settings.origins,
            credentials: settings.credentials,
            methods: list(options, "methods", &settings.methods, is_method)?,
            headers: list(options, "headers", &settings.headers, is_name)?,
            expose: list(options, "expose", &settings.expose, is_name)?,
            max_age,
        })
    }

    /// The origin that is to be told of, if the request's may read the answer.
    fn allowed(&self, request: &RequestHeader) -> Option<HeaderValue> {
        if self.origins.any {
            // To those who name no origin, too: a cache may give the answer to one who does.
            return Some(ANY);
        }
        let mut origins = request.headers.get_all(ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        self.origins.allow(origin).then(|| origin.clone())
    }

    fn say(&self, request: &RequestHeader, response: &mut ResponseHeader) -> Result<()> {
        for name in OURS {
            response.remove_header(&name);
        }
        let preflight = is_preflight(request);
        if !self.origins.any {
            vary(response, "Origin")?;
        }
        if preflight {
            vary(response, "Access-Control-Request-Method")?;
            vary(response, "Access-Control-Request-Headers")?;
        }
        let Some(origin) = self.allowed(request) else { return Ok(()) };
        let mut say = |name: HeaderName, value: Option<HeaderValue>| match value {
            Some(value) => response.insert_header(name, value),
            None => Ok(()),
        };
        say(ACCESS_CONTROL_ALLOW_ORIGIN, Some(origin))?;
        say(ACCESS_CONTROL_ALLOW_CREDENTIALS, self.credentials.then_some(TRUE))?;
        if preflight {
            say(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone())?;
            say(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone())?;
            say(ACCESS_CONTROL_MAX_AGE, self.max_age.clone())
        } else {
            say(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone())
        }
    }
}

/// With credentials, browsers take `*` for a name like any other: it allows nothing, and whoever wrote it is surprised.
fn refuse_any(options: &Options, settings: &Settings) -> std::result::Result<(), Mistake> {
    let why = "cannot be '*' with 'credentials: true', which browsers do not accept: list them";
    if settings.origins.any {
        return Err(options.mistake_at("origins", why));
    }
    if settings.origins.has_null() {
        let why = "cannot have 'null' with 'credentials: true': any page can say that this is its origin";
        return Err(options.mistake_at("origins", why));
    }
    for (key, list) in [("methods", &settings.methods), ("headers", &settings.headers), ("expose", &settings.expose)] {
        if list.iter().any(|one| one == "*") {
            return Err(options.mistake_at(key, why));
        }
    }
    Ok(())
}

fn list(
    options: &Options,
    key: &str,
    items: &[String],
    is_one: impl Fn(&str) -> bool,
) -> std::result::Result<Option<HeaderValue>, Mistake> {
    if !items.iter().all(|item| is_one(item)) {
        return Err(options.mistake_at(key, "has one that is none, or has a character that it may not have"));
    }
    if items.is_empty() {
        return Ok(None);
    }
    HeaderValue::from_str(&items.join(", "))
        .map(Some)
        .map_err(|_| options.mistake_at(key, "has a character that it may not have"))
}

fn is_preflight(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(ORIGIN)
        && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Add a name to `Vary`, unless it is there.
fn vary(response: &mut ResponseHeader, name: &'static str) -> Result<()> {
    if varies(&response.headers, name) {
        return Ok(());
    }
    response.append_header(VARY, name).map(drop)
}

fn varies(headers: &HeaderMap, name: &str) -> bool {
    let is = |one: &str| one.trim() == "*" || one.trim().eq_ignore_ascii_case(name);
    headers.get_all(VARY).iter().any(|value| value.to_str().is_ok_and(|value| value.split(',').any(is)))
}

#[async_trait]
impl Filter for Cors {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if !is_preflight(session.req_header()) {
            return Ok(false);
        }
        Answer::new(204)?.send(session, ctx).await
    }

    async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader, _: &mut Ctx) -> Result<()> {
        self.say(session.req_header(), response)
    }
}
