//! `basic_auth`: a name and a password, checked against hashes.
//!
//! The one idea: a hash that is slow for a thief is slow for us. It is computed [elsewhere](checks), for a name that nobody has as
//! for any other, and once it was right it is [remembered](memory) for a while.

mod apr1;
mod checks;
mod hashes;
mod memory;
mod users;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use log::warn;
use pingora::http::RequestHeader;
use pingora_core::Result;
use pingora_proxy::Session;
use serde::Deserialize;

use self::hashes::Hash;
use self::memory::Memory;
use self::users::Users;
use super::identity::Identity;
use super::names::{Settable, quoted};
use crate::config::{Mistake, Options, Period};
use crate::filter::{Answer, Ctx, Filter};
use crate::reason::Reason;

/// Longer names and passwords are nobody's, and some hashes take longer for them.
const LONGEST: usize = 1024;
const REMEMBER: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
struct Settings {
    #[serde(default = "realm")]
    realm: String,
    #[serde(default)]
    users: BTreeMap<String, Hash>,
    file: Option<PathBuf>,
    user_header: Option<Settable>,
    #[serde(default)]
    forward: bool,
    remember: Option<Period>,
}

fn realm() -> String {
    "Restricted".to_owned()
}

/// Lets in who knows a password.
pub(super) struct BasicAuth {
    users: Users,
    file: Option<PathBuf>,
    memory: Memory,
    challenge: HeaderValue,
    user_header: Option<HeaderName>,
    identity: Identity,
    forward: bool,
}

/// What a check comes to.
enum Verdict {
    In,
    Out,
    /// There was no time to find out.
    Busy,
}

impl BasicAuth {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let settings: Settings = options.parse()?;
        let file = settings.file.map(|file| options.path(file));
        let of_file = match &file {
            Some(file) => read(file).map_err(|why| options.mistake_at("file", why))?,
            None => Vec::new(),
        };
        let users = Users::new(settings.users, of_file).map_err(|why| options.mistake(why))?;
        if users.weak() > 0 {
            warn!(
                "basic_auth: {} of its hashes are $apr1$, which is guessed soon: 'htpasswd -B' writes better ones",
                users.weak()
            );
        }
        let memory = Memory::new(settings.remember.map_or(REMEMBER, |time| *time)).map_err(|e| options.mistake(e))?;
        let user_header = settings.user_header.map(|Settable(name)| name);
        let realm = quoted(&settings.realm).ok_or_else(|| options.mistake_at("realm", "must be plain ASCII text"))?;
        let challenge = HeaderValue::from_str(&format!("Basic realm={realm}, charset=\"UTF-8\""));
        Ok(BasicAuth {
            users,
            file,
            memory,
            challenge: challenge.map_err(|_| options.mistake_at("realm", "must be plain ASCII text"))?,
            identity: Identity::new(user_header.clone()),
            user_header,
            forward: settings.forward,
        })
    }

    async fn check(&self, name: &str, password: &[u8]) -> Verdict {
        let known = self.users.hash(name);
        // For a name of nobody, too: what it costs is to be the same.
        let hash = known.unwrap_or_else(|| self.users.decoy(name));
        let mark = self.memory.mark(name, hash.text(), password);
        if self.memory.knows(&mark, Instant::now()) {
            return Verdict::In;
        }
        let Some(turn) = checks::turn().await else { return Verdict::Busy };
        // A browser opens six connections at once: the first of them may have been checked while the others waited.
        if self.memory.knows(&mark, Instant::now()) {
            return Verdict::In;
        }
        match turn.check(hash.clone(), password.to_vec()).await {
            Some(true) if known.is_some() => {
                self.memory.remember(mark, Instant::now());
                Verdict::In
            }
            Some(_) => Verdict::Out,
            None => Verdict::Busy,
        }
    }

    fn let_in(&self, request: &mut RequestHeader, ctx: &mut Ctx, name: &str) -> Result<bool> {
        if !self.forward {
            request.remove_header(&AUTHORIZATION);
        }
        if let Some(header) = &self.user_header
            && let Ok(name) = HeaderValue::from_bytes(name.as_bytes())
        {
            self.identity.tell(request, ctx, header, name)?;
        }
        Ok(false)
    }
}

fn read(file: &Path) -> std::result::Result<Vec<(String, Hash)>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    users::of_file(&text).map_err(|why| format!("{}: {why}", file.display()))
}

/// Name and password of a request; `None` if it has none, or something that is none.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let (scheme, encoded) = line.to_str().ok()?.split_once(' ')?;
    let encoded = encoded.trim();
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > LONGEST * 4 / 3 + 4 {
        return None;
    }
    let decoded = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    let name = std::str::from_utf8(decoded.get(..colon)?).ok()?.to_owned();
    Some((name, decoded.get(colon + 1..)?.to_vec()))
}

/// The header, and a file.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(data: &[u8]) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(data) {
        headers.insert(AUTHORIZATION, value);
    }
    if let Some((name, _)) = credentials(&headers) {
        assert!(!name.contains(':'));
    }
    let _ = std::str::from_utf8(data).map(users::of_file);
}

#[async_trait]
impl Filter for BasicAuth {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        self.identity.strip(session.req_header_mut(), ctx);
        let verdict = match credentials(&session.req_header().headers) {
            Some((name, password)) => match self.check(&name, &password).await {
                Verdict::In => return self.let_in(session.req_header_mut(), ctx, &name),
                verdict => verdict,
            },
            None => Verdict::Out,
        };
        match verdict {
            Verdict::Busy => Answer::refusal(Reason::AuthUnavailable)?.send(session, ctx).await,
            _ => {
                let refusal = Answer::refusal(Reason::Unauthorized)?;
                refusal.header(WWW_AUTHENTICATE, self.challenge.clone())?.send(session, ctx).await
            }
        }
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        self.identity.tell_again(upstream_request, ctx)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.file.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<(String, Vec<u8>)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap());
        }
        credentials(&headers)
    }

    #[test]
    fn whoever_sends_something_else_sends_nothing() {
        let alice = Some(("alice".to_owned(), b"a:b".to_vec()));
        assert_eq!(of(&["Basic YWxpY2U6YTpi"]), alice);
        assert_eq!(of(&["bASIC   YWxpY2U6YTpi  "]), alice);
        assert_eq!(of(&["Basic YWxpY2U6"]), Some(("alice".to_owned(), Vec::new())));
        assert_eq!(of(&["Basic OnB3"]), Some((String::new(), b"pw".to_vec())));
        assert_eq!(of(&["Basic YTpiYg"]), Some(("a".to_owned(), b"bb".to_vec())), "without its padding");
        let long = format!("Basic {}", "QUFB".repeat(1000));
        for lines in [
            &[][..],
            &["Basic"],
            &["Basic "],
            &["Bearer YWxpY2U6YTpi"],
            &["Basic !!!!"],
            &["Basic YWxpY2U"],
            &["Basic /zpw"],
            &["Basic YWxpY2U6YTpi", "Basic YWxpY2U6YTpi"],
            &["\u{e4}"],
            &[&long],
        ] {
            assert_eq!(of(lines), None, "{lines:?}");
        }
    }
}
