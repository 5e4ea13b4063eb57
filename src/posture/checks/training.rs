//! What people have to know before they work with charts, and what follows where they do not.

use super::{Area, Check, Level, Verdict, fail, named, pass, unknown, warn};
use crate::posture::facts::{Bundle, Facts};

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "courses-there",
        area: Area::Training,
        level: Level::Medium,
        asks: "Does the bundle have a course for everybody?",
        controls: &[
            "45 CFR 164.308(a)(5)(i)",
            "45 CFR 164.308(a)(5)(ii)(A)",
            "GDPR Art. 32(4)",
        ],
        judge: |facts| of_bundle(facts, courses),
    },
    Check {
        id: "overdue-restricts",
        area: Area::Training,
        level: Level::Low,
        asks: "Does an overdue course take away changing charts and taking data out?",
        controls: &["45 CFR 164.308(a)(5)(i)", "GDPR Art. 32(4)"],
        judge: |facts| of_bundle(facts, lapse),
    },
];

fn of_bundle(facts: &Facts, judge: impl FnOnce(&Bundle) -> Verdict) -> Verdict {
    match &facts.bundle {
        Ok(bundle) => judge(bundle),
        Err(why) => unknown(why),
    }
}

fn courses(bundle: &Bundle) -> Verdict {
    if bundle.courses.is_empty() {
        return fail(
            "the bundle has no course",
            "copy training/ of the shipped bundle, and make it your own",
        );
    }
    if !bundle.untaught.is_empty() {
        return warn(
            format!("no course is for {}", named(&bundle.untaught)),
            "add a course without `roles`: it is for everybody",
        );
    }
    pass(bundle.courses.join(", "))
}

fn lapse(bundle: &Bundle) -> Verdict {
    let remedy = "put training.cedar of the shipped bundle back (`training-lapsed-read-only`)";
    match (bundle.ended_by_lapse, bundle.left_by_lapse.as_slice()) {
        (0, _) => fail("an overdue course takes nothing away", remedy),
        (ended, []) => pass(format!("{ended} permissions end with an overdue course")),
        (_, left) => warn(format!("it leaves {}", named(left)), remedy),
    }
}

/// What makes each of them fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("courses-there", |facts| {
        if let Ok(bundle) = &mut facts.bundle {
            bundle.courses.clear();
        }
    }),
    ("overdue-restricts", |facts| {
        if let Ok(bundle) = &mut facts.bundle {
            bundle.left_by_lapse = vec!["nurse: Create notes".to_owned()];
            bundle.ended_by_lapse = 0;
        }
    }),
];
