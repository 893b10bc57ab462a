//! What live traffic tells of the backends of a pool, on its way to whoever takes backends out and logs it.

use std::mem::take;
use std::sync::{Mutex, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use std::sync::Arc;
use tokio::sync::Notify;

use super::cause::Change;
use crate::config::Ejection as Rules;

/// The rules that a pool ejects by, and the news of its backends.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// None while nobody watches: who is ejected then would never come back.
    rules: ArcSwapOption<Rules>,
    news: Mutex<Vec<News>>,
    /// There is news, or somebody has failed often enough to be ejected.
    call: Notify,
}

/// What has become of a backend.
#[derive(Debug)]
pub(crate) struct News {
    /// Its address, as text.
    pub(crate) backend: String,
    pub(crate) change: Change,
}

impl Watch {
    /// Eject by these rules from now on; not at all without any.
    pub(crate) fn begin(&self, rules: Option<Rules>) {
        self.rules.store(rules.map(Arc::new));
    }

    /// The rules now, if backends are ejected.
    pub(crate) fn rules(&self) -> Guard<Option<Arc<Rules>>> {
        self.rules.load()
    }

    /// Wait until there is something to do.
    pub(crate) async fn called(&self) {
        self.call.notified().await;
    }

    /// Say that there is.
    pub(super) fn call(&self) {
        self.call.notify_one();
    }

    pub(super) fn tell(&self, backend: &str, change: Change) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        news.push(News { backend: backend.to_owned(), change });
        drop(news);
        self.call();
    }

    /// The news since the last call.
    pub(crate) fn news(&self) -> Vec<News> {
        take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
