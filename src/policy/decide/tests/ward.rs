//! A glass that is broken for a ward: whom it opens is what feeds say when a request is made.

use super::*;
use crate::policy::care::{Builder, Care, Source, Span};

const NOON: &str = "2026-11-22T12:00:00Z";

/// Patient 1 lies on the ward until `moved`, patient 2 all day, patient 3 somewhere else.
fn care(moved: &str, fresh_until: &str) -> Care {
    let mut builder = Builder::new("main");
    let stay = Span {
        until: at(moved).as_second(),
        ..Span::ALWAYS
    };
    for (id, ward, span) in [
        ("1", "ed", stay),
        ("2", "ed", Span::ALWAYS),
        ("3", "icu", Span::ALWAYS),
    ] {
        builder.lies(("urn:mrn", id), ward, span).unwrap();
    }
    Care::of([Source::new(Arc::new(builder.build()), at(fresh_until))])
}

fn circumstances(care: Care) -> Circumstances {
    Circumstances {
        grants: Arc::new([Grant {
            id: "g1".to_owned(),
            reach: Reach::Ward("ed".into()),
            expires: at(NOON),
        }]),
        care,
        ..Circumstances::default()
    }
}

fn nurse(action: Action, section: &'static str, patients: &[&str]) -> Case {
    Case::new(&["nurse"], action, section).on(patients)
}

#[test]
fn it_opens_whoever_lies_there_for_reading_and_nobody_else() {
    let circumstances = circumstances(care(SESSION_END, SESSION_END));
    let decide = |action, section, patients: &[&str]| {
        nurse(action, section, patients).decide(&circumstances)
    };
    for patients in [&["1"][..], &["2"], &["1", "2"]] {
        for section in ["notes", "sensitive"] {
            let open = decide(Action::Read, section, patients).expect("open");
            assert_eq!(open.valid_until(), at(NOON), "{patients:?}");
            let decision = decision(open.received());
            assert_eq!(decision.grant.as_deref(), Some("g1"));
            assert_eq!(decision.purpose, "ETREAT");
            let told = Notice::BreakGlass {
                reach: Reach::Ward("ed".into()),
                until: at(NOON),
            };
            assert_eq!(open.notices(), [told]);
        }
    }
    for patients in [&["3"][..], &["9"], &["1", "3"], &[]] {
        let refused = decide(Action::Read, "sensitive", patients);
        assert!(refused.is_err(), "{patients:?}");
    }
    for action in [
        Action::Print,
        Action::Export,
        Action::Disclose,
        Action::Delete,
        Action::Administer,
        Action::Create,
        Action::Update,
    ] {
        let refused = decide(action, "sensitive", &["1"]).expect_err("refused");
        assert_eq!(refused.refusal(), Refusal::PolicyDenied, "{action:?}");
    }
}

/// Whatever a patient's own glass permits, the ward's does, and no more.
#[test]
fn it_permits_what_a_patient_s_own_glass_does() {
    let in_force = Policies::new(SHIPPED.clone(), 7).in_force();
    let of_ward = circumstances(care(SESSION_END, SESSION_END));
    let own = Circumstances {
        grants: Arc::new([Grant {
            id: "g1".to_owned(),
            reach: Reach::of(&patient("1")),
            expires: at(NOON),
        }]),
        ..of_ward.clone()
    };
    for role in [
        &["nurse"][..],
        &["physician"],
        &["billing"],
        &["front-desk"],
        &["him"],
    ] {
        for action in Action::ALL {
            for section in ["notes", "sensitive", "billing", "summary"] {
                let answer = |circumstances| {
                    let case = Case::new(role, *action, section).on(&["1"]);
                    let decided = in_force.decide(case.mapped(), circumstances, at(NOW));
                    decided
                        .map(|authorized| authorized.valid_until())
                        .map_err(|refused| refused.refusal())
                };
                assert_eq!(
                    answer(&of_ward),
                    answer(&own),
                    "{role:?} {action:?} {section}"
                );
            }
        }
    }
}

#[test]
fn it_ends_with_its_time_with_the_stay_and_with_the_feed() {
    let decide = |care, now: &str| {
        Policies::new(SHIPPED.clone(), 7).in_force().decide(
            nurse(Action::Read, "sensitive", &["1"]).mapped(),
            &circumstances(care),
            at(now),
        )
    };
    let moved = "2026-11-22T11:00:00Z";
    let open = decide(care(moved, SESSION_END), NOW).expect("open");
    assert_eq!(open.valid_until(), at(moved), "the feed says when they go");
    for (care, now) in [
        (care(moved, SESSION_END), moved),
        (care(SESSION_END, SESSION_END), NOON),
        (care(SESSION_END, NOW), NOW),
        (Care::default(), NOW),
    ] {
        let refused = decide(care, now).expect_err("refused");
        assert_eq!(refused.refusal(), Refusal::PolicyDenied, "{now}");
    }
}

/// What is open goes on while it is permitted, and is cut when the standing does not have the grant any more.
#[test]
fn what_goes_on_ends_when_the_declaration_is_lifted() {
    let policies = Policies::new(SHIPPED.clone(), 7);
    policies.relate(&care(SESSION_END, SESSION_END));
    policies.restate(|standing| {
        let grants = circumstances(Care::default()).grants;
        standing.grants.insert("main|1".to_owned(), grants);
    });
    let case = nurse(Action::Read, "sensitive", &["1"]);
    let mapped = case.mapped();
    let principal = Arc::new(mapped.identified().principal().clone());
    let again = |facts: crate::request::Facts| {
        let in_force = policies.in_force();
        let circumstances = in_force.circumstances_of(&principal, Some("main"), None, at(NOW));
        in_force.decide_again(
            facts,
            Arc::clone(&principal),
            at(SESSION_END),
            &circumstances,
            at(NOW),
        )
    };
    let in_force = policies.in_force();
    let circumstances = in_force.circumstances(&mapped, at(NOW));
    let open = in_force
        .decide(mapped, &circumstances, at(NOW))
        .expect("open");
    let mut facts = open.received().facts().clone();
    facts.mapping = Some(Arc::new(open.mapped().mapping().clone()));
    let facts = again(facts);
    assert_eq!(facts.verdict, Ok(at(NOON)));
    let before = policies.generation();
    policies.restate(|standing| standing.grants.clear());
    assert!(policies.generation() > before, "streams are asked about");
    let after = again(facts.facts);
    assert_eq!(after.verdict, Err(Refusal::PolicyDenied));
}
