//! The review of activity, as operators and the status see it.

use std::future::Future;

use super::Foundations;
use crate::admin::health::{Check, Status};
use crate::assembly::UPKEEP;
use crate::operate::activity_review::{ActivityError, ActivityReviews, Standing};

/// Opens the room.
///
/// # Errors
/// [`ActivityError`] when the store cannot be read.
pub(super) async fn open(on: &Foundations<'_>) -> Result<ActivityReviews, ActivityError> {
    let interval = on.config.audit.review_interval;
    let (store, audit) = (on.store.clone(), on.audit.clone());
    let room = ActivityReviews::open(store, audit, interval, on.clock.clone()).await?;
    room.measure();
    Ok(room)
}

/// How it stands.
pub(super) fn check(room: &ActivityReviews) -> Check {
    room.measure();
    let (status, detail) = match room.standing() {
        Standing::Fine(detail) => (Status::Green, detail),
        Standing::Due(detail) => (Status::Amber, detail),
    };
    Check::advisory("activity-review", status, detail)
}

/// Keeps its gauge true.
pub(super) async fn measure(room: ActivityReviews, end: impl Future<Output = ()>) {
    let mut end = std::pin::pin!(end);
    loop {
        room.measure();
        tokio::select! {
            () = &mut end => return,
            () = tokio::time::sleep(UPKEEP) => {}
        }
    }
}
