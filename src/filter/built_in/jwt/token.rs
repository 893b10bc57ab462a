//! One token: what it says, if somebody whose key is known has signed it, and if it is good now and here.
//! [RFC 7515](https://www.rfc-editor.org/rfc/rfc7515), [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519), and what
//! [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725) warns of.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::keys::KeySet;

/// Longer ones are not looked at.
const LONGEST: usize = 16 * 1024;

/// What a token says.
pub(super) type Claims = Map<String, Value>;

/// Why a token is no good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// For the client to read.
    Invalid(&'static str),
    /// It is signed by somebody whose key is not known, or not known yet.
    UnknownKey,
}

/// What a token must be.
pub(super) struct Demands {
    pub(super) algorithms: Vec<Algorithm>,
    /// One of these, if there are any.
    pub(super) issuers: Vec<String>,
    pub(super) audiences: Vec<String>,
    /// In seconds.
    pub(super) leeway: f64,
}

#[derive(Deserialize)]
struct Header {
    alg: Value,
    kid: Option<String>,
    crit: Option<Value>,
}

/// What it says.
///
/// # Errors
/// Why it is no good.
pub(super) fn open(token: &str, keys: &KeySet, demands: &Demands, now: f64) -> Result<Claims, Fault> {
    let claims = verified(token, keys, &demands.algorithms)?;
    demands.check(&claims, now).map_err(Fault::Invalid)?;
    Ok(claims)
}

fn verified(token: &str, keys: &KeySet, algorithms: &[Algorithm]) -> Result<Claims, Fault> {
    const FORM: Fault = Fault::Invalid("the token is malformed");
    if token.len() > LONGEST {
        return Err(Fault::Invalid("the token is too long"));
    }
    let (message, signature) = token.rsplit_once('.').ok_or(FORM)?;
    let (header, claims) = message.split_once('.').ok_or(FORM)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| FORM);
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| FORM)?;
    if header.crit.is_some() {
        return Err(Fault::Invalid("the token demands something that is not known here"));
    }
    let algorithm = serde_json::from_value::<Algorithm>(header.alg).ok().filter(|one| algorithms.contains(one));
    let algorithm = algorithm.ok_or(Fault::Invalid("the token is signed by an algorithm that is not accepted"))?;
    let (claims, signature) = (decode(claims)?, decode(signature)?);
    let id = header.kid.as_deref();
    if !keys.fitting(id, algorithm).any(|key| key.verify(algorithm, message.as_bytes(), &signature)) {
        // By a name that is not known, or without one, it may be by a key that was added since.
        let named = id.is_some_and(|id| keys.has(id));
        return Err(if named { Fault::Invalid("the signature is wrong") } else { Fault::UnknownKey });
    }
    serde_json::from_slice(&claims).map_err(|_| FORM)
}

impl Demands {
    fn check(&self, claims: &Claims, now: f64) -> Result<(), &'static str> {
        let time = |name: &str| match claims.get(name) {
            Some(value) => {
                value.as_f64().filter(|time| time.is_finite()).map(Some).ok_or("a time in the token is none")
            }
            None => Ok(None),
        };
        let expires = time("exp")?.ok_or("the token has no end")?;
        if now >= expires + self.leeway {
            return Err("the token has expired");
        }
        if time("nbf")?.is_some_and(|begins| now < begins - self.leeway) {
            return Err("the token is not valid yet");
        }
        let issuer = claims.get("iss").and_then(Value::as_str);
        if !self.issuers.is_empty() && !issuer.is_some_and(|issuer| self.issuers.iter().any(|ours| ours == issuer)) {
            return Err("the token is of another issuer");
        }
        let for_us = |one: &Value| one.as_str().is_some_and(|one| self.audiences.iter().any(|ours| ours == one));
        let audience = match claims.get("aud") {
            Some(Value::Array(list)) => list.iter().any(for_us),
            Some(one) => for_us(one),
            None => false,
        };
        if !self.audiences.is_empty() && !audience {
            return Err("the token is for somebody else");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
