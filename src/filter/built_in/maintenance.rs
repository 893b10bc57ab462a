//! `maintenance`: everybody is told to come back later, all the time or while a file is there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use ipnet::IpNet;
use pingora_core::Result;
use pingora_proxy::Session;
use serde::Deserialize;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::ip::is_one_of;
use crate::config::{Mistake, Networks, Options, Period, contents};
use crate::filter::{Answer, Ctx, Filter};
use crate::reason::Reason;

/// How long what was seen of the file is believed: a thousand requests a second look at it no more often than one does.
const BELIEVED: Duration = Duration::from_secs(1);

/// How long a request waits for a file system that does not answer, before it goes by what was seen last.
const PATIENCE: Duration = Duration::from_millis(250);

/// A page that is larger than this is no page.
const LARGEST_PAGE: u64 = 1 << 20;

const RETRY: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    on: Option<bool>,
    file: Option<PathBuf>,
    #[serde(default)]
    allow: Networks,
    retry_after: Option<Period>,
    body: Option<String>,
    page: Option<PathBuf>,
}

/// `maintenance: { file: /run/maintenance }`
pub(super) struct Maintenance {
    switch: Switch,
    /// Who passes all the same.
    allow: Vec<IpNet>,
    /// In seconds.
    retry_after: u64,
    body: Option<(HeaderValue, Bytes)>,
    /// The file that the body was read from.
    page: Option<PathBuf>,
}

enum Switch {
    Always(bool),
    File(Flag),
}

/// A file that is there or not, as it was seen last.
struct Flag {
    path: PathBuf,
    there: AtomicBool,
    /// When it is to be looked at again, in milliseconds since `epoch`.
    next: AtomicU64,
    epoch: Instant,
}

impl Maintenance {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let settings: Settings = options.parse()?;
        let named = settings.page.clone().unwrap_or_default();
        let page = settings.page.map(|page| options.path(page));
        let body = match (&page, settings.body) {
            (Some(_), Some(_)) => {
                return Err(options.mistake_at("body", "cannot stand beside page: it is one or the other"));
            }
            (Some(page), None) => {
                let cannot = |why| options.mistake_at("page", format!("not usable here: {}: {why}", named.display()));
                Some((kind_of(page), Bytes::from(contents(page, LARGEST_PAGE).map_err(cannot)?)))
            }
            (None, text) => text.map(|text| (TEXT, Bytes::from(text))),
        };
        let switch = match (settings.on, settings.file) {
            (Some(_), Some(_)) => {
                return Err(options.mistake_at("on", "cannot stand beside file, which says when it is on"));
            }
            (on, None) => Switch::Always(on.unwrap_or(true)),
            (None, Some(file)) => Switch::File(Flag::new(options.path(file))),
        };
        let retry_after = settings.retry_after.map_or(RETRY, |Period(retry_after)| retry_after);
        let retry_after = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Ok(Maintenance { switch, allow: settings.allow.0, retry_after, body, page })
    }

    async fn is_on(&self) -> bool {
        match &self.switch {
            Switch::Always(on) => *on,
            Switch::File(flag) => flag.is_there().await,
        }
    }
}

#[async_trait]
impl Filter for Maintenance {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if is_one_of(&self.allow, ctx) || !self.is_on().await {
            return Ok(false);
        }
        let mut answer =
            Answer::refusal(Reason::Maintenance)?.header(RETRY_AFTER, HeaderValue::from(self.retry_after))?;
        if let Some((kind, body)) = &self.body {
            answer = answer.body(kind.clone(), body.clone());
        }
        answer.send(session, ctx).await
    }

    /// The page, and not the switch, whose changes it sees by itself.
    fn files(&self) -> Vec<PathBuf> {
        self.page.iter().cloned().collect()
    }
}

impl Flag {
    fn new(path: PathBuf) -> Self {
        let there = AtomicBool::new(path.exists());
        Flag { path, there, next: AtomicU64::new(0), epoch: Instant::now() }
    }

    /// As it was seen within [`BELIEVED`]. Of those that come after that, one looks, on a thread that may wait for a disk, and the
    /// others go by what was seen before.
    async fn is_there(&self) -> bool {
        let now = self.epoch.elapsed().as_millis() as u64;
        let next = self.next.load(Relaxed);
        let mine = now >= next
            && self.next.compare_exchange(next, now + BELIEVED.as_millis() as u64, Relaxed, Relaxed).is_ok();
        if mine {
            let path = self.path.clone();
            if let Ok(Ok(there)) = timeout(PATIENCE, spawn_blocking(move || path.exists())).await {
                self.there.store(there, Relaxed);
            }
        }
        self.there.load(Relaxed)
    }
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

fn kind_of(page: &Path) -> HeaderValue {
    match page.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => HeaderValue::from_static("text/html; charset=utf-8"),
        Some("json") => HeaderValue::from_static("application/json"),
        _ => TEXT,
    }
}
