//! `jwt`: lets in who shows a token that somebody whom we trust has signed.
//!
//! Which algorithms there are the options say, which of them a key is good for its kind, and never a token.

mod algorithm;
mod claims;
mod keys;
mod remote;
mod settings;
mod source;
mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use pingora::http::RequestHeader;
use pingora_core::Result;
use pingora_proxy::Session;

use self::claims::Wanted;
use self::keys::KeySet;
use self::remote::Remote;
use self::settings::Settings;
use self::source::From;
use self::token::{Claims, Demands, Fault};
use super::identity::Identity;
use super::names::{Settable, quoted};
use crate::config::{Mistake, Options};
use crate::filter::{Answer, Ctx, Filter};
use crate::reason::Reason;

/// Where keys come from.
enum Keys {
    Fixed(Arc<KeySet>),
    Remote(Arc<Remote>),
}

/// Lets in who shows a token.
pub(super) struct Jwt {
    keys: Keys,
    demands: Demands,
    from: From,
    wanted: Wanted,
    /// Claims, and the headers that tell the backend of them.
    told: Vec<(String, HeaderName)>,
    identity: Identity,
    forward: bool,
    /// As a quoted string.
    realm: String,
    files: Vec<PathBuf>,
}

/// Why somebody does not come in.
enum Refusal {
    NoToken,
    Invalid(&'static str),
    NotEnough,
    NoKeys,
}

impl Jwt {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let settings: Settings = options.parse()?;
        let (keys, files) = settings.keys(options)?;
        let demands = settings.demands(options)?;
        let realm = quoted(&settings.realm).ok_or_else(|| options.mistake_at("realm", "must be plain ASCII text"))?;
        let told: Vec<_> =
            settings.claim_headers.into_iter().map(|(claim, Settable(header))| (claim, header)).collect();
        Ok(Jwt {
            keys,
            demands,
            from: settings.from,
            wanted: settings.claims,
            identity: Identity::new(told.iter().map(|(_, header)| header.clone())),
            told,
            forward: settings.forward,
            realm,
            files,
        })
    }

    async fn check(&self, request: &RequestHeader) -> std::result::Result<Claims, Refusal> {
        let token = self.from.find(request).ok_or(Refusal::NoToken)?;
        let opened = match self.open(&token).await? {
            Err(Fault::UnknownKey) => match &self.keys {
                Keys::Remote(remote) if remote.look_for_more().await => self.open(&token).await?,
                _ => Err(Fault::UnknownKey),
            },
            opened => opened,
        };
        let claims = opened.map_err(|fault| match fault {
            Fault::Invalid(why) => Refusal::Invalid(why),
            Fault::UnknownKey => Refusal::Invalid("the token is signed by a key that is not known"),
        })?;
        if self.wanted.are_met_by(&claims) { Ok(claims) } else { Err(Refusal::NotEnough) }
    }

    async fn open(&self, token: &str) -> std::result::Result<std::result::Result<Claims, Fault>, Refusal> {
        let keys = match &self.keys {
            Keys::Fixed(keys) => Arc::clone(keys),
            Keys::Remote(remote) => remote.keys().await.ok_or(Refusal::NoKeys)?,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        // Before there was time, all have expired.
        let now = now.map_or(f64::INFINITY, |now| now.as_secs_f64());
        Ok(token::open(token, &keys, &self.demands, now))
    }

    fn let_in(&self, request: &mut RequestHeader, ctx: &mut Ctx, claims: &Claims) -> Result<bool> {
        for (claim, header) in &self.told {
            if let Some(value) = claims::find(claims, claim).and_then(claims::told) {
                self.identity.tell(request, ctx, header, value)?;
            }
        }
        Ok(false)
    }

    /// RFC 6750, 3.
    fn answer(&self, refusal: Refusal) -> Result<Answer> {
        let (reason, error, why) = match refusal {
            Refusal::NoKeys => return Answer::refusal(Reason::AuthUnavailable),
            Refusal::NoToken => (Reason::Unauthorized, "", ""),
            Refusal::Invalid(why) => (Reason::Unauthorized, "invalid_token", why),
            Refusal::NotEnough => {
                (Reason::Forbidden, "insufficient_scope", "the token does not say what is wanted here")
            }
        };
        let mut challenge = format!("Bearer realm={}", self.realm);
        if !error.is_empty() {
            challenge += &format!(", error=\"{error}\", error_description=\"{why}\"");
        }
        let challenge = HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"));
        Answer::refusal(reason)?.header(WWW_AUTHENTICATE, challenge)
    }
}

/// A token, and a set of keys.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(data: &[u8]) {
    let _ = KeySet::parse(data);
    let (Ok(text), Ok(keys)) = (std::str::from_utf8(data), KeySet::secret(&[7; 32])) else { return };
    let all = [&algorithm::Algorithm::ASYMMETRIC[..], &[algorithm::Algorithm::HS256]].concat();
    let demands = Demands { algorithms: all, issuers: Vec::new(), audiences: Vec::new(), leeway: 0.0 };
    let token = text.strip_prefix("Bearer ").unwrap_or(text);
    assert!(token::open(token, &keys, &demands, 0.0).is_err(), "somebody has guessed the secret");
}

#[async_trait]
impl Filter for Jwt {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        self.identity.strip(session.req_header_mut(), ctx);
        let checked = self.check(session.req_header()).await;
        if !self.forward {
            // Also where it is refused: what is in the query goes into the log.
            self.from.remove(session.req_header_mut())?;
        }
        match checked {
            Ok(claims) => self.let_in(session.req_header_mut(), ctx, &claims),
            Err(refusal) => self.answer(refusal)?.send(session, ctx).await,
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
        self.files.clone()
    }
}
