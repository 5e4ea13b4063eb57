//! How the gateway is run: by whom, as whom, up to date, and as it was configured.

use super::{Area, Check, Level, Verdict, fail, named, not_applicable, pass, unknown, warn};
use crate::posture::facts::Facts;
use crate::posture::running::Running;
use crate::posture::updates::Comparison;

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "configuration-fit",
        area: Area::Upkeep,
        level: Level::High,
        asks: "Has `chartgate check` nothing against the configuration?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(B)",
            "45 CFR 164.308(a)(8)",
            "GDPR Art. 32(1)(d)",
        ],
        judge: |facts| {
            let remedy = "see `chartgate check`";
            let (errors, warnings) = (&facts.reading.errors, &facts.reading.warnings);
            if !errors.is_empty() {
                fail(named(errors), remedy)
            } else if !warnings.is_empty() {
                warn(
                    format!("no error, {} warnings: {}", warnings.len(), named(warnings)),
                    remedy,
                )
            } else {
                pass("no error and no warning")
            }
        },
    },
    Check {
        id: "configuration-closed",
        area: Area::Upkeep,
        level: Level::High,
        asks: "Can only the gateway's user change configuration and policies?",
        controls: &[
            "45 CFR 164.308(a)(4)(ii)(C)",
            "45 CFR 164.312(a)(1)",
            "45 CFR 164.312(c)(1)",
        ],
        judge: |facts| super::trail::closed(&facts.rules, "chmod go-w the file or directory"),
    },
    Check {
        id: "advisories-fresh",
        area: Area::Upkeep,
        level: Level::Medium,
        asks: "Is there a feed of known vulnerabilities that still arrives?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(A)",
            "45 CFR 164.308(a)(5)(ii)(B)",
            "GDPR Art. 32(1)(d)",
        ],
        judge: |facts| {
            compared(facts, |found| {
                let evidence = format!(
                    "{} records, the newest of {}",
                    found.records, found.feed_newest
                );
                if found.is_stale(facts.config.update.max_age, facts.now) {
                    fail(evidence, "find out why the feed does not arrive any more")
                } else {
                    pass(evidence)
                }
            })
        },
    },
    Check {
        id: "known-vulnerabilities",
        area: Area::Upkeep,
        level: Level::Critical,
        asks: "Is nothing in this build known to be vulnerable?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(A)",
            "45 CFR 164.308(a)(1)(ii)(B)",
            "45 CFR 164.308(a)(5)(ii)(B)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: |facts| match &facts.advisories {
            Ok(None) => unknown("there is no feed to compare with"),
            Ok(Some(_)) | Err(_) => compared(facts, vulnerable),
        },
    },
    Check {
        id: "operators-named",
        area: Area::Upkeep,
        level: Level::Medium,
        asks: "Are there two operators at least, each by name, so that nobody reviews themselves?",
        controls: &[
            "45 CFR 164.308(a)(2)",
            "45 CFR 164.308(a)(3)(ii)(A)",
            "45 CFR 164.312(a)(2)(i)",
        ],
        judge: operators,
    },
    Check {
        id: "not-root",
        area: Area::Upkeep,
        level: Level::High,
        asks: "Does the gateway run as a user of its own?",
        controls: &["45 CFR 164.312(a)(1)", "GDPR Art. 32(1)(b)"],
        judge: |facts| {
            of_running(facts, |running| match running.uid {
                0 => fail(
                    "it runs as root",
                    "run it as a user of its own (docs/operating.md)",
                ),
                uid => pass(format!("user id {uid}")),
            })
        },
    },
    Check {
        id: "no-core-dumps",
        area: Area::Upkeep,
        level: Level::Medium,
        asks: "Can a crash leave no core dump, which would hold keys and patient data?",
        controls: &["45 CFR 164.312(a)(2)(iv)", "45 CFR 170.315(d)(12)"],
        judge: |facts| {
            of_running(facts, |running| match running.core_bytes {
                Some(0) => pass("core dumps are off"),
                Some(_) | None => fail(
                    "core dumps are on",
                    "set `LimitCORE=0` in its unit (docs/operating.md), or `ulimit -c 0`",
                ),
            })
        },
    },
    Check {
        id: "version-running",
        area: Area::Upkeep,
        level: Level::Medium,
        asks: "Does the version and policy bundle run that is installed?",
        controls: &["45 CFR 164.308(a)(1)(ii)(B)", "45 CFR 164.308(a)(8)"],
        judge: |facts| of_running(facts, |running| installed(facts, running)),
    },
    Check {
        id: "log-discreet",
        area: Area::Upkeep,
        level: Level::Low,
        asks: "Is the gateway's own log free of debugging, which tells of the inside?",
        controls: &["45 CFR 164.312(a)(1)", "GDPR Art. 32(1)(b)"],
        judge: |facts| {
            let filter = &facts.config.log.filter;
            let loud = filter
                .split(',')
                .filter_map(|part| part.rsplit('=').next())
                .any(|level| {
                    matches!(
                        level.trim().to_ascii_lowercase().as_str(),
                        "debug" | "trace"
                    )
                });
            let evidence = format!("filter `{filter}`");
            if loud {
                fail(
                    evidence,
                    "set `log.filter` to \"info\" once you have found what you look for",
                )
            } else {
                pass(evidence)
            }
        },
    },
];

fn of_running(facts: &Facts, judge: impl FnOnce(&Running) -> Verdict) -> Verdict {
    match &facts.running {
        Ok(running) => judge(running),
        Err(why) => unknown(why),
    }
}

fn compared(facts: &Facts, judge: impl FnOnce(&Comparison) -> Verdict) -> Verdict {
    match &facts.advisories {
        Err(why) => fail(why, "correct `update.feed`"),
        Ok(None) => fail(
            "no feed is configured; nobody compares this build",
            "bring OSV records of crates.io to this machine and name them in `update.feed`",
        ),
        Ok(Some(found)) => judge(found),
    }
}

fn vulnerable(found: &Comparison) -> Verdict {
    let findings: Vec<String> = found
        .findings
        .iter()
        .map(|finding| format!("{} in {} {}", finding.id, finding.package, finding.version))
        .collect();
    super::none_of(
        &findings,
        format!("nothing against {} components", found.components),
        "see `chartgate update check`; install a version in which it is fixed",
    )
}

fn operators(facts: &Facts) -> Verdict {
    let operators = &facts.config.admin.operators;
    let names: std::collections::BTreeSet<&str> = operators.values().map(String::as_str).collect();
    let remedy =
        "name the people in [admin.operators], each with a user of their own on this machine";
    if operators.is_empty() {
        return not_applicable("nobody may use the operators' socket");
    }
    let evidence = names.iter().copied().collect::<Vec<_>>().join(", ");
    if names.len() < 2 {
        return fail(format!("one operator only: {evidence}"), remedy);
    }
    if operators.contains_key(&0) {
        return warn(
            format!("{evidence}; one of them is root, which is no person"),
            remedy,
        );
    }
    pass(evidence)
}

fn installed(facts: &Facts, running: &Running) -> Verdict {
    let installed = env!("CARGO_PKG_VERSION");
    if running.version != installed {
        return fail(
            format!("{} runs, {installed} is installed", running.version),
            "restart the gateway; no request is dropped (docs/operating.md)",
        );
    }
    match &facts.bundle {
        Ok(bundle) if bundle.digest != running.bundle => fail(
            format!(
                "{}, with another policy bundle than the one on disk",
                running.version
            ),
            "see `chartgate policy check`, then `chartgate policy activate`",
        ),
        Ok(bundle) => pass(format!("{}, {}", running.version, bundle.title)),
        Err(why) => fail(
            format!("the bundle on disk does not load: {why}"),
            "see `chartgate policy check`",
        ),
    }
}

/// What makes each of them fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("configuration-fit", |facts| {
        facts.reading.errors = vec!["identity.idle_timeout is longer than the session".to_owned()];
    }),
    ("configuration-closed", |facts| {
        facts.rules[0].exposed = Ok(Some("policies can be changed by others".to_owned()));
    }),
    ("advisories-fresh", |facts| facts.advisories = Ok(None)),
    ("advisories-fresh", |facts| {
        facts.config.update.max_age = std::time::Duration::from_secs(1);
    }),
    ("known-vulnerabilities", |facts| {
        if let Ok(Some(found)) = &mut facts.advisories {
            found.findings = vec![super::fixture::finding()];
        }
    }),
    ("operators-named", |facts| {
        facts.config.admin.operators = [(1000, "alice".to_owned())].into();
    }),
    ("not-root", |facts| {
        if let Ok(running) = &mut facts.running {
            running.uid = 0;
        }
    }),
    ("no-core-dumps", |facts| {
        if let Ok(running) = &mut facts.running {
            running.core_bytes = None;
        }
    }),
    ("version-running", |facts| {
        if let Ok(running) = &mut facts.running {
            running.version = "0.0.1".to_owned();
        }
    }),
    ("log-discreet", |facts| {
        facts.config.log.filter = "info,chartgate=debug".to_owned();
    }),
];
