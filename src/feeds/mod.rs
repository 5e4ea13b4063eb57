//! Feeds that say who treats whom: a CSV file, the same from a URL, and an ADT export.
//!
//! They are looked at in the background. What they say is kept in memory only, and stated to `policy`.
//!
//! *Owns*: what each feed said last.
//! *Never*: a relation from half a feed, or from one that is too old; a patient's number or a name in a log or an error.
//! *On failure*: what was said before counts on until it is too old, and then every relation is unknown; an alarm, and
//! the status, say why.

mod adt;
mod csv;
mod directory;
mod export;
mod hl7;
pub mod links;
mod numbering;
mod one;
mod staff;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;

use self::one::Feed;
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::config;
use crate::outbound::HttpError;
use crate::policy::care::Care;
use crate::policy::decide::Policies;
use crate::request::Event;

/// Why a feed cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The client that fetches one.
    #[error("the care relation feed cannot be fetched: {0}")]
    Http(#[from] HttpError),
    /// An alarm could not be recorded.
    #[error("what is wrong with a care relation feed cannot be put on record: {0}")]
    Trail(#[from] AuditError),
    /// The reading of a feed was cut short.
    #[error("the reading of a care relation feed was cut short")]
    Cut(#[from] tokio::task::JoinError),
}

/// What the feeds stand on.
#[derive(Debug)]
pub struct Ground {
    /// Settings.
    pub settings: config::care::CareFeeds,
    /// Where relations are looked up.
    pub policies: Arc<Policies>,
    /// The trail.
    pub audit: Audit,
    /// Time.
    pub clock: SharedClock,
}

/// How one feed is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `file`, `url` or `adt`.
    pub feed: &'static str,
    /// How many patients it knows.
    pub patients: usize,
    /// When what it says was written.
    pub as_of: Option<Timestamp>,
    /// Whether it may be relied on.
    pub is_fresh: bool,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// The care relation feeds.
#[derive(Debug, Clone)]
pub struct CareFeeds {
    ground: Arc<Ground>,
    feeds: Arc<Mutex<Vec<Feed>>>,
}

impl CareFeeds {
    /// Reads every feed once; what they say is in force when this returns.
    ///
    /// # Errors
    /// [`FeedError`] where a feed can never be followed. One that is missing or wrong is no error, but an alarm.
    pub async fn open(ground: Ground) -> Result<Self, FeedError> {
        let feeds = Feed::all(&ground.settings)?;
        let room = Self {
            ground: Arc::new(ground),
            feeds: Arc::new(Mutex::new(feeds)),
        };
        // Before the first look: a patient is unknown until feeds say otherwise.
        room.state(&room.feeds.lock().await);
        room.look().await?;
        Ok(room)
    }

    /// Looks at the feeds again and again.
    pub async fn run(self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(self.ground.settings.refresh) => {}
            }
            if let Err(error) = self.look().await {
                tracing::error!(%error, "a care relation feed is not kept up");
            }
        }
    }

    /// How each feed is.
    pub async fn condition(&self) -> Vec<Condition> {
        let now = self.ground.clock.now();
        let feeds = self.feeds.lock().await;
        feeds.iter().map(|feed| feed.condition(now)).collect()
    }

    async fn look(&self) -> Result<(), FeedError> {
        let mut feeds = self.feeds.lock().await;
        let mut has_news = false;
        let mut said = Vec::new();
        for feed in feeds.iter_mut() {
            has_news |= feed.look(&self.ground.clock).await?;
            said.extend(feed.complaint(self.ground.clock.now()));
        }
        if has_news {
            self.state(&feeds);
        }
        for (feed, title) in said {
            self.alarm(feed, title).await?;
        }
        Ok(())
    }

    fn state(&self, feeds: &[Feed]) {
        let sources = feeds.iter().map(|feed| Arc::clone(feed.source()));
        self.ground.policies.relate(&Care::of(sources));
    }

    async fn alarm(&self, feed: &'static str, title: String) -> Result<(), FeedError> {
        tracing::warn!(feed, title, "a care relation feed is not in order");
        let alarm = [
            ("rule", "care-feed".to_owned()),
            ("level", "high".to_owned()),
            ("feed", feed.to_owned()),
            ("title", title),
        ];
        let alarm = alarm.map(|(key, value)| (key.to_owned(), value));
        self.ground
            .audit
            .event(Event::Alarm, None, alarm.into())
            .await?;
        Ok(())
    }
}
