//! What must hold of every question: slices and memory change no answer, a forbid never admits, an error refuses.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cedar_policy::{Authorizer, Decision, PolicySet, Schema};
use proptest::prelude::*;

use super::bundle::Bundle;
use super::compile::{Compiled, Outcome};
use super::decide::Policies;
use super::question::{CareRelation, PrincipalKind, Purpose, Question};
use super::testing::{
    SHIPPED, SMALL, load, patient, question, roles, shipped_directory, small_with,
};
use crate::request::facts::Verdict;
use crate::request::{Action, PatientRef, Role};

/// Policies that read what the shipped ones do not: identities, patients, and a sum that overflows.
const WILD: &str = r#"
@id("wild-user")
@doc("One person reads the log.")
permit (principal == User::"main|2", action == Action::"Read", resource == Section::"log");
@id("wild-user-condition")
@doc("One person administers.")
@stepup("60s")
permit (principal, action == Action::"Administer", resource)
when { principal == User::"main|1" };
@id("wild-celebrity")
@doc("One chart is closed to all but one.")
forbid (principal, action, resource)
when { context has patient && context.patient == Patient::"urn:mrn|1" }
unless { principal == User::"main|2" };
@id("wild-patient")
@doc("Nurses disclose only of a named patient.")
permit (principal in Role::"nurse", action == Action::"Disclose", resource)
when { context has patient };
@id("wild-emr")
@doc("The archive is not written.")
forbid (principal, action in [Action::"Create", Action::"Update"], resource)
when { context.emr == Emr::"archive" };
@id("wild-overflow")
@doc("A forbid that fails from lockdown level 1 on.")
forbid (principal, action == Action::"Sign", resource)
when { context.lockdown + 9223372036854775807 < 0 };
@id("wild-service")
@doc("Programs search.")
permit (principal is Service, action == Action::"Search", resource)
when { context.purpose == "TREAT" };
@id("wild-action")
@doc("Administrators see unmapped pages.")
permit (principal is User in Role::"it-admin", action == Action::"Unmapped", resource);
"#;

/// The shipped bundle and the wild policies.
static WILD_BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let texts: Vec<_> = std::fs::read_dir(shipped_directory())
        .expect("policies/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "cedar"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_str().expect("text");
            (
                name.to_owned(),
                std::fs::read_to_string(&path).expect("text"),
            )
        })
        .collect();
    let mut files: Vec<_> = texts
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    files.push(("wild.cedar", WILD));
    match load(&files) {
        Ok(bundle) => bundle,
        Err(error) => panic!("{error}"),
    }
});
static WILD_COMPILED: LazyLock<Compiled> = LazyLock::new(|| Compiled::new(&WILD_BUNDLE));
static WILD_SET: LazyLock<PolicySet> = LazyLock::new(|| {
    PolicySet::from_policies(WILD_BUNDLE.policies().map(|rule| rule.policy().clone()))
        .expect("distinct ids")
});

/// A question that owns its parts.
#[derive(Debug, Clone)]
struct Asked {
    kind: PrincipalKind,
    principal: String,
    roles: BTreeSet<Role>,
    action: Action,
    section: String,
    sensitivity: String,
    emr: String,
    patient: Option<PatientRef>,
    care_relation: CareRelation,
    purpose: Purpose,
    lockdown: u8,
    flags: (bool, bool),
}

impl Asked {
    fn question(&self) -> Question<'_> {
        Question {
            kind: self.kind,
            principal: &self.principal,
            roles: &self.roles,
            mfa: self.flags.0,
            action: self.action,
            section: &self.section,
            sensitivity: &self.sensitivity,
            emr: &self.emr,
            patient: self.patient.as_ref(),
            care_relation: self.care_relation,
            purpose: self.purpose,
            lockdown: self.lockdown,
            break_glass: self.flags.1,
        }
    }
}

fn one_of(names: &[&str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::select(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
}

fn asked() -> impl Strategy<Value = Asked> {
    let role_names: Vec<_> = SHIPPED.vocabulary().roles().iter().cloned().collect();
    let mut section_names: Vec<_> = SHIPPED.vocabulary().sections().iter().cloned().collect();
    section_names.push("unheard-of".to_owned());
    let who = (
        prop::sample::select(PrincipalKind::ALL),
        one_of(&["main|1", "main|2", "main|3", "anyone", "a \"quoted\" one"]),
        prop::collection::btree_set(prop::sample::select(role_names), 0..4)
            .prop_map(|names| names.iter().map(|name| Role::new(name)).collect()),
    );
    let what = (
        prop::sample::select(Action::ALL),
        prop::sample::select(section_names),
        one_of(&["N", "R", "V", ""]),
        one_of(&["main", "archive"]),
        prop::option::of(one_of(&["1", "2"]).prop_map(|id| patient(&id))),
    );
    let when = (
        prop::sample::select(CareRelation::ALL),
        prop::sample::select(Purpose::ALL),
        prop_oneof![3 => Just(0_u8), 1 => 1..=4_u8],
        (prop::bool::weighted(0.9), any::<bool>()),
    );
    (who, what, when).prop_map(|(who, what, when)| Asked {
        kind: who.0,
        principal: who.1,
        roles: who.2,
        action: what.0,
        section: what.1,
        sensitivity: what.2,
        emr: what.3,
        patient: what.4,
        care_relation: when.0,
        purpose: when.1,
        lockdown: when.2,
        flags: when.3,
    })
}

fn fresh(compiled: &Compiled, question: &Question<'_>) -> Outcome {
    compiled.ask(&compiled.slice(question), question)
}

/// Everything evaluated, in the principal's own name, with nothing left out.
fn fully(
    bundle: &Bundle,
    set: &PolicySet,
    question: &Question<'_>,
) -> (Verdict, Vec<String>, Vec<String>) {
    let vocabulary = bundle.vocabulary();
    let entities = vocabulary
        .entities(question.kind, question.principal, question.roles)
        .expect("entities");
    let request = vocabulary
        .names()
        .request(question, question.principal, None)
        .expect("a request");
    let response = Authorizer::new().is_authorized(&request, set, &entities);
    let mut errors: Vec<_> = response
        .diagnostics()
        .errors()
        .map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(e) => e.policy_id().to_string(),
        })
        .collect();
    errors.sort();
    let mut policies: Vec<_> = response
        .diagnostics()
        .reason()
        .map(ToString::to_string)
        .collect();
    policies.sort();
    match (response.decision(), errors.is_empty()) {
        (Decision::Allow, true) => (Verdict::Allow, policies, errors),
        (Decision::Allow, false) => (Verdict::Deny, Vec::new(), errors),
        (Decision::Deny, _) => (Verdict::Deny, policies, errors),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_slice_answers_as_the_whole_bundle_does(asked in asked()) {
        let question = asked.question();
        let sliced = fresh(&WILD_COMPILED, &question);
        let full = fully(&WILD_BUNDLE, &WILD_SET, &question);
        prop_assert_eq!((sliced.verdict, sliced.policies, sliced.errors), full);
    }
}

#[test]
fn a_slice_holds_a_handful_of_policies() {
    let roles = roles(&["physician"]);
    let compiled = Compiled::new(&SHIPPED);
    let slice = compiled.slice(&question(&roles, Action::Read, "notes"));
    assert!(slice.rules().len() <= 10, "{}", slice.rules().len());
    assert!(SHIPPED.policies().len() >= 80);
}

/// Forbids of every kind of scope and condition.
const FORBIDS: &[&str] = &[
    "forbid (principal, action, resource);",
    r#"forbid (principal in Role::"nurse", action, resource);"#,
    r#"forbid (principal == User::"main|1", action, resource);"#,
    "forbid (principal is Service, action, resource);",
    r#"forbid (principal, action == Action::"Read", resource);"#,
    r#"forbid (principal, action in [Action::"Export", Action::"Search"], resource);"#,
    r#"forbid (principal, action, resource == Section::"notes");"#,
    "forbid (principal, action, resource) when { context.break_glass };",
    "forbid (principal, action, resource) unless { context has patient };",
    r#"forbid (principal, action, resource) when { context has patient && context.patient == Patient::"urn:mrn|1" };"#,
    r"forbid (principal, action, resource) when { context.lockdown + 9223372036854775807 > 0 };",
    r#"forbid (principal, action, resource) when { !(principal in [Role::"nurse", Role::"him"]) };"#,
];

static SMALL_COMPILED: LazyLock<Compiled> = LazyLock::new(|| Compiled::new(&small_with("")));
static WITH_FORBID: LazyLock<Vec<Compiled>> = LazyLock::new(|| {
    FORBIDS
        .iter()
        .map(|forbid| {
            let text = format!("@id(\"more\")\n@doc(\"One more.\")\n{forbid}");
            Compiled::new(&small_with(&text))
        })
        .collect()
});
static WITHOUT_EXPORT: LazyLock<Compiled> = LazyLock::new(|| {
    let (kept, _) = SMALL.split_once("@id(\"export\")").expect("two policies");
    Compiled::new(&load(&[("small.cedar", kept)]).expect("a bundle"))
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_forbid_more_never_admits(asked in asked()) {
        let question = asked.question();
        let before = fresh(&SMALL_COMPILED, &question).verdict;
        for (forbid, compiled) in FORBIDS.iter().zip(WITH_FORBID.iter()) {
            let after = fresh(compiled, &question).verdict;
            prop_assert!(!(before == Verdict::Deny && after == Verdict::Allow), "{}", forbid);
        }
    }

    #[test]
    fn a_permit_less_never_admits(asked in asked()) {
        let question = asked.question();
        let before = fresh(&SMALL_COMPILED, &question).verdict;
        let after = fresh(&WITHOUT_EXPORT, &question).verdict;
        prop_assert!(!(before == Verdict::Deny && after == Verdict::Allow));
    }
}

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
        with(|to, from| to.flags.0 = from.flags.0),
        with(|to, from| to.flags.1 = from.flags.1),
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
        for (generation, step) in (1..).zip(steps) {
            match step {
                Step::Activate(next) => {
                    current = next;
                    policies.activate(BUNDLES[next].0.clone(), generation);
                    prop_assert_eq!(policies.active().generation(), generation);
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
@id("glass") @doc("x") permit (principal, action == Action::"Sign", resource == Section::"summary") unless { context.break_glass };
@id("kind") @doc("x") permit (principal is User, action == Action::"Sign", resource == Section::"log");
@id("role") @doc("x") permit (principal in Role::"nurse", action == Action::"Sign", resource == Section::"shell");
@id("presence") @doc("x") permit (principal, action == Action::"Order", resource) unless { context has patient };
@id("patient") @doc("x") permit (principal, action == Action::"Print", resource) unless { context has patient && context.patient == Patient::"urn:mrn|2" };
@id("person") @doc("x") permit (principal == User::"main|1", action == Action::"Disclose", resource);
@id("person-too") @doc("x") permit (principal, action == Action::"Delete", resource) when { principal is User && [User::"main|1"].contains(principal) };
"#;

#[test]
fn memory_tells_questions_apart_by_each_input() {
    let policies = Policies::new(small_with(BY_INPUT), 1);
    let active = policies.active();
    let (nurse, clerk) = (roles(&["nurse"]), roles(&["registration-clerk"]));
    let (one, two) = (patient("1"), patient("2"));
    let sign = |section| question(&nurse, Action::Sign, section);
    let named = |action| Question {
        patient: Some(&one),
        ..question(&nurse, action, "notes")
    };
    let anyone = |action| question(&nurse, action, "notes");
    let pairs = [
        (
            sign("notes"),
            Question {
                mfa: false,
                ..sign("notes")
            },
        ),
        (
            sign("orders"),
            Question {
                sensitivity: "R",
                ..sign("orders")
            },
        ),
        (
            sign("results"),
            Question {
                emr: "other",
                ..sign("results")
            },
        ),
        (
            sign("imaging"),
            Question {
                care_relation: CareRelation::Assigned,
                ..sign("imaging")
            },
        ),
        (
            sign("billing"),
            Question {
                purpose: Purpose::Payment,
                ..sign("billing")
            },
        ),
        (
            sign("export"),
            Question {
                lockdown: 1,
                ..sign("export")
            },
        ),
        (
            sign("summary"),
            Question {
                break_glass: true,
                ..sign("summary")
            },
        ),
        (
            sign("log"),
            Question {
                kind: PrincipalKind::Service,
                ..sign("log")
            },
        ),
        (
            sign("shell"),
            Question {
                roles: &clerk,
                ..sign("shell")
            },
        ),
        (
            sign("shell"),
            Question {
                section: "administration",
                ..sign("shell")
            },
        ),
        (
            sign("shell"),
            Question {
                action: Action::Update,
                ..sign("shell")
            },
        ),
        (anyone(Action::Order), named(Action::Order)),
        (
            named(Action::Print),
            Question {
                patient: Some(&two),
                ..named(Action::Print)
            },
        ),
        (
            anyone(Action::Disclose),
            Question {
                principal: "main|2",
                ..anyone(Action::Disclose)
            },
        ),
        (
            anyone(Action::Delete),
            Question {
                principal: "main|2",
                ..anyone(Action::Delete)
            },
        ),
    ];
    for (yes, no) in pairs {
        for _ in 0..2 {
            assert_eq!(active.ask(&yes).verdict, Verdict::Allow, "{yes:?}");
            assert_eq!(active.ask(&no).verdict, Verdict::Deny, "{no:?}");
        }
    }
}

#[test]
fn a_policy_that_fails_refuses_whatever_permits() {
    let nurse = roles(&["nurse"]);
    let asked = Question {
        lockdown: 1,
        ..question(&nurse, Action::Read, "notes")
    };
    let calm = Question {
        lockdown: 0,
        ..asked
    };
    for effect in ["permit", "forbid"] {
        let text = format!(
            "@id(\"failing\")\n@doc(\"Fails from level 1 on.\")\n{effect} (principal, action, resource) when {{ context.lockdown + 9223372036854775807 < 0 }};"
        );
        let compiled = Compiled::new(&small_with(&text));
        assert_eq!(fresh(&compiled, &calm).verdict, Verdict::Allow, "{effect}");
        let failed = fresh(&compiled, &asked);
        assert_eq!(failed.verdict, Verdict::Deny, "{effect}");
        assert_eq!(failed.errors, ["failing"], "{effect}");
        assert!(failed.policies.is_empty(), "{effect}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Requests are not checked against the schema one by one because of this.
    #[test]
    fn every_question_conforms_to_the_schema(asked in asked()) {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let path = shipped_directory().join("schema.cedarschema");
            let text = std::fs::read_to_string(path).expect("the schema");
            Schema::from_cedarschema_str(&text).expect("a schema").0
        });
        let known = SHIPPED.vocabulary().sections().contains(&asked.section);
        let question = asked.question();
        let request = SHIPPED.vocabulary().names().request(&question, &asked.principal, Some(&SCHEMA));
        prop_assert_eq!(request.is_ok(), known, "{:?}", request);
    }
}
