//! The trail's archive: that there is one, that it has everything, and that nobody can remove it.

use std::time::Duration;

use super::{Area, Check, Level, Verdict, fail, pass, since, span, unknown, warn};
use crate::config::{Archive, ArchiveTarget};
use crate::posture::facts::Facts;
use crate::posture::running::Archive as Kept;

/// An archive that has not had everything for longer than this, and the time between two runs, is behind.
const LATE: Duration = Duration::from_hours(24);

/// The check.
pub(super) const CHECKS: &[Check] = &[Check {
    id: "trail-archived",
    area: Area::Trail,
    level: Level::Medium,
    asks: "Are ended segments of the trail archived, and where nobody can remove them?",
    controls: &[
        "45 CFR 164.312(c)(1)",
        "45 CFR 164.316(b)(2)(i)",
        "45 CFR 170.315(d)(2)",
    ],
    judge: |facts| match (&facts.config.audit.archive, &facts.kept) {
        (None, _) => warn(
            "no archive is configured: who controls the machine and its backups can remove the trail, if not unnoticed",
            "add [audit.archive] with a bucket that has Object Lock (docs/archive.md)",
        ),
        (Some(_), Err(why)) => unknown(why),
        (Some(archive), Ok(kept)) => judged(facts, archive, kept.archive.as_ref()),
    },
}];

fn judged(facts: &Facts, archive: &Archive, kept: Option<&Kept>) -> Verdict {
    let remedy = "run `chartgate audit archive run`, and see why it is not complete";
    let Some((complete, kept)) = kept.and_then(|kept| Some((kept.complete?, kept))) else {
        return fail("it never had everything", remedy);
    };
    let age = since(complete, facts);
    let place = archive.target.describe();
    let evidence = format!("{place} had everything {} ago", span(age));
    if kept.problems > 0 {
        let said = format!("{evidence}; {} problems were found in it", kept.problems);
        return fail(said, "run `chartgate audit archive verify`");
    }
    if age > archive.every.saturating_add(LATE) {
        return fail(evidence, remedy);
    }
    if let Some(why) = &kept.failed {
        return warn(format!("{evidence}; a later run failed: {why}"), remedy);
    }
    match archive.target {
        ArchiveTarget::S3(_) => pass(format!("{evidence}, locked in compliance mode")),
        ArchiveTarget::Directory(_) => warn(
            evidence,
            "a directory keeps what its file system keeps: use one whose files cannot be changed once written, or a bucket with Object Lock",
        ),
    }
}

#[cfg(test)]
fn change(facts: &mut Facts, change: impl FnOnce(&mut Kept)) {
    let kept = facts.kept.as_mut().ok();
    if let Some(archive) = kept.and_then(|kept| kept.archive.as_mut()) {
        change(archive);
    }
}

/// What makes it fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("trail-archived", |facts| {
        change(facts, |archive| archive.complete = None);
    }),
    ("trail-archived", |facts| {
        change(facts, |archive| archive.problems = 1);
    }),
    // A clock that was wrong for a while.
    ("trail-archived", |facts| {
        change(facts, |archive| {
            archive.complete = archive
                .complete
                .and_then(|complete| complete.checked_add(LATE.saturating_mul(365)).ok());
        });
    }),
    ("trail-archived", |facts| {
        change(facts, |archive| {
            archive.complete = archive
                .complete
                .and_then(|complete| complete.checked_sub(LATE.saturating_mul(2)).ok());
        });
    }),
];
