//! The rooms as an assessment of the posture sees them.
//!
//! *Never*: a patient, a user or a secret in what is handed over: numbers, dates and names of things only.

use rustix::process::{Resource, geteuid, getrlimit};
use serde_json::Value;

use super::health::Parts;
use super::rooms::Rooms;
use crate::admin::health::{Check, Status};
use crate::archive::State as ArchiveState;
use crate::audit::log::Health;
use crate::backup::State as BackupState;
use crate::operate::activity_review::Review as SignedActivity;
use crate::operate::cases::{Cases, Level, Which};
use crate::operate::permissions::Review as SignedReview;
use crate::posture::assessments::{Ask, Assessments, Standing};
use crate::posture::running::{
    ActivityReview, Archive, Backup, Drill, Kept, OpenCase, Outlet, Review, Running, Weight,
};

/// Answers an operator.
///
/// # Errors
/// For the operator: what failed.
pub(super) async fn answer(
    parts: &Parts,
    rooms: &Rooms,
    operator: &str,
    ask: Ask,
) -> Result<Value, String> {
    let value = match ask {
        Ask::Facts => serde_json::to_value(running(parts, rooms).await?),
        Ask::Record(summary) => {
            let assessed = rooms.assessments.record(operator, summary).await;
            serde_json::to_value(assessed.map_err(|error| error.to_string())?)
        }
    };
    value.map_err(|error| error.to_string())
}

/// How the newest assessment stands.
pub(super) fn check(assessments: &Assessments) -> Check {
    let (status, detail) = match assessments.standing() {
        Standing::Fine(detail) => (Status::Green, detail),
        Standing::Look(detail) => (Status::Amber, detail),
    };
    Check::advisory("posture", status, detail)
}

async fn running(parts: &Parts, rooms: &Rooms) -> Result<Running, String> {
    let log = parts.stages.audit.log().status();
    let glasses = rooms.break_glass.condition().await;
    let active = parts.stages.policies.active();
    let backup = rooms.backups.as_ref().map(crate::backup::Backups::state);
    let review = rooms.permissions.reviewed();
    let archives = rooms.archives.as_ref();
    let archive = archives.map(crate::archive::Archives::state);
    Ok(Running {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uid: geteuid().as_raw(),
        core_bytes: getrlimit(Resource::Core).current,
        bundle: active.bundle().digest().to_owned(),
        trail: match log.health {
            Health::Healthy => Ok(()),
            Health::LowSpace => Err("little space is left; only care is admitted".to_owned()),
            Health::Failed { reason } => Err(reason),
            Health::Stalled { waited } => Err(format!(
                "its disk has not answered for {} s",
                waited.as_secs()
            )),
            Health::Closed => Err("the trail is closed; the gateway is stopping".to_owned()),
        },
        checkpoint: log.checkpoint.map(|(_, at)| at),
        witnesses: log
            .witnesses
            .into_iter()
            .map(|witness| Outlet {
                name: witness.name,
                trouble: witness.error,
            })
            .collect(),
        detector: rooms.alarms.following(),
        receivers: rooms
            .alarms
            .notifier
            .receivers()
            .map(|(name, condition)| Outlet {
                name: name.to_owned(),
                trouble: condition.problem.or_else(|| {
                    let gave_up = condition.gave_up;
                    (gave_up > 0).then(|| format!("{gave_up} alarms were passed over"))
                }),
            })
            .collect(),
        cases: open_cases(&rooms.cases).await?,
        glasses_unreviewed: glasses.unreviewed,
        glasses_overdue: glasses.overdue,
        kept: kept(
            backup.unwrap_or_default(),
            review,
            rooms.activity.last(),
            archive,
        ),
        clock: rooms.timekeeping.compared().map(|standing| match standing {
            crate::timekeeping::Standing::Fine(said) => Ok(said),
            crate::timekeeping::Standing::Look(said) => Err(said),
        }),
    })
}

async fn open_cases(cases: &Cases) -> Result<Vec<OpenCase>, String> {
    let open = cases.list(Which::Open).await;
    let open = open.map_err(|error| error.to_string())?.into_iter();
    Ok(open
        .map(|case| OpenCase {
            number: case.number,
            opened: case.opened,
            weight: match case.level {
                Level::Low | Level::Medium => Weight::Light,
                Level::High | Level::Critical => Weight::Serious,
            },
        })
        .collect())
}

/// What the store keeps of past work, as checks read it.
pub(crate) fn kept(
    backup: BackupState,
    review: Option<SignedReview>,
    activity: Option<SignedActivity>,
    archive: Option<ArchiveState>,
) -> Kept {
    Kept {
        archive: archive.map(|archive| Archive {
            complete: archive.complete,
            failed: archive.failed.map(|failed| failed.reason),
            problems: archive.verified.map_or(0, |verified| verified.problems),
        }),
        backup: backup.newest.map(|made| Backup {
            id: made.id,
            at: made.time,
            files: made.files,
            problems: made.problems,
        }),
        backup_failed: backup.failed.map(|failed| failed.reason),
        drill: backup.drilled.map(|drilled| Drill {
            at: drilled.time,
            records: drilled.records,
            rpo_seconds: drilled.rpo_seconds,
            rto_millis: drilled.rto_millis,
            problems: drilled.problems,
        }),
        review: review.map(|review| Review {
            at: review.at,
            reviewer: review.reviewer,
            bundle: review.bundle,
            sha256: review.sha256,
        }),
        activity: activity.map(|review| ActivityReview {
            reviewer: review.reviewer,
            until: review.until,
        }),
    }
}
