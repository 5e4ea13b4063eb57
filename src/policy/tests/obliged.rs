//! Obligations of whole bundles: they add up, they are remembered, and those that cannot be kept do not load.

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;

use super::{load, patient, question, roles, small_with};
use crate::policy::decide::Active;
use crate::policy::question::Question;
use crate::request::Action;
use crate::request::facts::Verdict;

/// A permit for reading, by its condition and what it obliges.
#[derive(Debug, Clone)]
struct Permit {
    condition: &'static str,
    obligations: Vec<&'static str>,
}

fn permit() -> impl Strategy<Value = Permit> {
    let condition = prop::sample::select(vec![
        "true",
        "context.mfa",
        "context has patient",
        "context.sensitivity == \"N\"",
        "context.break_glass",
    ]);
    let obligation = prop::sample::subsequence(
        vec![
            "@stepup(\"300s\")",
            "@mfa",
            "@readonly",
            "@watermark",
            "@reason(\"15m\")",
            "@limit(\"20/h\")",
        ],
        0..4,
    );
    (condition, obligation).prop_map(|(condition, obligations)| Permit {
        condition,
        obligations,
    })
}

fn bundle_of(permits: &[Permit]) -> Active {
    let mut text = String::new();
    for (at, permit) in permits.iter().enumerate() {
        let Permit {
            condition,
            obligations,
        } = permit;
        let obligations = obligations.join(" ");
        let _ = writeln!(
            text,
            "@id(\"p{at}\") @doc(\"x\") {obligations} permit (principal, action == Action::\"Read\", resource) when {{ {condition} }};"
        );
    }
    Active::new(small_with(&text))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Another permit may permit more, and takes no obligation of another away. What is remembered is what is fresh.
    #[test]
    fn a_permit_that_is_added_takes_no_obligation_away(
        permits in prop::collection::vec(permit(), 1..4),
        added in permit(),
        flags in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 1..6),
    ) {
        let before = bundle_of(&permits);
        let more: Vec<Permit> = permits.into_iter().chain([added]).collect();
        let after = bundle_of(&more);
        let (nurse, one) = (roles(&["nurse"]), patient("1"));
        for (mfa, named, broken) in flags.iter().chain(&flags) {
            let asked = Question {
                mfa: *mfa,
                patient: named.then_some(&one),
                break_glass: *broken,
                ..question(&nurse, Action::Read, "notes")
            };
            let (fewer, all) = (before.ask(&asked), after.ask(&asked));
            prop_assert_eq!(fewer.verdict, Verdict::Allow, "SMALL lets nurses read");
            prop_assert_eq!(all.verdict, Verdict::Allow);
            let both = all.obligations.clone().union(&fewer.obligations);
            prop_assert_eq!(&both, &all.obligations);
            for active in [&before, &after] {
                let slice = active.compiled().slice(&asked);
                let fresh = active.compiled().ask(&slice, &asked);
                prop_assert_eq!(&*active.ask(&asked), &fresh);
            }
            // Of several patients: what is obliged for one is obliged for all.
            let two = (*fewer).clone().and(&all);
            prop_assert_eq!(&two.obligations, &all.obligations);
        }
    }
}

#[test]
fn an_obligation_that_its_permit_cannot_keep_does_not_load() {
    let permit = |annotations: &str, head: &str| {
        format!("@id(\"a\") @doc(\"x\") {annotations} permit ({head});")
    };
    for (text, said) in [
        (
            permit("@readonly", "principal, action, resource"),
            "every action",
        ),
        (
            permit(
                "@readonly",
                "principal, action in [Action::\"Read\", Action::\"Print\", Action::\"Sign\"], resource",
            ),
            "opens more than looking: Print, Sign",
        ),
        (
            permit(
                "@readonly",
                "principal, action == Action::\"Unmapped\", resource",
            ),
            "Unmapped",
        ),
        (
            permit(
                "@reason",
                "principal is Service, action == Action::\"Read\", resource",
            ),
            "cannot state one",
        ),
        (
            permit("@limit", "principal, action == Action::\"Read\", resource"),
            "`@limit(\"\")`",
        ),
        (
            permit(
                "@readonly(\"x\")",
                "principal, action == Action::\"Read\", resource",
            ),
            "has a value",
        ),
        (
            permit(
                "@read_only",
                "principal, action == Action::\"Read\", resource",
            ),
            "`@read_only`",
        ),
    ] {
        let error = load(&[("a.cedar", &text)]).unwrap_err();
        let problems: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(said), "{said}: {problems:?}");
    }
    let sound = permit(
        "@readonly @watermark @reason @limit(\"20/h\")",
        "principal, action in [Action::\"Read\", Action::\"Search\", Action::\"Navigate\"], resource",
    );
    let active = Active::new(load(&[("a.cedar", &sound)]).unwrap());
    let nurse = roles(&["nurse"]);
    let said = Arc::clone(&active.ask(&question(&nurse, Action::Read, "notes")));
    assert_eq!(
        said.obligations.as_recorded(),
        ["readonly", "watermark", "reason=3600s", "limit=20/h"]
    );
}
