//! Follows the trail for people at work, the bundle for courses, and the feed for attestations.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use super::{Training, TrainingError};
use crate::audit::entry::Phase;
use crate::audit::follow::Follower;
use crate::audit::show::Shown;
use crate::request::{Principal, Role};

/// How often the trail is looked at; a new user is enrolled within this.
const LOOK: Duration = Duration::from_millis(200);
/// Every so many looks the bundle and the feed are looked at, and whose time ran out is counted.
const OTHERS: u32 = 5;
/// Every so many looks, what is too old is forgotten.
const FORGET: u32 = 5 * 3_600;

/// Whoever is at work, by id: name and roles.
type AtWork = BTreeMap<String, (String, BTreeSet<Role>)>;

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
                book.feed.stamp = None;
            }
            self.follow_feed(&mut book).await?;
            self.restate(&mut book);
        }
        Ok(())
    }

    async fn see(&self, at_work: &AtWork) -> Result<(), TrainingError> {
        let (courses, now) = (self.courses(), self.now());
        let mut book = self.book.lock().await;
        let mut changed = false;
        for (user, (name, roles)) in at_work {
            if let Some(person) = book.see((user, name, roles), &courses, now) {
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
fn at_work(shown: &[Shown]) -> AtWork {
    let entries = shown.iter().map(|shown| &shown.entry);
    entries
        .filter(|entry| entry.phase != Phase::Refuse)
        .filter_map(|entry| entry.facts.as_ref()?.principal.as_deref())
        .filter_map(|principal| match principal {
            Principal::User(user) => Some((
                principal.id(),
                (user.name.clone(), principal.roles().clone()),
            )),
            // Programs take no courses.
            Principal::Service(_) => None,
        })
        .collect()
}
