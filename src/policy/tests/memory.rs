//! A remembered answer is the one that a fresh evaluation gives.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::asked::{Asked, WILD_BUNDLE, asked, fresh};
use super::{SHIPPED, patient, question, roles, small_with};
use crate::policy::bundle::Bundle;
use crate::policy::compile::Compiled;
use crate::policy::decide::{Active, Policies};
use crate::policy::question::{CareRelation, PrincipalKind, Purpose, Question, Training};
use crate::request::Action;
use crate::request::facts::Verdict;

/// What happens to a gateway while requests come in.
#[derive(Debug, Clone)]
enum Step {
    Ask(Box<Asked>),
    Activate(usize),
}

/// `base`, and `base` with each of its inputs taken from `other` in turn.
fn neighbours(base: &Asked, other: &Asked) -> Vec<Asked> {
    let with = |change: fn(&mut Asked, &Asked)| {
        let mut changed = base.clone();
        change(&mut changed, other);
        changed
    };
    vec![
        base.clone(),
        with(|to, from| to.kind = from.kind),
        with(|to, from| to.principal.clone_from(&from.principal)),
        with(|to, from| to.roles.clone_from(&from.roles)),
        with(|to, from| to.action = from.action),
        with(|to, from| to.section.clone_from(&from.section)),
        with(|to, from| to.sensitivity.clone_from(&from.sensitivity)),
        with(|to, from| to.emr.clone_from(&from.emr)),
        with(|to, from| to.patient.clone_from(&from.patient)),
        with(|to, from| to.care_relation = from.care_relation),
        with(|to, from| to.purpose = from.purpose),
        with(|to, from| to.lockdown = from.lockdown),
        with(|to, from| to.zone.clone_from(&from.zone)),
        with(|to, from| to.training = from.training),
        with(|to, from| to.flags.0 = from.flags.0),
        with(|to, from| to.flags.1 = from.flags.1),
        with(|to, from| to.situation.shifts.clone_from(&from.situation.shifts)),
        with(|to, from| to.situation.wards.clone_from(&from.situation.wards)),
        with(|to, from| {
            to.situation
                .patient_ward
                .clone_from(&from.situation.patient_ward);
        }),
        with(|to, from| to.situation.device = from.situation.device),
        with(|to, from| to.situation.phishing_resistant = from.situation.phishing_resistant),
        with(|to, from| to.situation.auth_age = from.situation.auth_age),
        with(|to, from| {
            to.situation
                .information_types
                .clone_from(&from.situation.information_types);
        }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few questions that differ little, so that most come again and none may be taken for another.
    (asked(), asked()).prop_flat_map(|(base, other)| {
        let questions = neighbours(&base, &other);
        let step = prop_oneof![
            9 => prop::sample::select(questions).prop_map(|asked| Step::Ask(Box::new(asked))),
            1 => (0..3_usize).prop_map(Step::Activate),
        ];
        prop::collection::vec(step, 1..30)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_remembered_answer_is_a_fresh_one(steps in steps()) {
        static BUNDLES: LazyLock<[(Bundle, Compiled); 3]> = LazyLock::new(|| {
            [WILD_BUNDLE.clone(), SHIPPED.clone(), small_with("")].map(|bundle| {
                let compiled = Compiled::new(&bundle);
                (bundle, compiled)
            })
        });
        let mut current = 0;
        let policies = Policies::new(BUNDLES[0].0.clone(), 0);
        for step in steps {
            match step {
                Step::Activate(next) => {
                    current = next;
                    let active = Active::new(BUNDLES[next].0.clone());
                    let before = policies.generation();
                    prop_assert_eq!(policies.activate(&Arc::new(active)), before.saturating_add(1));
                }
                Step::Ask(asked) => {
                    let question = asked.question();
                    let remembered = policies.active().ask(&question);
                    prop_assert_eq!(&*remembered, &fresh(&BUNDLES[current].1, &question));
                }
            }
        }
    }
}

/// One permit for each input, on a section of its own, so that only that input can make the difference.
const BY_INPUT: &str = r#"
@id("mfa") @doc("x") permit (principal, action == Action::"Sign", resource == Section::"notes") when { context.mfa };
@id("sensitivity") @doc("x") permit (principal, action == Action::"Sign", resource == Section::"orders") when { context.sensitivity == "N" };
@id("emr") @doc("x") permit (principal, action == Action::"Sign", resource == Section::"results") when { context.emr == Emr::"main" };
@id("care") @doc("x") permit (principal, action == Action::"Sign", resource == Section::"imaging") when { context.care_relation == "unknown" };
@id("purpose") @doc("x") permit (principal, action == Action::"Sign", resource == Section::"billing") when { context.purpose == "unknown" };
@id("lockdown") @doc("x") permit (principal, action == Action::"Sign", resource == Section::"export") when { context.lockdown == 0 };
@id("zone") @doc("x") permit (principal, action == Action::"Sign", resource == Section::"documents") when { context.zone == "unknown" };
@id("training") @doc("x") permit (principal, action == Action::"Sign", resource == Section::"medications") when { context.training == "unknown" };
@id("glass") @doc("x") permit (principal, action == Action::"Sign", resource == Section::"summary") unless { context.break_glass };
@id("kind") @doc("x") permit (principal is User, action == Action::"Sign", resource == Section::"log");
@id("role") @doc("x") permit (principal in Role::"nurse", action == Action::"Sign", resource == Section::"shell");
@id("presence") @doc("x") permit (principal, action == Action::"Order", resource) unless { context has patient };
@id("patient") @doc("x") permit (principal, action == Action::"Print", resource) unless { context has patient && context.patient == Patient::"urn:mrn|2" };
@id("person") @doc("x") permit (principal == User::"main|1", action == Action::"Disclose", resource);
@id("person-too") @doc("x") permit (principal, action == Action::"Delete", resource) when { principal is User && [User::"main|1"].contains(principal) };
"#;

/// Asks each pair in turn, twice: the first must be permitted, the second refused.
fn told_apart(pairs: &[(Question<'_>, Question<'_>)]) {
    let policies = Policies::new(small_with(BY_INPUT), 1);
    let active = policies.active();
    for (yes, no) in pairs {
        for _ in 0..2 {
            assert_eq!(active.ask(yes).verdict, Verdict::Allow, "{yes:?}");
            assert_eq!(active.ask(no).verdict, Verdict::Deny, "{no:?}");
        }
    }
}

#[test]
fn memory_tells_circumstances_apart() {
    let nurse = roles(&["nurse"]);
    let sign = |section| question(&nurse, Action::Sign, section);
    let pair = |section, change: fn(&mut Question<'_>)| {
        let mut other = sign(section);
        change(&mut other);
        (sign(section), other)
    };
    told_apart(&[
        pair("notes", |q| q.mfa = false),
        pair("orders", |q| q.sensitivity = "R"),
        pair("results", |q| q.emr = "other"),
        pair("imaging", |q| q.care_relation = CareRelation::Assigned),
        pair("billing", |q| q.purpose = Purpose::Payment),
        pair("export", |q| q.lockdown = 1),
        pair("documents", |q| q.zone = "outside"),
        pair("medications", |q| q.training = Training::Lapsed),
        pair("summary", |q| q.break_glass = true),
        pair("log", |q| q.kind = PrincipalKind::Service),
        pair("shell", |q| q.section = "administration"),
        pair("shell", |q| q.action = Action::Update),
    ]);
}

#[test]
fn memory_tells_people_and_patients_apart() {
    let (nurse, clerk) = (roles(&["nurse"]), roles(&["registration-clerk"]));
    let (one, two) = (patient("1"), patient("2"));
    let ask = |action| question(&nurse, action, "shell");
    let of = |action, patient| Question {
        patient: Some(patient),
        ..ask(action)
    };
    let other = |action| Question {
        principal: "main|2",
        ..ask(action)
    };
    told_apart(&[
        (
            ask(Action::Sign),
            Question {
                roles: &clerk,
                ..ask(Action::Sign)
            },
        ),
        (ask(Action::Order), of(Action::Order, &one)),
        (of(Action::Print, &one), of(Action::Print, &two)),
        (ask(Action::Disclose), other(Action::Disclose)),
        (ask(Action::Delete), other(Action::Delete)),
    ]);
}
