//! What a running gateway says about itself for an assessment: nothing that its files do not say.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A running gateway, as an assessment sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its version.
    pub version: String,
    /// The user that it runs as.
    pub uid: u32,
    /// Most bytes of a core dump; nothing where there is no limit.
    pub core_bytes: Option<u64>,
    /// The digest of the policy bundle in force.
    pub bundle: String,
    /// Why nothing can be made durable.
    pub trail: Result<(), String>,
    /// When it signed its newest checkpoint.
    pub checkpoint: Option<Timestamp>,
    /// The witnesses.
    pub witnesses: Vec<Outlet>,
    /// How far detection follows; why it does not.
    pub detector: Result<u64, String>,
    /// Receivers of alarms.
    pub receivers: Vec<Outlet>,
    /// Cases that are open.
    pub cases: Vec<OpenCase>,
    /// Reviews of broken glasses that are to do.
    pub glasses_unreviewed: usize,
    /// Those of them whose time is over.
    pub glasses_overdue: usize,
    /// What its store keeps of past work.
    pub kept: Kept,
    /// What its time servers say of its clock: that it is right, or what is wrong. Nothing where it has none.
    #[serde(default)]
    pub clock: Option<Result<String, String>>,
}

/// What the store keeps of past work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The newest backup.
    pub backup: Option<Backup>,
    /// Why the newest attempt to make one failed.
    pub backup_failed: Option<String>,
    /// The newest practised restore.
    pub drill: Option<Drill>,
    /// The last review of permissions.
    pub review: Option<Review>,
    /// The archive of the trail.
    #[serde(default)]
    pub archive: Option<Archive>,
    /// The last review of activity.
    #[serde(default)]
    pub activity: Option<ActivityReview>,
}

/// The archive of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// When it last had every ended segment.
    pub complete: Option<Timestamp>,
    /// Why the newest run failed.
    pub failed: Option<String>,
    /// What the newest verification found.
    pub problems: usize,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Its name.
    pub id: String,
    /// When it was begun.
    pub at: Timestamp,
    /// Files in it.
    pub files: u64,
    /// What was left out.
    pub problems: Vec<String>,
}

/// A practised restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// When.
    pub at: Timestamp,
    /// Records of the trail that came back.
    pub records: u64,
    /// What would have been lost.
    pub rpo_seconds: u64,
    /// How long it took.
    pub rto_millis: u64,
    /// What was wrong.
    pub problems: Vec<String>,
}

/// A review of permissions that was signed off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub reviewer: String,
    /// Name and version of the bundle.
    pub bundle: String,
    /// Its digest.
    pub sha256: String,
}

/// A review of activity that was signed off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityReview {
    /// By whom.
    pub reviewer: String,
    /// The end of the period that was looked at.
    pub until: Timestamp,
}

/// Somewhere that the gateway sends to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlet {
    /// Its name.
    pub name: String,
    /// Why the newest did not get there.
    pub trouble: Option<String>,
}

/// A case that nobody has closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCase {
    /// Its number.
    pub number: u64,
    /// When it was opened.
    pub opened: Timestamp,
    /// Whether it is about serious harm.
    pub weight: Weight,
}

/// How much harm a case is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Low or medium.
    Light,
    /// High or critical.
    Serious,
}
