//! What must hold while policies, sessions, grants and lockdown change.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use proptest::prelude::*;

use super::asked::{Asked, WILD_BUNDLE, WILD_SHIFT, asked, fresh};
use super::{SHIPPED, load, patient, roles, small_with};
use crate::policy::bundle::Bundle;
use crate::policy::compile::Compiled;
use crate::policy::decide::{Active, Policies};
use crate::policy::question::{Grant, PrincipalKind, Question};
use crate::policy::rule::Rule;
use crate::policy::standing::Scope;
use crate::request::facts::Verdict;
use crate::request::principal::{Proof, User};
use crate::request::{PatientRef, Principal, Reach, Role};

/// What changes between two requests.
#[derive(Debug, Clone)]
enum Step {
    Ask(Box<Asked>),
    Activate(usize),
    Lockdown(Scope, u8),
    Grant(&'static str, &'static str),
    /// A glass is broken for a ward.
    Ward(&'static str, &'static str),
    Whole(&'static str),
    Session {
        user: &'static str,
        roles: Vec<&'static str>,
        mfa: bool,
    },
}

const USERS: &[&str] = &["1", "2", "3"];
const ROLES: &[&[&str]] = &[
    &[],
    &["nurse"],
    &["physician"],
    &["nurse", "him"],
    &["it-admin"],
];

fn step() -> impl Strategy<Value = Step> {
    let user = || prop::sample::select(USERS);
    let scope = prop_oneof![
        Just(Scope::All),
        Just(Scope::Emr("archive".to_owned())),
        Just(Scope::Role("nurse".to_owned())),
        user().prop_map(|user| Scope::User(format!("main|{user}"))),
    ];
    prop_oneof![
        8 => asked().prop_map(|asked| Step::Ask(Box::new(asked))),
        1 => (0..3_usize).prop_map(Step::Activate),
        1 => (scope, 0..=4_u8).prop_map(|(scope, level)| Step::Lockdown(scope, level)),
        1 => (user(), prop::sample::select(vec!["1", "2"])).prop_map(|(user, patient)| Step::Grant(user, patient)),
        1 => (user(), prop::sample::select(vec!["ed", "icu"])).prop_map(|(user, ward)| Step::Ward(user, ward)),
        1 => user().prop_map(Step::Whole),
        2 => (user(), prop::sample::select(ROLES), any::<bool>())
            .prop_map(|(user, roles, mfa)| Step::Session { user, roles: roles.to_vec(), mfa }),
    ]
}

/// Where the patients of this test lie.
fn ward_of(patient: &PatientRef) -> &'static str {
    if patient.id == "1" { "ed" } else { "icu" }
}

fn principal(user: &str, names: &[&str], mfa: bool) -> Principal {
    Principal::User(User {
        issuer: "main".to_owned(),
        subject: user.to_owned(),
        name: user.to_owned(),
        roles: roles(names),
        proof: Proof {
            acr: None,
            amr: Vec::new(),
            mfa,
            auth_time: None,
            phishing_resistant: false,
        },
        department: None,
    })
}

static BUNDLES: LazyLock<[Bundle; 3]> =
    LazyLock::new(|| [WILD_BUNDLE.clone(), SHIPPED.clone(), small_with("")]);
static COMPILED: LazyLock<[Compiled; 3]> = LazyLock::new(|| BUNDLES.each_ref().map(Compiled::new));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The standing is read anew for each request and goes into the question; nothing of it may stick to an answer.
    #[test]
    fn what_is_remembered_is_fresh_whatever_changed(steps in prop::collection::vec(step(), 1..60)) {
        let policies = Policies::new(BUNDLES[0].clone(), 1);
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().expect("a time");
        let expires: Timestamp = "2026-11-22T18:00:00Z".parse().expect("a time");
        let mut current = 0;
        let mut who = principal("1", &["nurse"], true);
        let mut generation = policies.generation();
        for step in steps {
            match step {
                Step::Activate(next) => {
                    current = next;
                    policies.activate(&Arc::new(Active::new(BUNDLES[next].clone())));
                }
                Step::Lockdown(scope, level) => policies.restate(|standing| {
                    standing.lockdowns.insert(scope.clone(), level);
                }),
                Step::Grant(user, number) => policies.restate(|standing| {
                    let grant = Grant {
                        id: "g".to_owned(),
                        reach: Reach::of(&patient(number)),
                        expires,
                    };
                    standing.grants.insert(format!("main|{user}"), Arc::new([grant]));
                }),
                Step::Ward(user, ward) => policies.restate(|standing| {
                    let grant = Grant { id: "w".to_owned(), reach: Reach::Ward(ward.into()), expires };
                    standing.grants.insert(format!("main|{user}"), Arc::new([grant]));
                }),
                Step::Whole(user) => policies.restate(|standing| {
                    standing.grants.remove(&format!("main|{user}"));
                }),
                Step::Session { user, roles, mfa } => {
                    who = principal(user, &roles, mfa);
                    continue;
                }
                Step::Ask(asked) => {
                    let in_force = policies.in_force();
                    let circumstances = in_force.circumstances_of(&who, Some(&asked.emr), None, now);
                    let id = who.id();
                    let question = Question {
                        kind: PrincipalKind::User,
                        principal: &id,
                        roles: who.roles(),
                        mfa: who.proof().mfa,
                        lockdown: circumstances.lockdown,
                        break_glass: asked.patient.as_ref().is_some_and(|one| circumstances.grant_for(one, Some(ward_of(one)), now).is_some()),
                        ..asked.question()
                    };
                    let remembered = in_force.active().ask(&question);
                    prop_assert_eq!(&*remembered, &fresh(&COMPILED[current], &question));
                    prop_assert_eq!(in_force.generation(), generation);
                    continue;
                }
            }
            prop_assert_eq!(policies.generation(), generation.saturating_add(1));
            generation = generation.saturating_add(1);
        }
    }
}

/// The text of a bundle with the policies that `keep` keeps.
fn only(keep: impl Fn(&Rule) -> bool) -> Compiled {
    let kept = WILD_BUNDLE.policies().filter(|rule| keep(rule));
    let kept: Vec<_> = kept.map(|rule| rule.policy().to_string()).collect();
    let text = kept.join("\n");
    match load(&[("kept.cedar", &text), ("calendars.toml", WILD_SHIFT)]) {
        Ok(bundle) => Compiled::new(&bundle),
        Err(error) => panic!("{error}"),
    }
}

/// The wild bundle without each of a few of its policies, permits and forbids.
static WITHOUT: LazyLock<BTreeMap<String, (cedar_policy::Effect, Compiled)>> =
    LazyLock::new(|| {
        let some = WILD_BUNDLE.policies().step_by(8);
        some.map(|left_out| {
            let compiled = only(|rule| rule.id() != left_out.id());
            (left_out.id().to_owned(), (left_out.effect(), compiled))
        })
        .collect()
    });

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_permit_less_never_admits_and_a_forbid_less_never_refuses(asked in asked()) {
        let question = asked.question();
        let whole = fresh(&COMPILED[0], &question);
        for (id, (effect, compiled)) in WITHOUT.iter() {
            let less = fresh(compiled, &question).verdict;
            match effect {
                cedar_policy::Effect::Permit => {
                    prop_assert!(!(whole.verdict == Verdict::Deny && whole.errors.is_empty() && less == Verdict::Allow), "{}", id);
                }
                cedar_policy::Effect::Forbid => {
                    prop_assert!(!(whole.verdict == Verdict::Allow && less == Verdict::Deny), "{}", id);
                }
            }
        }
    }

    #[test]
    fn any_error_refuses_and_permits_nothing(asked in asked()) {
        let question = asked.question();
        let outcome = fresh(&COMPILED[0], &question);
        if !outcome.errors.is_empty() {
            prop_assert_eq!(outcome.verdict, Verdict::Deny);
            prop_assert!(outcome.obligations.is_empty());
        }
    }
}

#[test]
fn people_and_patients_who_are_not_named_share_an_answer_and_those_who_are_do_not() {
    let active = Active::new(WILD_BUNDLE.clone());
    let nurse: std::collections::BTreeSet<Role> = roles(&["nurse"]);
    let ask = |principal: &str, number: &str| {
        let one = patient(number);
        active.ask(&Question {
            principal,
            patient: Some(&one),
            ..super::question(&nurse, crate::request::Action::Read, "demographics")
        })
    };
    let first = ask("main|7", "70");
    assert_eq!(first.verdict, Verdict::Allow);
    assert!(
        Arc::ptr_eq(&first, &ask("main|8", "80")),
        "one answer for all of them"
    );
    assert_eq!(ask("main|7", "1").policies, ["wild-celebrity"]);
    assert_eq!(ask("main|2", "1").verdict, Verdict::Allow, "who is named");
}
