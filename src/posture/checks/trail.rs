//! What is on record: that it is whole, witnessed elsewhere, kept long enough, and nobody's business but auditors'.

use std::time::Duration;

use super::{Area, Check, Level, Verdict, fail, named, none_of, pass, since, span, unknown, warn};
use crate::posture::facts::{Facts, Guarded, Synchronised, Trail};

/// Records of a busy gateway that may not be witnessed yet.
const UNWITNESSED: u64 = 5_000;
/// A checkpoint later than this leaves too much to root on the machine.
const CHECKPOINTS: Duration = Duration::from_mins(1);
/// How far the clock may stand before what was signed by it.
const BACKWARDS: Duration = Duration::from_secs(5);

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "trail-intact",
        area: Area::Trail,
        level: Level::Critical,
        asks: "Is no record altered, removed, inserted or reordered, verified from the first to the last?",
        controls: &[
            "45 CFR 164.312(b)",
            "45 CFR 164.312(c)(1)",
            "45 CFR 164.312(c)(2)",
            "45 CFR 170.315(d)(2)",
            "45 CFR 170.315(d)(10)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: |facts| {
            of_trail(facts, |trail| {
                none_of(
                    &trail.problems,
                    format!(
                        "{} records, {} signed checkpoints",
                        trail.records, trail.checkpoints
                    ),
                    "run `chartgate audit verify`, keep a copy of trail and witnesses as they are, and open an incident",
                )
            })
        },
    },
    Check {
        id: "trail-witnessed",
        area: Area::Trail,
        level: Level::High,
        asks: "Does a witness vouch for the end of the trail, so that a cut tail shows?",
        controls: &[
            "45 CFR 164.312(b)",
            "45 CFR 164.312(c)(2)",
            "45 CFR 170.315(d)(2)",
        ],
        judge: witnessed,
    },
    Check {
        id: "witness-elsewhere",
        area: Area::Trail,
        level: Level::Medium,
        asks: "Is a witness on another file system than the trail?",
        controls: &["45 CFR 164.312(c)(1)", "45 CFR 170.315(d)(2)"],
        judge: elsewhere,
    },
    Check {
        id: "witness-reached",
        area: Area::Trail,
        level: Level::High,
        asks: "Do all witnesses take the checkpoints of the running gateway?",
        controls: &["45 CFR 164.312(c)(2)", "45 CFR 170.315(d)(2)"],
        judge: |facts| match &facts.running {
            Err(why) => unknown(why),
            Ok(running) => {
                let (good, bad) = super::monitoring::outlets(&running.witnesses);
                none_of(
                    &bad,
                    good,
                    "see `chartgate status`; mount or reach the witness again, or replace it",
                )
            }
        },
    },
    Check {
        id: "checkpoints-often",
        area: Area::Trail,
        level: Level::Medium,
        asks: "Is a checkpoint signed every minute while records arrive?",
        controls: &["45 CFR 164.312(c)(2)", "45 CFR 170.315(d)(2)"],
        judge: |facts| {
            let audit = &facts.config.audit;
            let evidence = format!(
                "after {} and after {} records",
                span(audit.checkpoint_interval),
                audit.checkpoint_records
            );
            if audit.checkpoint_interval > CHECKPOINTS {
                fail(evidence, "set `audit.checkpoint_interval` to 10s")
            } else {
                pass(evidence)
            }
        },
    },
    Check {
        id: "trail-durable",
        area: Area::Trail,
        level: Level::Critical,
        asks: "Can the running gateway make records durable?",
        controls: &[
            "45 CFR 164.312(b)",
            "45 CFR 170.315(d)(2)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: |facts| match &facts.running {
            Err(why) => unknown(why),
            Ok(running) => match &running.trail {
                Ok(()) => pass("every record is durable before its request is forwarded"),
                Err(why) => fail(
                    why,
                    "free space on the trail's volume, or repair it; until then nothing is forwarded",
                ),
            },
        },
    },
    Check {
        id: "retention",
        area: Area::Trail,
        level: Level::High,
        asks: "Are records kept for six calendar years?",
        controls: &[
            "45 CFR 164.316(b)(1)",
            "45 CFR 164.316(b)(2)(i)",
            "45 CFR 170.315(d)(3)",
            "45 CFR 170.315(d)(11)",
        ],
        judge: |facts| {
            let years = facts.config.audit.retention_years;
            if years < crate::audit::log::FEWEST_YEARS {
                return fail(
                    format!("{years} calendar years"),
                    "set `audit.retention_years` to 6 or more",
                );
            }
            let over = facts.trail.as_ref().map_or(0, |trail| trail.over);
            pass(format!("{years} calendar years; {over} segments are older"))
        },
    },
    Check {
        id: "trail-private",
        area: Area::Trail,
        level: Level::Medium,
        asks: "Can only the gateway's user enter what it writes?",
        controls: &["45 CFR 164.312(a)(1)", "45 CFR 164.312(b)"],
        judge: |facts| closed(&facts.written, "chmod 700 the directory, 600 the file"),
    },
    Check {
        id: "clock-true",
        area: Area::Trail,
        level: Level::Medium,
        asks: "Is this machine's clock kept by a time service, and not before the newest checkpoint?",
        controls: &["45 CFR 164.312(b)", "45 CFR 170.315(d)(2)"],
        judge: clock,
    },
];

/// Fails where one of them is open to others.
pub(super) fn closed(things: &[Guarded], remedy: &str) -> Verdict {
    let mut open = Vec::new();
    let mut missing = Vec::new();
    for thing in things {
        match &thing.exposed {
            Ok(None) => {}
            Ok(Some(exposure)) => open.push(exposure.clone()),
            Err(why) => missing.push(why.clone()),
        }
    }
    if !open.is_empty() {
        return fail(named(&open), remedy);
    }
    if things.is_empty() || missing.len() == things.len() {
        return unknown(&named(&missing));
    }
    let seen = things.len().saturating_sub(missing.len());
    if missing.is_empty() {
        pass(format!("{seen} looked at, none of them open to others"))
    } else {
        warn(
            format!("{seen} are closed; not seen: {}", named(&missing)),
            "run this as the gateway's user, and see `chartgate check`",
        )
    }
}

fn of_trail(facts: &Facts, judge: impl FnOnce(&Trail) -> Verdict) -> Verdict {
    match &facts.trail {
        Ok(trail) => judge(trail),
        Err(why) => unknown(why),
    }
}

fn witnessed(facts: &Facts) -> Verdict {
    of_trail(facts, |trail| {
        let remedy = "see `witness:` in `chartgate status`; the gateway copies a checkpoint there every few seconds";
        if !trail.silent.is_empty() {
            return fail(format!("cannot be read: {}", named(&trail.silent)), remedy);
        }
        let Some(witnessed) = trail.witnessed else {
            return fail("no witness holds a checkpoint", remedy);
        };
        let behind = trail.last.saturating_sub(witnessed);
        let evidence = format!("up to record {witnessed} of {}", trail.last);
        if behind > UNWITNESSED {
            fail(evidence, remedy)
        } else {
            pass(evidence)
        }
    })
}

fn elsewhere(facts: &Facts) -> Verdict {
    let witnesses = &facts.config.audit.witnesses;
    if let Some(away) = witnesses.iter().find(|witness| witness.is_elsewhere()) {
        return pass(format!("{away} is on another machine"));
    }
    let disks = &facts.disks;
    let Some(trail) = disks.trail else {
        return unknown("the trail's directory cannot be looked at");
    };
    let away = disks
        .witnesses
        .iter()
        .find(|(_, disk)| disk.is_some_and(|disk| disk != trail));
    match away {
        Some((path, _)) => pass(format!("{} is on another one", path.display())),
        None => fail(
            "every witness is on the trail's own file system",
            "add one on another disk or host: only what left the machine shows that somebody with full control of it cut the trail",
        ),
    }
}

fn clock(facts: &Facts) -> Verdict {
    let newest = facts
        .running
        .as_ref()
        .ok()
        .and_then(|running| running.checkpoint)
        .or_else(|| facts.trail.as_ref().ok()?.newest_segment);
    if let Some(newest) = newest {
        let ahead = Duration::try_from(newest.duration_since(facts.now)).unwrap_or_default();
        if ahead > BACKWARDS {
            return fail(
                format!(
                    "the clock stands {} before what was signed last",
                    span(ahead)
                ),
                "set the clock right, and find out who or what moved it",
            );
        }
    }
    let seen = newest.map_or_else(String::new, |newest| {
        format!("; the newest is {} old", span(since(newest, facts)))
    });
    let asked = facts.running.as_ref().ok();
    match asked.and_then(|running| running.clock.as_ref()) {
        Some(Ok(said)) => return pass(format!("{said}{seen}")),
        Some(Err(said)) => {
            return fail(
                said,
                "have the machine's time service reach its servers, and see `clock` in `chartgate status`",
            );
        }
        None => {}
    }
    match facts.clock.synchronised {
        Some(Synchronised::Yes) => pass(format!("a time service set it{seen}")),
        Some(Synchronised::No) => fail(
            "the time service of this machine has not set the clock",
            "have it reach its servers (`timedatectl status`)",
        ),
        None => unknown("this machine does not say whether a time service keeps its clock"),
    }
}

#[cfg(test)]
fn change(facts: &mut Facts, change: impl FnOnce(&mut Trail)) {
    if let Ok(trail) = &mut facts.trail {
        change(trail);
    }
}

/// What makes each of them fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("trail-intact", |facts| {
        change(facts, |trail| {
            trail.problems = vec!["record 7 was altered".to_owned()];
        });
    }),
    ("trail-witnessed", |facts| {
        change(facts, |trail| trail.witnessed = None);
    }),
    ("trail-witnessed", |facts| {
        change(facts, |trail| trail.last = 1_000_000);
    }),
    ("trail-witnessed", |facts| {
        change(facts, |trail| {
            trail.silent = vec!["checkpoints: no such file".to_owned()];
        });
    }),
    ("witness-elsewhere", |facts| {
        facts.disks.witnesses = vec![("checkpoints".into(), facts.disks.trail)];
    }),
    ("witness-reached", |facts| {
        if let Ok(running) = &mut facts.running {
            running.witnesses[0].trouble = Some("no space".to_owned());
        }
    }),
    ("checkpoints-often", |facts| {
        facts.config.audit.checkpoint_interval = Duration::from_hours(1);
    }),
    ("trail-durable", |facts| {
        if let Ok(running) = &mut facts.running {
            running.trail = Err("the disk is full".to_owned());
        }
    }),
    ("retention", |facts| facts.config.audit.retention_years = 1),
    ("trail-private", |facts| {
        facts.written[0].exposed = Ok(Some("data/trail can be entered by others".to_owned()));
    }),
    ("clock-true", |facts| {
        facts.clock.synchronised = Some(Synchronised::No);
    }),
    ("clock-true", |facts| {
        if let Ok(running) = &mut facts.running {
            running.checkpoint = facts.now.checked_add(Duration::from_hours(1)).ok();
        }
    }),
];
