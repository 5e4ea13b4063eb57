//! Permissions, as operators and the status see them.

use std::future::Future;

use super::Foundations;
use crate::admin::health::{Check, Status};
use crate::admin::protocol::{AdminError, AdminErrorKind, Operator};
use crate::admin::socket::Replies;
use crate::assembly::UPKEEP;
use crate::operate::permissions::{Ask, By, Calls, Grounds, Permissions, ReviewError, ShadowAsk};

/// Opens the room.
///
/// # Errors
/// [`ReviewError`] when the store cannot be read.
pub(super) async fn open(on: &Foundations<'_>) -> Result<Permissions, ReviewError> {
    Permissions::open(Grounds {
        policy: on.config.policy.clone(),
        emr_config: on.config.emrs.clone(),
        emrs: on.emrs.clone(),
        policies: on.policies.clone(),
        store: on.store.clone(),
        audit: on.audit.clone(),
        trail: on.trail.clone(),
        master: on.master.clone(),
        clock: on.clock.clone(),
    })
    .await
}

/// How permissions stand.
pub(super) fn checks(permissions: &Permissions) -> Vec<Check> {
    permissions.measure();
    permissions
        .standings()
        .into_iter()
        .map(|standing| {
            Check::advisory(
                standing.name.to_owned(),
                match standing.calls {
                    Calls::Nobody => Status::Green,
                    Calls::Somebody => Status::Amber,
                },
                standing.detail,
            )
        })
        .collect()
}

/// Keeps the gauges of permissions true.
pub(super) async fn measure(permissions: Permissions, end: impl Future<Output = ()>) {
    let mut end = std::pin::pin!(end);
    loop {
        permissions.measure();
        tokio::select! {
            () = &mut end => return,
            () = tokio::time::sleep(UPKEEP) => {}
        }
    }
}

/// Answers an operator about permissions.
pub(in crate::assembly) async fn answer(
    room: &Permissions,
    operator: &Operator,
    ask: Ask,
    replies: &Replies,
) -> Result<(), AdminError> {
    let failed = |error: &dyn std::fmt::Display| AdminError::new(AdminErrorKind::Failed, error);
    match ask {
        Ask::Activate { directory } => {
            let by = By::Operator(operator.name().to_owned());
            let activated = room.activate(directory, by).await;
            replies
                .send(&activated.map_err(|error| failed(&error))?)
                .await
        }
        Ask::Rollback { to, reason } => {
            let operator = operator.name().to_owned();
            let activated = room.rollback(to.as_deref(), operator, reason).await;
            replies
                .send(&activated.map_err(|error| failed(&error))?)
                .await
        }
        Ask::History => {
            for line in room.history().await.map_err(|error| failed(&error))? {
                replies.send(&line).await?;
            }
            Ok(())
        }
        Ask::Shadow(ask) => {
            let report = match ask {
                ShadowAsk::Set { directory, seconds } => {
                    let set = room.set_shadow(operator.name(), directory, seconds).await;
                    Some(set.map_err(|error| failed(&error))?)
                }
                ShadowAsk::Off => {
                    let ended = room.end_shadow(operator.name()).await;
                    ended.map_err(|error| failed(&error))?
                }
                ShadowAsk::Report => room.shadow_report(),
            };
            match report {
                Some(report) => replies.send(&report).await,
                None => Ok(()),
            }
        }
        Ask::Usage { since } => {
            let usage = room.usage(operator.name(), since).await;
            for line in usage.map_err(|error| failed(&error))?.lines() {
                replies.send(&line).await?;
            }
            Ok(())
        }
        Ask::SignOff(signed) => {
            let review = room.sign_off(operator.name(), signed).await;
            replies.send(&review.map_err(|error| failed(&error))?).await
        }
    }
}
