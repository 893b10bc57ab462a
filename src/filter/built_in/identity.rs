//! Headers that tell the backend who the client is. They come from us alone: what a client sends by their names is taken away,
//! and what we say arrives, whatever the client names in `Connection`.

use http::header::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora_core::Result;

use super::names::folds_alike;
use crate::filter::Ctx;

/// What is told of one request's client, by all filters that it has passed.
#[derive(Clone, Default)]
struct Told(Vec<(HeaderName, HeaderValue)>);

/// The names that a filter tells by.
#[derive(Debug)]
pub(super) struct Identity(Vec<HeaderName>);

impl Identity {
    pub(super) fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        Identity(names.into_iter().collect())
    }

    /// Take away what the client, or a filter before this one, says by these names.
    pub(super) fn strip(&self, request: &mut RequestHeader, ctx: &mut Ctx) {
        if self.0.is_empty() {
            return;
        }
        let ours: Vec<HeaderName> = request.headers.keys().filter(|name| self.has(name)).cloned().collect();
        for name in ours {
            request.remove_header(&name);
        }
        if let Some(told) = ctx.extensions.get_mut::<Told>() {
            told.0.retain(|(name, _)| !self.0.contains(name));
        }
    }

    /// Tell this, after [`Identity::strip`]; several times of one name are several lines.
    ///
    /// # Errors
    /// None: both are well-formed.
    pub(super) fn tell(
        &self,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
        name: &HeaderName,
        value: HeaderValue,
    ) -> Result<()> {
        request.append_header(name.clone(), value.clone())?;
        let told = ctx.extensions.get_or_insert_default::<Told>();
        told.0.push((name.clone(), value));
        Ok(())
    }

    /// For `upstream_request_filter`: a client that names one of these in `Connection` has it removed on the way to the backend,
    /// which would then take the request for one of nobody, or of anybody.
    ///
    /// # Errors
    /// None: both are well-formed.
    pub(super) fn tell_again(&self, request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
        let Some(Told(told)) = ctx.extensions.get::<Told>() else { return Ok(()) };
        let ours = told.iter().filter(|(name, _)| self.0.contains(name));
        let gone: Vec<_> = ours.filter(|(name, _)| !request.headers.contains_key(name)).collect();
        for (name, value) in gone {
            request.append_header(name.clone(), value.clone())?;
        }
        Ok(())
    }

    fn has(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|ours| folds_alike(ours.as_str(), name.as_str()))
    }
}

/// Whether a filter tells the backend by this name who the client is.
pub(super) fn is_told(ctx: &Ctx, name: &str) -> bool {
    ctx.extensions
        .get::<Told>()
        .is_some_and(|Told(told)| told.iter().any(|(one, _)| name.eq_ignore_ascii_case(one.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    #[test]
    fn nobody_else_says_who_the_client_is() {
        let identity = Identity::new([HeaderName::from_static("x-user")]);
        let mut request = request(&[
            ("X-User", "root"),
            ("x-user", "too"),
            ("X_User", "root"),
            ("X.User", "root"),
            ("X-Users", "all"),
        ]);
        let mut ctx = Ctx::new();
        identity.strip(&mut request, &mut ctx);
        assert_eq!(request.headers.len(), 1, "{:?}", request.headers);
        identity.tell(&mut request, &mut ctx, &identity.0[0], HeaderValue::from_static("alice")).unwrap();
        assert_eq!(request.headers["x-user"], "alice");
    }

    #[test]
    fn what_a_connection_header_took_away_is_told_again_and_nothing_twice() {
        let identity = Identity::new(["x-user", "x-groups"].map(HeaderName::from_static));
        let (mut before, mut ctx) = (request(&[]), Ctx::new());
        identity.strip(&mut before, &mut ctx);
        for group in ["a", "b"] {
            identity.tell(&mut before, &mut ctx, &identity.0[1], HeaderValue::from_static(group)).unwrap();
        }
        let mut upstream = before.clone();
        identity.tell_again(&mut upstream, &ctx).unwrap();
        assert_eq!(upstream.headers.len(), 2);
        upstream.remove_header("x-groups");
        identity.tell_again(&mut upstream, &ctx).unwrap();
        let groups: Vec<_> = upstream.headers.get_all("x-groups").iter().collect();
        assert_eq!(groups, ["a", "b"]);
        // A filter after it that says nothing of it: nothing is told.
        identity.strip(&mut before, &mut ctx);
        identity.tell_again(&mut before, &ctx).unwrap();
        assert!(before.headers.is_empty());
    }
}
