//! Follows the trail for people at work, the bundle for courses, and the feed for attestations.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;

use super::book::AtWork;
use super::{Training, TrainingError};
use crate::audit::entry::{Entry, Phase};
use crate::audit::follow::Follower;
use crate::audit::show::Shown;
use crate::request::handled::TRAINING_VALID_UNTIL;
use crate::request::{Event, Principal};

/// How often the trail is looked at; a new user is enrolled within this.
const LOOK: Duration = Duration::from_millis(200);
/// Every so many looks the bundle and the feed are looked at, and whose time ran out is counted.
const OTHERS: u32 = 5;
/// Every so many looks, what is too old is forgotten.
const FORGET: u32 = 5 * 3_600;

/// Whoever is at work, by id.
type Seen = BTreeMap<String, AtWork>;

impl Training {
    /// Keeps the book until `end`.
    pub async fn run(self, end: impl Future<Output = ()>) {
        let ground = &self.ground;
        let mut follower = Follower::new(ground.audit.clone(), ground.place.clone(), self.next);
        let mut end = std::pin::pin!(end);
        for look in 0_u32.. {
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let trouble = self.look(&mut follower, look).await.err();
            let trouble = trouble.map(|error| error.to_string());
            let mut book = self.book.lock().await;
            if let Some(trouble) = &trouble
                && book.trouble.as_ref() != Some(trouble)
            {
                tracing::error!(trouble, "training is not kept up");
            }
            book.trouble = trouble;
        }
    }

    async fn look(&self, follower: &mut Follower, look: u32) -> Result<(), Trouble> {
        loop {
            let step = follower
                .step()
                .await
                .map_err(|error| Trouble(error.to_string()))?;
            if step.is_empty() {
                break;
            }
            self.see(&at_work(&step)).await?;
        }
        if look.is_multiple_of(OTHERS) {
            let mut book = self.book.lock().await;
            if look.is_multiple_of(FORGET) {
                book.forget(self.now());
                self.attempts.sweep();
            }
            let before = book.bundle.clone();
            self.follow_bundle(&mut book).await?;
            if book.bundle != before {
                // A course that the feed named before it was in force is there now.
                book.feed.look_again();
            }
            self.follow_feed(&mut book).await?;
            self.restate(&mut book);
        }
        Ok(())
    }

    async fn see(&self, at_work: &Seen) -> Result<(), TrainingError> {
        let (courses, now) = (self.courses(), self.now());
        let mut book = self.book.lock().await;
        let mut changed = false;
        for (user, seen) in at_work {
            if let Some(person) = book.see((user, seen), &courses, now) {
                changed = true;
                self.keep_person(&person).await?;
            }
        }
        if changed {
            self.restate(&mut book);
        }
        Ok(())
    }
}

/// Why the book is not kept up.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Trouble(String);

impl From<TrainingError> for Trouble {
    fn from(error: TrainingError) -> Self {
        Self(error.to_string())
    }
}

/// Who is at work in these records. A refusal may name somebody whose sign-in was not finished: they are not.
fn at_work(shown: &[Shown]) -> Seen {
    let mut seen = Seen::new();
    let entries = shown.iter().map(|shown| &shown.entry);
    for entry in entries.filter(|entry| entry.phase != Phase::Refuse) {
        let Some(principal) = entry.facts.as_ref().and_then(|f| f.principal.as_deref()) else {
            continue;
        };
        // Programs take no courses.
        let Principal::User(user) = principal else {
            continue;
        };
        // Somebody between the provider and their second factor has no role yet.
        if user.roles.is_empty() {
            continue;
        }
        let earlier = seen.remove(&principal.id()).and_then(|known| known.stated);
        let known = AtWork {
            name: user.name.clone(),
            roles: principal.roles().clone(),
            stated: stated(entry).or(earlier),
        };
        seen.insert(principal.id(), known);
    }
    seen
}

/// Until when the provider says that training holds, in the record of a sign-in.
fn stated(entry: &Entry) -> Option<Timestamp> {
    let signs_in = matches!(entry.event?, Event::Login | Event::StepUp);
    let said = entry.detail.get(TRAINING_VALID_UNTIL);
    said.filter(|_| signs_in)?.parse().ok()
}
