//! Training: who has to do which course until when, and the pages and feeds that show that it was done.
//!
//! The courses are the bundle's. Everyone whom the trail shows at work is enrolled in those that concern their roles,
//! with grace; an attestation holds for as long as the course says.
//!
//! *Owns*: `Table::Training`; the due dates in the policies' standing.
//! *Never*: an attestation that is in force before it is on record; anyone locked out on the day that a course appears.
//! *On failure*: what could not be read or stored changes nobody's due date; the status says so.

mod ask;
mod attest;
mod book;
mod desk;
mod feed;
mod import;
mod keep;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::audit::follow::Place;
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::config;
use crate::limit::keyed::Keyed;
use crate::policy::courses::Course;
use crate::policy::decide::Policies;
use crate::refusal::Refusal;
use crate::store::{Durability, Store, StoreError, Table};

pub use ask::{Ask, Condition, Count, Piece};
pub use book::{Attestation, Source};

use book::{Book, Introduced, Person};

/// Whoever was not seen for so long is not asked to do courses any more, until they come back.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24 * 400);
/// An attestation is kept for so long after it ran out: how long somebody is overdue stays known.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 400);
/// Most people who are enrolled.
const MOST_PEOPLE: usize = 50_000;
/// Attempts at one course by one user.
const ATTEMPTS: u32 = 5;
const ATTEMPTS_PER: Duration = Duration::from_hours(1);

/// What the room stands on.
#[derive(Debug)]
pub struct Ground {
    /// Grace and feed.
    pub settings: config::Training,
    /// Where attestations are kept.
    pub store: Store,
    /// The trail, to write in.
    pub audit: Audit,
    /// The trail, to follow.
    pub place: Place,
    /// Courses and standing.
    pub policies: Arc<Policies>,
    /// Time.
    pub clock: SharedClock,
}

/// The room.
#[derive(Debug, Clone)]
pub struct Training {
    ground: Arc<Ground>,
    book: Arc<Mutex<Book>>,
    attempts: Arc<Keyed<String>>,
    /// The first record of the trail that this run has not seen.
    next: u64,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The trail.
    #[error("the trail: {0}")]
    Audit(#[from] AuditError),
    /// It could not be written down.
    #[error("it could not be encoded: {0}")]
    Encoding(#[from] serde_json::Error),
    /// The gateway is stopping, or a defect.
    #[error("the work was cut short: {0}")]
    Cut(#[from] tokio::task::JoinError),
    /// Nobody of this name is enrolled.
    #[error("nobody of this name or id was seen at work: `{0}`")]
    Unknown(String),
}

impl TrainingError {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Store(_) => Refusal::StoreUnavailable,
            Self::Audit(_) => Refusal::AuditUnavailable,
            Self::Encoding(_) | Self::Cut(_) | Self::Unknown(_) => Refusal::Internal,
        }
    }
}

impl Training {
    /// Opens the room; what the store holds is in force when this returns.
    ///
    /// # Errors
    /// [`TrainingError::Store`] when the store cannot be read or written.
    pub async fn open(ground: Ground) -> Result<Self, TrainingError> {
        let mut book = Book::default();
        for (key, entry) in ground.store.read_all(Table::Training).await? {
            if !book.load(&key, entry.value.expose()) {
                tracing::error!(
                    key,
                    "a stored attestation cannot be read and was passed over"
                );
            }
        }
        let per_hour = NonZeroU32::new(ATTEMPTS).unwrap_or(NonZeroU32::MIN);
        let rate = config::Rate {
            requests: per_hour,
            per: ATTEMPTS_PER,
            burst: per_hour,
        };
        let room = Self {
            next: ground.audit.log().status().sequence.saturating_add(1),
            ground: Arc::new(ground),
            book: Arc::new(Mutex::new(book)),
            attempts: Arc::new(Keyed::new("course-attempts", rate, MOST_PEOPLE)),
        };
        let mut book = room.book.lock().await;
        room.follow_bundle(&mut book).await?;
        room.restate(&mut book);
        drop(book);
        Ok(room)
    }

    fn now(&self) -> Timestamp {
        self.ground.clock.now()
    }

    fn grace(&self) -> SignedDuration {
        SignedDuration::try_from(self.ground.settings.grace).unwrap_or(SignedDuration::MAX)
    }

    /// The courses in force.
    fn courses(&self) -> Arc<[Course]> {
        Arc::clone(self.ground.policies.active().bundle().courses())
    }

    /// Puts what the book says in force, where that is not what is in force already.
    fn restate(&self, book: &mut Book) {
        let courses = self.courses();
        let dues = Arc::new(book.dues(&courses, self.grace()));
        if self.ground.policies.standing().dues != dues {
            self.ground
                .policies
                .restate(|standing| standing.dues = Arc::clone(&dues));
        }
        self.measure(book, &courses);
    }

    /// Takes note of the courses of the bundle in force: which are new, and whom they concern.
    async fn follow_bundle(&self, book: &mut Book) -> Result<(), TrainingError> {
        let active = self.ground.policies.active();
        if book.bundle == active.bundle().digest() {
            return Ok(());
        }
        let (courses, now) = (self.courses(), self.now());
        for course in courses.iter() {
            if let Some(introduced) = book.introduce(course, now) {
                self.keep_introduced(&introduced).await?;
            }
        }
        for person in book.enrol_all(&courses, now) {
            self.keep_person(&person).await?;
        }
        active.bundle().digest().clone_into(&mut book.bundle);
        Ok(())
    }

    async fn put<T: Serialize + Sync>(
        &self,
        key: &str,
        value: &T,
        gone: Timestamp,
        durability: Durability,
    ) -> Result<(), TrainingError> {
        let value = serde_json::to_vec(value)?;
        let store = &self.ground.store;
        store
            .put(Table::Training, key, &value, gone, durability)
            .await?;
        Ok(())
    }

    async fn keep_introduced(&self, introduced: &Introduced) -> Result<(), TrainingError> {
        let key = book::introduced_key(&introduced.course);
        self.put(&key, introduced, crate::store::NEVER, Durability::Immediate)
            .await
    }

    async fn keep_person(&self, person: &Person) -> Result<(), TrainingError> {
        let gone = person.seen.saturating_add(FORGOTTEN);
        let key = book::person_key(&person.user);
        let gone = gone.unwrap_or(crate::store::NEVER);
        // A crash that loses it costs a moment: the next thing that they do enrols them again.
        self.put(&key, person, gone, Durability::Relaxed).await
    }

    async fn keep_attestation(
        &self,
        attestation: &Attestation,
        durability: Durability,
    ) -> Result<(), TrainingError> {
        let gone = attestation.until.saturating_add(KEPT);
        let key = book::attestation_key(&attestation.user, &attestation.course);
        let gone = gone.unwrap_or(crate::store::NEVER);
        self.put(&key, attestation, gone, durability).await
    }
}

/// A key of the store for something that is named by people: names do not stand in clear on the disk.
fn hashed(parts: &[&str]) -> String {
    hex::encode(digest(&SHA256, parts.join("\u{0}").as_bytes()))
}
