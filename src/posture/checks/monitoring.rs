//! What is noticed, whom it reaches, and whether somebody acts.

use std::time::Duration;

use super::{Area, Check, Level, Verdict, fail, named, none_of, pass, since, span, unknown, warn};
use crate::posture::facts::{Detections, Facts};
use crate::posture::running::{Outlet, Running, Weight};

/// The detections that the shipped bundle comes with.
const RULES: usize = 8;
/// A detector that is this far behind notices too late.
const FAR_BEHIND: u64 = 10_000;
/// Serious cases are not left open for longer.
const SERIOUS: Duration = Duration::from_hours(3 * 24);
/// Nor are others.
const LIGHT: Duration = Duration::from_hours(30 * 24);

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "detections-hold",
        area: Area::Monitoring,
        level: Level::High,
        asks: "Are detection rules loaded, and do they keep to their examples?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(D)",
            "45 CFR 164.308(a)(5)(ii)(C)",
            "45 CFR 164.312(b)",
            "GDPR Art. 32(1)(d)",
        ],
        judge: |facts| match &facts.detections {
            _ if !facts.config.detection.enabled => fail(
                "detection is switched off",
                "set `detection.enabled` to true",
            ),
            Err(why) => fail(why, "see `chartgate detect check`"),
            Ok(found) => detections(found),
        },
    },
    Check {
        id: "detector-follows",
        area: Area::Monitoring,
        level: Level::High,
        asks: "Does detection keep up with the trail?",
        controls: &["45 CFR 164.308(a)(1)(ii)(D)", "45 CFR 164.312(b)"],
        judge: |facts| {
            of_running(facts, |running| match &running.detector {
                Err(why) => fail(why, "see `chartgate status` and the gateway's log"),
                Ok(behind) if *behind > FAR_BEHIND => fail(
                    format!("{behind} records behind"),
                    "give the machine more, or take rules out that nobody acts on",
                ),
                Ok(behind) => pass(format!("{behind} records behind")),
            })
        },
    },
    Check {
        id: "alarms-sent",
        area: Area::Monitoring,
        level: Level::High,
        asks: "Do serious alarms reach somebody outside this machine?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(D)",
            "45 CFR 164.308(a)(6)(ii)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: receivers,
    },
    Check {
        id: "alarms-arrive",
        area: Area::Monitoring,
        level: Level::High,
        asks: "Did the newest alarm get to every receiver?",
        controls: &["45 CFR 164.308(a)(6)(ii)"],
        judge: |facts| {
            of_running(facts, |running| {
                let (good, bad) = outlets(&running.receivers);
                none_of(
                    &bad,
                    good,
                    "run `chartgate notify test`, and repair what it names",
                )
            })
        },
    },
    Check {
        id: "cases-closed",
        area: Area::Monitoring,
        level: Level::High,
        asks: "Is no serious case open for more than three days, and no other for more than thirty?",
        controls: &["45 CFR 164.308(a)(1)(ii)(D)", "45 CFR 164.308(a)(6)(ii)"],
        judge: |facts| of_running(facts, |running| cases(facts, running)),
    },
    Check {
        id: "break-glass-reviewed",
        area: Area::Monitoring,
        level: Level::High,
        asks: "Was every broken glass reviewed in time by somebody else?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(D)",
            "45 CFR 164.312(a)(2)(ii)",
            "45 CFR 170.315(d)(6)",
        ],
        judge: |facts| {
            of_running(facts, |running| {
                let remedy = "see `chartgate breakglass list --unreviewed`";
                let to_do = running.glasses_unreviewed;
                if running.glasses_overdue > 0 {
                    fail(
                        format!("{} reviews are overdue", running.glasses_overdue),
                        remedy,
                    )
                } else {
                    pass(format!("none is overdue, {to_do} to do"))
                }
            })
        },
    },
    Check {
        id: "activity-review",
        area: Area::Monitoring,
        level: Level::Medium,
        asks: "Did somebody review what happened, and sign it off, within the interval?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(D)",
            "45 CFR 164.312(b)",
            "45 CFR 170.315(d)(3)",
        ],
        judge: activity,
    },
    Check {
        id: "response-plan",
        area: Area::Monitoring,
        level: Level::Medium,
        asks: "Is there a plan for incidents, with names and telephone numbers filled in?",
        controls: &[
            "45 CFR 164.308(a)(2)",
            "45 CFR 164.308(a)(6)(ii)",
            "45 CFR 164.308(a)(7)(ii)(C)",
        ],
        judge: |facts| match &facts.plan {
            Err(why) => fail(
                why,
                "put response/incident-response.md into the bundle, and fill it in",
            ),
            Ok(0) => pass("response/incident-response.md has no place left to fill in"),
            Ok(open) => fail(
                format!("{open} places in response/ are still ⟨to be filled in⟩"),
                "name the people, have the plan approved, and keep it on paper too",
            ),
        },
    },
];

fn of_running(facts: &Facts, judge: impl FnOnce(&Running) -> Verdict) -> Verdict {
    match &facts.running {
        Ok(running) => judge(running),
        Err(why) => unknown(why),
    }
}

/// What is in order, in words, and what is not.
pub(super) fn outlets(outlets: &[Outlet]) -> (String, Vec<String>) {
    let bad: Vec<String> = outlets
        .iter()
        .filter_map(|outlet| Some(format!("{}: {}", outlet.name, outlet.trouble.as_ref()?)))
        .collect();
    let names: Vec<&str> = outlets.iter().map(|outlet| outlet.name.as_str()).collect();
    let good = if names.is_empty() {
        "there is none".to_owned()
    } else {
        names.join(", ")
    };
    (good, bad)
}

/// Whether somebody looked at what happened, and signed that.
fn activity(facts: &Facts) -> Verdict {
    let remedy = "run `chartgate report activity --since 7d --sign-off`";
    let kept = match &facts.kept {
        Ok(kept) => kept,
        Err(why) => return unknown(why),
    };
    let Some(last) = &kept.activity else {
        return fail("no review of activity was ever signed off", remedy);
    };
    let age = since(last.until, facts);
    let evidence = format!("reviewed until {} ago by {}", span(age), last.reviewer);
    if age > facts.config.audit.review_interval {
        fail(evidence, remedy)
    } else {
        pass(evidence)
    }
}

fn detections(found: &Detections) -> Verdict {
    let remedy = "see `chartgate detect test`";
    if !found.broken.is_empty() {
        return fail(named(&found.broken), remedy);
    }
    let evidence = format!("{} rules keep to {} examples", found.rules, found.examples);
    match found.rules {
        0 => fail(
            "the bundle has no detection rules",
            "copy detections/ of the shipped bundle",
        ),
        1..RULES => warn(
            format!("{evidence}; the shipped bundle has {RULES}"),
            "copy what is missing from detections/ of the shipped bundle",
        ),
        _ => pass(evidence),
    }
}

fn receivers(facts: &Facts) -> Verdict {
    let notify = &facts.config.notify;
    let selections = || {
        let webhooks = notify.webhooks.iter().map(|webhook| &webhook.selection);
        webhooks.chain(notify.mails.iter().map(|mail| &mail.selection))
    };
    let remedy = "add a [[notify.webhook]] or [[notify.smtp]] with `min_level` high or lower, and run `chartgate notify test`";
    let mut names: Vec<&str> = selections()
        .filter(|selection| selection.min_level <= Level::High)
        .map(|selection| selection.name.as_str())
        .collect();
    if names.is_empty() {
        let all = selections().count();
        return fail(
            format!("{all} receivers, none of them for alarms of level high"),
            remedy,
        );
    }
    names.sort_unstable();
    pass(names.join(", "))
}

fn cases(facts: &Facts, running: &Running) -> Verdict {
    let late: Vec<String> = running
        .cases
        .iter()
        .filter(|case| {
            let limit = match case.weight {
                Weight::Serious => SERIOUS,
                Weight::Light => LIGHT,
            };
            since(case.opened, facts) > limit
        })
        .map(|case| {
            format!(
                "case {} is open for {}",
                case.number,
                span(since(case.opened, facts))
            )
        })
        .collect();
    none_of(
        &late,
        format!("{} are open", running.cases.len()),
        "look into it, and say how it ended: `chartgate case show N`, `chartgate case close N`",
    )
}

#[cfg(test)]
fn change(facts: &mut Facts, change: impl FnOnce(&mut Running)) {
    if let Ok(running) = &mut facts.running {
        change(running);
    }
}

/// What makes each of them fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("detections-hold", |facts| {
        facts.config.detection.enabled = false;
    }),
    ("detections-hold", |facts| {
        if let Ok(found) = &mut facts.detections {
            found.broken = vec!["spray.positive.jsonl did not fire".to_owned()];
        }
    }),
    ("detector-follows", |facts| {
        change(facts, |running| {
            running.detector = Err("the trail cannot be read".to_owned());
        });
    }),
    ("alarms-sent", |facts| {
        facts.config.notify.webhooks.clear();
        facts.config.notify.mails.clear();
    }),
    ("alarms-arrive", |facts| {
        change(facts, |running| {
            running.receivers[0].trouble = Some("502".to_owned());
        });
    }),
    ("cases-closed", |facts| {
        let opened = facts.now.checked_sub(LIGHT).unwrap();
        change(facts, |running| running.cases[0].opened = opened);
    }),
    ("break-glass-reviewed", |facts| {
        change(facts, |running| running.glasses_overdue = 1);
    }),
    ("activity-review", |facts| {
        if let Ok(kept) = &mut facts.kept {
            kept.activity = None;
        }
    }),
    ("activity-review", |facts| {
        facts.config.audit.review_interval = Duration::from_secs(1);
    }),
    ("response-plan", |facts| facts.plan = Ok(7)),
];
