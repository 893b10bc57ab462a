//! `rate_limit`: so many requests in a time, and no more, for each client, user or route. A bucket of tokens for each.

mod bucket;
mod options;
mod table;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_proxy::Session;

use self::bucket::{Level, Quota};
use self::options::{By, Settings};
use self::table::Table;
use crate::config::{Mistake, Options};
use crate::filter::key::{self, Key};
use crate::filter::{Answer, Ctx, Filter};
use crate::reason::Reason;

/// Those of [draft-ietf-httpapi-ratelimit-headers-06](https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-06),
/// which clients know; later drafts have put them into one field, which few do.
const LIMIT: &str = "RateLimit-Limit";
const REMAINING: &str = "RateLimit-Remaining";
const RESET: &str = "RateLimit-Reset";

/// `rate_limit: { rate: 100/s }`
pub(super) struct RateLimit {
    by: By,
    quota: Quota,
    buckets: Table,
    /// Whether clients are told.
    headers: bool,
    /// What the moments of the buckets are counted from.
    epoch: Instant,
}

impl RateLimit {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let settings: Settings = options.parse()?;
        Ok(RateLimit {
            quota: settings.quota(options)?,
            buckets: Table::new(settings.max_keys(options)?),
            headers: settings.headers.unwrap_or(true),
            by: settings.key,
            epoch: Instant::now(),
        })
    }

    /// What a request is counted by; `None` if it has nothing of that, and is not counted.
    fn key<'a>(&'a self, session: &'a Session, ctx: &Ctx) -> Option<Key<'a>> {
        match &self.by {
            By::Route => Some(Key::None),
            By::Parts(parts) => {
                let key = key::of(parts, session.req_header(), ctx.client()).of_subscriber();
                (key != Key::None).then_some(key)
            }
        }
    }

    fn now(&self) -> u64 {
        // For five centuries.
        self.epoch.elapsed().as_nanos() as u64
    }

    fn level(&self, session: &Session, ctx: &Ctx) -> Option<Level> {
        let key = self.key(session, ctx)?;
        Some(self.quota.level(self.buckets.known(&key), self.now()))
    }
}

#[async_trait]
impl Filter for RateLimit {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let now = self.now();
        let taken = match self.key(session, ctx) {
            Some(key) => self.quota.take(self.buckets.bucket(&key, now), now),
            None => Ok(()),
        };
        match taken {
            Ok(()) => Ok(false),
            Err(wait) => {
                let answer = Answer::refusal(Reason::RateLimited)?.header(RETRY_AFTER, seconds(wait))?;
                answer.send(session, ctx).await
            }
        }
    }

    async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        match self.headers.then(|| self.level(session, ctx)).flatten() {
            Some(level) => tell(response, self.quota.burst(), level),
            None => Ok(()),
        }
    }
}

/// Say how much is left, unless something else has said that it is less: another limit, or the backend.
fn tell(response: &mut ResponseHeader, burst: u64, level: Level) -> Result<()> {
    let told = response.headers.get(REMAINING).and_then(|told| told.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told < level.left) {
        return Ok(());
    }
    response.insert_header(LIMIT, HeaderValue::from(burst))?;
    response.insert_header(REMAINING, HeaderValue::from(level.left))?;
    response.insert_header(RESET, seconds(level.full_in))
}

/// Whole ones, rounded up: after them it is true.
fn seconds(time: Duration) -> HeaderValue {
    HeaderValue::from(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        for (millis, shown) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2")] {
            assert_eq!(seconds(Duration::from_millis(millis)), shown);
        }
    }

    #[test]
    fn the_narrower_of_two_limits_is_told() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        let mut shown = |burst, left, full_in| {
            tell(&mut response, burst, Level { left, full_in: Duration::from_secs(full_in) }).unwrap();
            [LIMIT, REMAINING, RESET].map(|name| response.headers[name].to_str().unwrap().to_owned())
        };
        assert_eq!(shown(100, 50, 5), ["100", "50", "5"]);
        assert_eq!(shown(1000, 900, 9), ["100", "50", "5"]);
        assert_eq!(shown(10, 0, 60), ["10", "0", "60"]);
    }
}
