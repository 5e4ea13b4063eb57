//! Watches what happens by itself: screens that lock, and forms whose user does not come.
//!
//! *Never*: a lock that waits for this; a session is locked by its time alone. This cuts its live streams, and puts it
//! on record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::SharedClock;
use crate::config::Config;
use crate::gateway::Stages;
use crate::identity::held::HeldPosts;
use crate::request::Event;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics as names;

/// How late a locked screen's live streams may be cut.
const TICK: Duration = Duration::from_secs(2);

/// What is kept of forms, where any are.
pub(super) async fn held(
    config: &Config,
    store: &Store,
    clock: &SharedClock,
) -> Result<Option<Arc<HeldPosts>>, StoreError> {
    let Some(settings) = config.identity.held_posts else {
        return Ok(None);
    };
    let held = HeldPosts::open(settings, store.clone(), clock.clone()).await?;
    Ok(Some(Arc::new(held)))
}

/// Runs until `end`.
pub(super) async fn watch(stages: Arc<Stages>, end: impl Future<Output = ()>) {
    if !stages.identity.locks_screens() && stages.held.is_none() {
        return;
    }
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return,
            () = tokio::time::sleep(TICK) => {}
        }
        for locked in stages.identity.newly_locked().await {
            metrics::counter!(names::LOCKS, "cause" => "idle").increment(1);
            let detail = [
                ("cause", "idle".to_owned()),
                ("session", locked.session.to_string()),
                ("user", locked.user),
            ];
            note(&stages, Event::ScreenLocked, detail);
        }
        let expired = stages.held.as_ref().map(|held| held.expired());
        for gone in expired.unwrap_or_default() {
            metrics::counter!(names::HELD_POSTS, "outcome" => "expired").increment(1);
            let detail = [
                ("step", "expired".to_owned()),
                ("held", gone.id),
                ("user", gone.user),
            ];
            note(&stages, Event::PostHeld, detail);
        }
    }
}

fn note(stages: &Stages, event: Event, detail: [(&str, String); 3]) {
    let detail: BTreeMap<String, String> = detail
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    stages.audit.event_unwaited(event, None, detail);
}
