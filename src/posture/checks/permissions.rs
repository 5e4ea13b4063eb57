//! What people may do: the policy bundle asked over its whole vocabulary, and the people who answer for it.

use super::{Area, Check, Level, Verdict, fail, named, none_of, pass, since, span, unknown, warn};
use crate::posture::facts::{Bundle, Facts};

/// Takes of a bundle that a user may make of one chart after another in an hour.
const TAKEN_OUT: f64 = 120.0;

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "default-deny",
        area: Area::Permissions,
        level: Level::Critical,
        asks: "Has somebody without a role no access at all?",
        controls: &[
            "45 CFR 164.308(a)(4)(ii)(B)",
            "45 CFR 164.312(a)(1)",
            "45 CFR 170.315(d)(1)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: |facts| {
            of_bundle(facts, |bundle| {
                none_of(
                    &bundle.roleless,
                    format!(
                        "{} policies, and none permits without a role",
                        bundle.policies
                    ),
                    "bind every `permit` to a role: `principal in Role::\"…\"`",
                )
            })
        },
    },
    Check {
        id: "unmapped-refused",
        area: Area::Permissions,
        level: Level::High,
        asks: "Are pages of the EMR that no profile knows refused to everybody?",
        controls: &["45 CFR 164.312(a)(1)", "45 CFR 170.315(d)(1)"],
        judge: |facts| {
            of_bundle(facts, |bundle| {
                none_of(
                    &bundle.unmapped,
                    "no role may use the action Unmapped",
                    "map the routes in the EMR's profile, and take the `permit` for Unmapped out",
                )
            })
        },
    },
    Check {
        id: "step-up",
        area: Area::Permissions,
        level: Level::High,
        asks: "Do exports, disclosures, deletions and administration need a fresh sign-in?",
        controls: &[
            "45 CFR 164.312(a)(1)",
            "45 CFR 164.312(d)",
            "45 CFR 170.315(d)(13)",
        ],
        judge: |facts| {
            of_bundle(facts, |bundle| {
                none_of(
                    &bundle.unconfirmed,
                    "every permission to do so obliges to a step-up",
                    "annotate the policies that permit it with @stepup(\"300s\")",
                )
            })
        },
    },
    Check {
        id: "lockdown-effective",
        area: Area::Permissions,
        level: Level::High,
        asks: "Does lockdown take away export (L1), changes (L2) and everything (L4)?",
        controls: &[
            "45 CFR 164.308(a)(6)(ii)",
            "45 CFR 164.308(a)(7)(ii)(C)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: |facts| {
            of_bundle(facts, |bundle| {
                none_of(
                    &bundle.through_lockdown,
                    "nothing that a level takes away is left at that level",
                    "put lockdown.cedar of the shipped bundle back",
                )
            })
        },
    },
    Check {
        id: "break-glass-open",
        area: Area::Permissions,
        level: Level::High,
        asks: "Can somebody who treats patients open a chart in an emergency?",
        controls: &[
            "45 CFR 164.308(a)(7)(ii)(C)",
            "45 CFR 164.312(a)(2)(ii)",
            "45 CFR 170.315(d)(6)",
        ],
        judge: |facts| {
            of_bundle(facts, |bundle| {
                if bundle.glass_roles.is_empty() {
                    fail(
                        "no role gets a chart by breaking the glass",
                        "permit Read `when { context.break_glass }` for the clinical roles, as care.cedar of the shipped bundle does",
                    )
                } else {
                    pass(bundle.glass_roles.join(", "))
                }
            })
        },
    },
    Check {
        id: "break-glass-narrow",
        area: Area::Permissions,
        level: Level::High,
        asks: "Does breaking the glass allow reading only?",
        controls: &[
            "45 CFR 164.312(a)(1)",
            "45 CFR 164.312(a)(2)(ii)",
            "45 CFR 170.315(d)(6)",
        ],
        judge: |facts| {
            of_bundle(facts, |bundle| {
                none_of(
                    &bundle.glass_takes,
                    "nothing is changed, printed, exported, disclosed or deleted by it",
                    "put the policies `break-glass-…` of the shipped bundle back into guards.cedar",
                )
            })
        },
    },
    Check {
        id: "emr-log-untouched",
        area: Area::Permissions,
        level: Level::High,
        asks: "Can nobody change the EMR's own log through the gateway?",
        controls: &[
            "45 CFR 164.312(b)",
            "45 CFR 164.312(c)(1)",
            "45 CFR 170.315(d)(2)",
        ],
        judge: |facts| {
            of_bundle(facts, |bundle| {
                none_of(
                    &bundle.log_changed,
                    "no role may create, change or delete in the section `log`",
                    "put the policy `log-is-never-changed` of the shipped bundle back into guards.cedar",
                )
            })
        },
    },
    Check {
        id: "decision-tables",
        area: Area::Permissions,
        level: Level::High,
        asks: "Does the bundle do what its own tables expect, and do they test every policy?",
        controls: &[
            "45 CFR 164.308(a)(4)(ii)(C)",
            "45 CFR 164.308(a)(8)",
            "GDPR Art. 32(1)(d)",
        ],
        judge: |facts| of_bundle(facts, tables),
    },
    Check {
        id: "permission-review",
        area: Area::Permissions,
        level: Level::High,
        asks: "Did somebody review permissions of the bundle in force within the interval?",
        controls: &[
            "45 CFR 164.308(a)(3)(ii)(A)",
            "45 CFR 164.308(a)(4)(ii)(C)",
            "45 CFR 164.308(a)(1)(ii)(D)",
            "45 CFR 164.316(b)(2)(iii)",
            "GDPR Art. 32(1)(d)",
        ],
        judge: review,
    },
    Check {
        id: "routes-mapped",
        area: Area::Permissions,
        level: Level::Medium,
        asks: "Does every EMR profile load, without routes that hide or cross others?",
        controls: &["45 CFR 164.312(a)(1)", "45 CFR 164.312(b)"],
        judge: profiles,
    },
    Check {
        id: "bulk-limits",
        area: Area::Permissions,
        level: Level::Medium,
        asks: "Is it limited how much one user exports and prints in an hour?",
        controls: &["45 CFR 164.312(a)(1)", "GDPR Art. 32(1)(b)"],
        judge: bulk,
    },
];

fn of_bundle(facts: &Facts, judge: impl FnOnce(&Bundle) -> Verdict) -> Verdict {
    match &facts.bundle {
        Ok(bundle) => judge(bundle),
        Err(why) => unknown(why),
    }
}

fn tables(bundle: &Bundle) -> Verdict {
    let remedy =
        "see `chartgate policy test`; correct the policies, or the table if this is what you mean";
    if !bundle.missed.is_empty() {
        return fail(named(&bundle.missed), remedy);
    }
    if bundle.expected == 0 {
        return fail(
            "the bundle has no tables of expected decisions",
            "write them in tests/*.toml of the bundle (docs/policy-tools.md)",
        );
    }
    let evidence = format!("{} expectations met", bundle.expected);
    if bundle.untested.is_empty() {
        pass(evidence)
    } else {
        warn(
            format!("{evidence}; not tested: {}", named(&bundle.untested)),
            "add a case that each of them decides",
        )
    }
}

fn review(facts: &Facts) -> Verdict {
    let remedy = "run `chartgate policy review --sign-off`";
    let kept = match &facts.kept {
        Ok(kept) => kept,
        Err(why) => return unknown(why),
    };
    let Some(last) = &kept.review else {
        return fail("permissions were never signed off", remedy);
    };
    let age = since(last.at, facts);
    let evidence = format!(
        "{} signed off {} ago by {}",
        last.bundle,
        span(age),
        last.reviewer
    );
    if age > facts.config.policy.review_interval {
        return fail(evidence, remedy);
    }
    match &facts.bundle {
        Ok(bundle) if bundle.digest != last.sha256 => {
            warn(format!("{evidence}; the bundle was changed since"), remedy)
        }
        Ok(_) | Err(_) => pass(evidence),
    }
}

fn profiles(facts: &Facts) -> Verdict {
    let mut wrong = Vec::new();
    let mut good = Vec::new();
    for profile in &facts.profiles {
        match &profile.routes {
            Ok(routes) => good.push(format!("{}: {routes} routes", profile.emr)),
            Err(why) => wrong.push(format!("{}: {why}", profile.emr)),
        }
        wrong.extend(
            profile
                .findings
                .iter()
                .map(|found| format!("{}: {found}", profile.emr)),
        );
    }
    none_of(
        &wrong,
        good.join("; "),
        "see `chartgate check`; correct the profile",
    )
}

fn bulk(facts: &Facts) -> Verdict {
    let mut wrong = Vec::new();
    let mut good = Vec::new();
    for action in ["Export", "Print"] {
        match facts.config.limits.actions.get(action) {
            None => wrong.push(format!("{action} is not limited by itself")),
            Some(rate) => {
                let hour =
                    f64::from(rate.requests.get()) * 3600.0 / rate.per.as_secs_f64().max(1.0);
                let shown = format!("{action} {hour:.0} in an hour");
                if hour > TAKEN_OUT {
                    wrong.push(shown);
                } else {
                    good.push(shown);
                }
            }
        }
    }
    none_of(
        &wrong,
        good.join(", "),
        "set it in [limits.actions] to \"20/1h burst 10\"",
    )
}

#[cfg(test)]
fn change(facts: &mut Facts, change: impl FnOnce(&mut Bundle)) {
    if let Ok(bundle) = &mut facts.bundle {
        change(bundle);
    }
}

/// What makes each of them fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("default-deny", |facts| {
        change(facts, |bundle| {
            bundle.roleless = vec!["Read notes".to_owned()];
        });
    }),
    ("unmapped-refused", |facts| {
        change(facts, |bundle| {
            bundle.unmapped = vec!["it-admin".to_owned()];
        });
    }),
    ("step-up", |facts| {
        change(facts, |bundle| {
            bundle.unconfirmed = vec!["him: Export export".to_owned()];
        });
    }),
    ("lockdown-effective", |facts| {
        change(facts, |bundle| {
            bundle.through_lockdown = vec!["L2 nurse: Update notes".to_owned()];
        });
    }),
    ("break-glass-open", |facts| {
        change(facts, |bundle| bundle.glass_roles.clear());
    }),
    ("break-glass-narrow", |facts| {
        change(facts, |bundle| {
            bundle.glass_takes = vec!["physician: Print notes".to_owned()];
        });
    }),
    ("emr-log-untouched", |facts| {
        change(facts, |bundle| {
            bundle.log_changed = vec!["it-admin: Delete".to_owned()];
        });
    }),
    ("decision-tables", |facts| {
        change(facts, |bundle| {
            bundle.missed = vec!["a case: expected deny, found allow".to_owned()];
        });
    }),
    ("decision-tables", |facts| {
        change(facts, |bundle| bundle.expected = 0);
    }),
    ("permission-review", |facts| {
        if let Ok(kept) = &mut facts.kept {
            kept.review = None;
        }
    }),
    ("permission-review", |facts| {
        facts.config.policy.review_interval = std::time::Duration::from_secs(1);
    }),
    ("routes-mapped", |facts| {
        facts.profiles[0].findings = vec!["route `a`: never matches".to_owned()];
    }),
    ("bulk-limits", |facts| {
        facts.config.limits.actions.remove("Export");
    }),
];
