//! Forms that met an ended, locked or stale session: kept for their user until they say what becomes of them.
//!
//! *Owns*: the ledger of what is kept, so that it stays bounded. The forms themselves are in the store, sealed.
//! *Never*: shown to anybody but the user who sent it; sent twice at once; larger, more, or longer than is configured;
//! gone without a word.
//! *On failure*: what cannot be kept is said to be lost, with the reason.

mod ledger;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::routes::HELD;
use crate::clock::SharedClock;
use crate::config;
use crate::request::held::Lost;
use crate::request::{Action, PatientRef};
use crate::secret::Secret;
use crate::store::{Durability, Insertion, Store, StoreError, Table};

use ledger::{Ledger, Line};

/// No two are sent at once, and one that was being sent when the process died can be sent again after this.
const CLAIM: Duration = Duration::from_mins(3);
/// How often one that is still being sent says so.
pub const CLAIMED_EVERY: Duration = Duration::from_mins(1);
const SENDING: &[u8] = b"sending";
/// An id as it is spelled.
const ID: usize = 36;

/// What a form is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The EMR's name in the configuration.
    pub emr: String,
    /// The route of its profile.
    pub route: String,
    /// The clinical action.
    pub action: Action,
    /// The section of the chart.
    pub section: String,
    /// Whose chart it is.
    pub patients: Vec<PatientRef>,
}

/// What may become of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Its user may have it sent.
    Replay,
    /// It is shown, to be copied.
    Show,
}

/// What content is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Form,
    Text,
}

/// A form on its way to be kept.
#[derive(Debug)]
pub struct Draft {
    /// The id of the request that brought it.
    pub id: String,
    /// The user's stable id.
    pub user: String,
    /// The host and port that it was sent to.
    pub authority: String,
    /// The target, canonical.
    pub target: String,
    /// Its head, for what kind of content it is and the page that it was on.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// What it is about, where that is known.
    pub about: Option<About>,
    /// What may become of it.
    pub way: Way,
}

/// A form that is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPost {
    id: String,
    user: String,
    authority: String,
    target: String,
    content_type: String,
    referer: Option<String>,
    body: String,
    about: Option<About>,
    way: Way,
    at: Timestamp,
    until: Timestamp,
    /// How often it was sent already, with nobody knowing what came of it.
    tried: u32,
}

impl std::fmt::Debug for HeldPost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeldPost")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What the search for a form came to.
#[derive(Debug)]
pub enum Sought {
    /// It is there, and its user asks.
    Own(Box<HeldPost>),
    /// It was there and was somebody else's; it is not any more.
    Others,
    /// There is none.
    Nothing,
}

/// A form whose time was over before its user came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Its id.
    pub id: String,
    /// The user's stable id.
    pub user: String,
}

/// All forms that are kept.
#[derive(Debug)]
pub struct HeldPosts {
    settings: config::lock::HeldPosts,
    store: Store,
    clock: SharedClock,
    ledger: Mutex<Ledger>,
}

/// Where a form is found.
#[must_use]
pub fn location(id: &str) -> String {
    format!("{HELD}/{id}")
}

/// The id that a path names, if it is spelled like one.
#[must_use]
pub fn id_of(path: &str) -> Option<&str> {
    let id = path.strip_prefix(HELD)?.strip_prefix('/')?;
    let fits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-';
    (id.len() == ID && id.bytes().all(fits)).then_some(id)
}

/// Whether content of this kind is kept: plain forms, text and JSON, not encoded.
#[must_use]
pub fn is_kept(headers: &HeaderMap) -> bool {
    !headers.contains_key(CONTENT_ENCODING)
        && stated(headers).is_some_and(|kind| kind_of(kind).is_some())
}

fn stated(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    match (values.next(), values.next()) {
        (Some(one), None) => one.to_str().ok(),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

fn kind_of(content_type: &str) -> Option<Kind> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        "text/plain" | "application/json" => Some(Kind::Text),
        _ => None,
    }
}

fn key(id: &str) -> String {
    format!("post/{id}")
}

impl HeldPost {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The host and port that it was sent to.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The target that it was sent to.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What kind of content it is.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The page that it was on.
    #[must_use]
    pub fn referer(&self) -> Option<&str> {
        self.referer.as_deref()
    }

    /// What it is about.
    #[must_use]
    pub const fn about(&self) -> Option<&About> {
        self.about.as_ref()
    }

    /// What may become of it.
    #[must_use]
    pub const fn way(&self) -> Way {
        self.way
    }

    /// When it was sent.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Until when it is kept.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// How often it was sent already.
    #[must_use]
    pub const fn tried(&self) -> u32 {
        self.tried
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> Bytes {
        STANDARD.decode(&self.body).unwrap_or_default().into()
    }

    /// What tells this form from every other: what is confirmed is what was shown.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [&self.id, &self.target, &self.content_type, &self.body] {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex::encode(context.finish())
    }

    /// What was typed, field by field. Passwords are left out.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, String)> {
        let body = self.body();
        match kind_of(&self.content_type) {
            Some(Kind::Form) => form_urlencoded::parse(&body)
                .map(|(name, value)| {
                    if name.to_ascii_lowercase().contains("pass") {
                        (name.into_owned(), "(not shown)".to_owned())
                    } else {
                        (name.into_owned(), value.into_owned())
                    }
                })
                .collect(),
            Some(Kind::Text) | None => {
                let text = String::from_utf8_lossy(&body).into_owned();
                vec![("text".to_owned(), text)]
            }
        }
    }
}

impl HeldPosts {
    /// Opens what is kept; what is in the store already counts.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn open(
        settings: config::lock::HeldPosts,
        store: Store,
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        let mut ledger = Ledger::default();
        let mut after = None;
        loop {
            let page = store.scan(Table::Held, after.as_deref()).await?;
            for (_, entry) in page.entries {
                if let Ok(post) = serde_json::from_slice::<HeldPost>(entry.value.expose()) {
                    ledger.add(&post.id, Line::of(&post));
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(Self {
            settings,
            store,
            clock,
            ledger: Mutex::new(ledger),
        })
    }

    /// Most bytes of one.
    #[must_use]
    pub const fn max_size(&self) -> u64 {
        self.settings.max_size
    }

    /// How many are kept now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ledger().count()
    }

    /// Keeps a form, durably; says until when.
    ///
    /// # Errors
    /// [`Lost`] says why not.
    pub async fn keep(&self, draft: Draft) -> Result<Timestamp, Lost> {
        let content_type = stated(&draft.headers).filter(|kind| kind_of(kind).is_some());
        let content_type = content_type.ok_or(Lost::Kind)?.to_owned();
        let bytes = u64::try_from(draft.body.len()).unwrap_or(u64::MAX);
        if bytes > self.settings.max_size {
            return Err(Lost::TooLarge);
        }
        let referer = draft.headers.get(http::header::REFERER);
        let referer = referer
            .and_then(|value| value.to_str().ok())
            .filter(|value| value.len() <= 2048)
            .map(str::to_owned);
        let now = self.clock.now();
        let post = HeldPost {
            id: draft.id,
            user: draft.user,
            authority: draft.authority,
            target: draft.target,
            content_type,
            referer,
            body: STANDARD.encode(&draft.body),
            about: draft.about,
            way: draft.way,
            at: now,
            until: now.saturating_add(self.settings.keep_for).unwrap_or(now),
            tried: 0,
        };
        self.ledger()
            .reserve(&post.id, Line::of(&post), &self.settings)?;
        match self.write(&post).await {
            Ok(()) => Ok(post.until),
            Err(error) => {
                tracing::error!(%error, held = post.id, "a form was not kept");
                self.ledger().remove(&post.id);
                Err(Lost::Store)
            }
        }
    }

    async fn write(&self, post: &HeldPost) -> Result<(), StoreError> {
        let value = serde_json::to_vec(post).map(Secret::new);
        let value = value.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.store
            .put(
                Table::Held,
                &key(&post.id),
                value.expose(),
                post.until,
                Durability::Immediate,
            )
            .await
    }

    /// Looks for the form that `user` asks about. One that is somebody else's is deleted: they have left this browser,
    /// and what they wrote is not to wait in it.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn find(&self, id: &str, user: &str) -> Result<Sought, StoreError> {
        let entry = self.store.get(Table::Held, &key(id)).await?;
        let post: Option<HeldPost> =
            entry.and_then(|entry| serde_json::from_slice(entry.value.expose()).ok());
        match post {
            Some(post) if post.user == user => Ok(Sought::Own(Box::new(post))),
            Some(post) => {
                self.discard(&post.id).await?;
                Ok(Sought::Others)
            }
            None => Ok(Sought::Nothing),
        }
    }

    /// Deletes a form.
    ///
    /// # Errors
    /// [`StoreError`] when the store did not confirm it.
    pub async fn discard(&self, id: &str) -> Result<(), StoreError> {
        self.store.delete(Table::Held, &key(id)).await?;
        self.ledger().remove(id);
        Ok(())
    }

    /// Takes the right to send a form; of several at once one gets it. What is about to be sent says so from then on.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn claim(&self, post: &mut HeldPost) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let until = now.saturating_add(CLAIM).unwrap_or(now);
        let claimed = self
            .store
            .insert_if_absent(
                Table::Held,
                &claim_key(&post.id),
                SENDING,
                until,
                Durability::Immediate,
            )
            .await?;
        if claimed == Insertion::Present {
            return Ok(false);
        }
        // SECURITY: between the look and the claim another may have sent it.
        if self.store.get(Table::Held, &key(&post.id)).await?.is_none() {
            self.release(post).await?;
            return Ok(false);
        }
        post.tried = post.tried.saturating_add(1);
        self.write(post).await?;
        Ok(true)
    }

    /// Keeps the right for another while: the EMR takes its time.
    ///
    /// # Errors
    /// [`StoreError`] when the store did not confirm it.
    pub async fn keep_claim(&self, post: &HeldPost) -> Result<(), StoreError> {
        let now = self.clock.now();
        let until = now.saturating_add(CLAIM).unwrap_or(now);
        let key = claim_key(&post.id);
        let durability = Durability::Relaxed;
        self.store
            .put(Table::Held, &key, SENDING, until, durability)
            .await
    }

    /// Gives the right back.
    ///
    /// # Errors
    /// [`StoreError`] when the store did not confirm it; it is given back by itself after a while.
    pub async fn release(&self, post: &HeldPost) -> Result<(), StoreError> {
        self.store.delete(Table::Held, &claim_key(&post.id)).await
    }

    /// The forms whose time was over since the last call.
    #[must_use]
    pub fn expired(&self) -> Vec<Expired> {
        self.ledger().expired(self.clock.now())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn claim_key(id: &str) -> String {
    format!("sending/{id}")
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "tests reckon with small constants"
)]
mod tests;
