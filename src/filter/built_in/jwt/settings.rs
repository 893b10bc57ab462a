//! The options of `jwt`, checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::names::Settable;
use super::Keys;
use super::algorithm::Algorithm;
use super::claims::Wanted;
use super::keys::KeySet;
use super::remote::Remote;
use super::source::From;
use super::token::Demands;
use crate::config::{Mistake, Options, Period};
use crate::filter::client::{Client, Url};

const REFRESH: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Clocks differ by that much.
const LEEWAY: Duration = Duration::from_secs(60);
const MOST_LEEWAY: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(super) struct Settings {
    jwks_file: Option<PathBuf>,
    jwks_url: Option<Url>,
    secret_file: Option<PathBuf>,
    refresh: Option<Period>,
    timeout: Option<Period>,
    ca: Option<PathBuf>,
    algorithms: Option<Vec<Algorithm>>,
    #[serde(default, deserialize_with = "given")]
    issuer: Option<Words>,
    #[serde(default, deserialize_with = "given")]
    audience: Option<Words>,
    leeway: Option<Period>,
    #[serde(default)]
    pub(super) from: From,
    #[serde(default)]
    pub(super) claims: Wanted,
    #[serde(default)]
    pub(super) claim_headers: BTreeMap<String, Settable>,
    #[serde(default)]
    pub(super) forward: bool,
    #[serde(default = "realm")]
    pub(super) realm: String,
}

/// One, or a list of which one is enough. Never empty: whoever leaves out what is wanted wants something, and not anything.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct Words(Vec<String>);

impl TryFrom<Value> for Words {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let words = match value {
            Value::String(word) => Some(vec![word]),
            list => serde_json::from_value(list).ok().filter(|words: &Vec<String>| !words.is_empty()),
        };
        words.map(Words).ok_or("must be a text or a list of texts")
    }
}

/// A key that is there without a value is not taken for one that is not there.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Words>, D::Error> {
    Words::deserialize(deserializer).map(Some)
}

fn realm() -> String {
    "Restricted".to_owned()
}

impl Settings {
    /// The keys, and the files that they and whom to trust for them stand in.
    pub(super) fn keys(&self, options: &Options) -> Result<(Keys, Vec<PathBuf>), Mistake> {
        if self.jwks_url.is_none() {
            let alone =
                [("refresh", self.refresh.is_some()), ("timeout", self.timeout.is_some()), ("ca", self.ca.is_some())];
            if let Some((key, _)) = alone.iter().find(|(_, given)| *given) {
                return Err(options.mistake_at(key, "is of no use without 'jwks_url'"));
            }
        }
        match (&self.jwks_file, &self.jwks_url, &self.secret_file) {
            (Some(file), None, None) => read(options, "jwks_file", file, KeySet::parse),
            (None, None, Some(file)) => {
                read(options, "secret_file", file, |text| KeySet::secret(text.trim_ascii_end()))
            }
            (None, Some(url), None) => self.remote(options, url),
            _ => Err(options.mistake("needs one of 'jwks_file', 'jwks_url' and 'secret_file'")),
        }
    }

    fn remote(&self, options: &Options, url: &Url) -> Result<(Keys, Vec<PathBuf>), Mistake> {
        let ca = self.ca.as_ref().map(|file| options.path(file));
        if ca.is_some() && !url.is_https() {
            return Err(options.mistake_at("ca", "is of no use: the URL is not https"));
        }
        let wrong = |why| options.mistake_at(if ca.is_some() { "ca" } else { "jwks_url" }, why);
        let client = Client::new(url.clone(), ca.as_deref()).map_err(wrong)?;
        let refresh = self.refresh.map_or(REFRESH, |time| *time);
        let remote = Remote::new(client, refresh, self.timeout.map_or(TIMEOUT, |time| *time));
        Ok((Keys::Remote(Arc::new(remote)), ca.into_iter().collect()))
    }

    /// # Errors
    /// Algorithms that do not go with the keys: one who takes both kinds takes a public key for a secret.
    pub(super) fn demands(&self, options: &Options) -> Result<Demands, Mistake> {
        let secret = self.secret_file.is_some();
        let default = || if secret { vec![Algorithm::HS256] } else { Algorithm::ASYMMETRIC.to_vec() };
        let algorithms = self.algorithms.clone().unwrap_or_else(default);
        if algorithms.is_empty() {
            return Err(options.mistake_at("algorithms", "needs at least one, like [RS256]"));
        }
        if algorithms.iter().any(|algorithm| algorithm.is_symmetric() != secret) {
            let with = if secret {
                "'secret_file' has HS256, HS384 and HS512"
            } else {
                "HS256, HS384 and HS512 need a 'secret_file'"
            };
            return Err(options
                .mistake_at("algorithms", format!("has one that its keys are not for: {with}, and nothing else")));
        }
        let leeway = self.leeway.map_or(LEEWAY, |time| *time);
        if leeway > MOST_LEEWAY {
            return Err(options.mistake_at("leeway", "must be 1h at the most: it is for clocks that differ"));
        }
        let list = |words: &Option<Words>| words.as_ref().map_or_else(Vec::new, |Words(words)| words.clone());
        let (issuers, audiences) = (list(&self.issuer), list(&self.audience));
        Ok(Demands { algorithms, issuers, audiences, leeway: leeway.as_secs_f64() })
    }
}

fn read(
    options: &Options,
    key: &str,
    file: &Path,
    parse: impl Fn(&[u8]) -> Result<KeySet, String>,
) -> Result<(Keys, Vec<PathBuf>), Mistake> {
    let file = options.path(file);
    let wrong = |why: String| options.mistake_at(key, why);
    let text = std::fs::read(&file).map_err(|e| wrong(format!("cannot read {}: {e}", file.display())))?;
    let keys = parse(&text).map_err(|why| wrong(format!("{} {why}", file.display())))?;
    Ok((Keys::Fixed(Arc::new(keys)), vec![file]))
}
