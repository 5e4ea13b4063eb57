//! Decisions on mapped requests.

mod ward;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Version};
use jiff::Timestamp;

use super::{Active, Authorized, Policies};
use crate::emr::map::Mapped;
use crate::emr::profile::RouteTraits;
use crate::identity::identify::Identified;
use crate::identity::session::SessionId;
use crate::limit::screen::Screened;
use crate::policy::question::{CareRelation, Circumstances, Grant, Purpose, Training};
use crate::policy::shadow::{Difference, Shadow};
use crate::policy::standing::Scope;
use crate::policy::tests::{SHIPPED, SMALL, load, patient, roles, small_with};
use crate::refusal::Refusal;
use crate::request::facts::{Decision, Mapping, Verdict};
use crate::request::principal::{Proof, User};
use crate::request::received::{Connection, Parts};
use crate::request::{
    Action, Body, ClientAddr, Demand, Notice, PatientRef, PeerAddr, Principal, Reach, Received,
    Refused, RequestId, Target,
};

const NOW: &str = "2026-11-22T10:00:00Z";
const SESSION_END: &str = "2026-11-22T18:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn received() -> Received {
    let peer = PeerAddr::new("192.0.2.7:5000".parse().expect("an address"));
    let parts = Parts {
        id: RequestId::new(),
        at: at(NOW),
        method: Method::GET,
        version: Version::HTTP_11,
        host: "emr.example".to_owned(),
        authority: "emr.example".to_owned(),
        target: Target::parse_str("/chart").expect("a target"),
        headers: HeaderMap::new(),
        connection: Connection {
            peer,
            sni: None,
            tls: None,
            certificate: None,
        },
        client: ClientAddr::find(peer, &HeaderMap::new(), &[]),
        upgrade_to: None,
    };
    let mut received = Received::new(parts, Body::empty(), None, 0);
    received.facts_mut().emr = Some("main".to_owned());
    received
}

/// Who asks for what.
struct Case {
    roles: &'static [&'static str],
    auth_time: Option<&'static str>,
    action: Action,
    section: &'static str,
    patients: Vec<PatientRef>,
    demand: Demand,
    phishing_resistant: bool,
}

impl Case {
    fn new(roles: &'static [&'static str], action: Action, section: &'static str) -> Self {
        Self {
            roles,
            auth_time: None,
            action,
            section,
            patients: Vec::new(),
            demand: Demand::NONE,
            phishing_resistant: false,
        }
    }

    fn on(mut self, patients: &[&str]) -> Self {
        self.patients = patients.iter().map(|id| patient(id)).collect();
        self
    }

    fn signed_in(mut self, auth_time: &'static str) -> Self {
        self.auth_time = Some(auth_time);
        self
    }

    fn mapped(&self) -> Mapped {
        let principal = Principal::User(User {
            issuer: "main".to_owned(),
            subject: "1".to_owned(),
            name: "someone".to_owned(),
            roles: roles(self.roles),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: self.auth_time.map(at),
                phishing_resistant: self.phishing_resistant,
            },
            department: None,
        });
        let identified = Identified::for_test(
            Screened::for_test(received()),
            principal,
            SessionId::for_test("a1"),
            at(SESSION_END),
        );
        let traits = RouteTraits {
            websocket: false,
            pass_authorization: false,
            body_limit: 0,
            no_store: true,
        };
        let mapping = Mapping {
            route: "chart".to_owned(),
            action: self.action,
            section: self.section.to_owned(),
            sensitivity: "N".to_owned(),
            information_types: crate::request::situation::Words::new(),
            patients: self.patients.clone(),
            fields: BTreeMap::new(),
            poll: false,
            emr_user: None,
            inspected: crate::request::facts::Inspected::default(),
            demand: self.demand,
            disclosure: None,
        };
        Mapped::for_test(identified, 0, traits, mapping)
    }

    fn decide(&self, circumstances: &Circumstances) -> Result<Authorized, Refused> {
        Policies::new(SHIPPED.clone(), 7)
            .in_force()
            .decide(self.mapped(), circumstances, at(NOW))
    }

    fn refusal(&self) -> Refusal {
        self.decide(&Circumstances::default())
            .expect_err("refused")
            .refusal()
    }
}

fn decision(received: &Received) -> &Decision {
    received.facts().decision.as_ref().expect("a decision")
}

#[test]
fn a_permit_is_on_record_with_every_input() {
    let circumstances = Circumstances {
        purpose: Purpose::Treatment,
        ..Circumstances::default()
    };
    let authorized = Case::new(&["nurse"], Action::Read, "notes")
        .on(&["1"])
        .decide(&circumstances)
        .expect("permitted");
    assert_eq!(authorized.received().facts().generation, 7);
    assert_eq!(
        decision(authorized.received()),
        &Decision {
            verdict: Verdict::Allow,
            policies: vec!["nurse-chart".to_owned()],
            errors: Vec::new(),
            care_relation: "unknown".to_owned(),
            purpose: "TREAT".to_owned(),
            lockdown: 0,
            zone: "unknown".to_owned(),
            training: "unknown".to_owned(),
            grant: None,
            obligations: Vec::new(),
            considered: Vec::new(),
            reasons: Vec::new(),
            shadow: None,
            stated: Vec::new(),
        }
    );
    assert_eq!(authorized.valid_until(), at(SESSION_END));
}

#[test]
fn a_refusal_is_on_record_too() {
    let circumstances = Circumstances {
        lockdown: 4,
        zone: Arc::from("on-site"),
        ..Circumstances::default()
    };
    let refused = Case::new(&["nurse"], Action::Read, "notes")
        .decide(&circumstances)
        .expect_err("refused");
    assert_eq!(refused.refusal(), Refusal::Downtime);
    assert_eq!(refused.facts().generation, 7);
    let decision = refused.facts().decision.as_ref().expect("a decision");
    assert_eq!(decision.verdict, Verdict::Deny);
    assert_eq!(decision.policies, ["lockdown-4-downtime"]);
    assert_eq!(decision.lockdown, 4);
}

#[test]
fn lockdown_asks_for_a_fresh_sign_in_and_closes_whatever_the_bundle_says() {
    let writing = r#"@id("write") @doc("x") permit (principal in Role::"nurse",
        action in [Action::"Create", Action::"Print"], resource);"#;
    let policies = Policies::new(small_with(writing), 1);
    let decide = |case: &Case, lockdown| {
        let circumstances = Circumstances {
            lockdown,
            ..Circumstances::default()
        };
        let in_force = policies.in_force();
        in_force.decide(case.mapped(), &circumstances, at(NOW))
    };
    let nurse = |action| Case::new(&["nurse"], action, "notes").on(&["1"]);
    for action in [Action::Read, Action::Search, Action::Create, Action::Print] {
        let fresh = nurse(action).signed_in("2026-11-22T09:59:00Z");
        let stale = nurse(action).signed_in("2026-11-22T09:54:00Z");
        for lockdown in 1..=3 {
            let authorized = decide(&fresh, lockdown).expect("permitted by this bundle");
            let obliged = decision(authorized.received()).obligations == ["stepup=300s"];
            assert_eq!(obliged, !action.only_looks(), "{action:?}");
            let refusal = decide(&stale, lockdown).map_err(|refused| refused.refusal());
            let asks = matches!(refusal, Err(Refusal::StepUpRequired));
            assert_eq!(asks, !action.only_looks(), "{action:?}");
        }
        let refused = decide(&fresh, 4).expect_err("closed");
        assert_eq!(refused.refusal(), Refusal::Downtime);
        let decision = refused.facts().decision.as_ref().expect("a decision");
        assert_eq!(decision.verdict, Verdict::Deny);
        assert!(decision.obligations.is_empty());
    }
}

#[test]
fn a_broken_glass_opens_the_frame_that_lockdown_closed_and_the_record_names_it() {
    let frame = Case::new(&["privacy-officer"], Action::Navigate, "shell");
    let grants: Arc<[Grant]> = Arc::new([Grant {
        id: "g1".to_owned(),
        reach: Reach::of(&patient("1")),
        expires: at("2026-11-22T12:00:00Z"),
    }]);
    let decide = |lockdown, grants: &Arc<[Grant]>| {
        let circumstances = Circumstances {
            lockdown,
            grants: Arc::clone(grants),
            ..Circumstances::default()
        };
        frame.decide(&circumstances)
    };
    let authorized = decide(3, &grants).expect("the frame is open");
    let recorded = decision(authorized.received()).grant.as_deref();
    assert_eq!(recorded, Some("g1"));
    assert_eq!(authorized.valid_until(), at("2026-11-22T12:00:00Z"));
    let authorized = decide(0, &grants).expect("permitted");
    assert_eq!(decision(authorized.received()).grant, None, "it needs none");
    let refused = decide(3, &Arc::default()).expect_err("refused");
    assert_eq!(refused.refusal(), Refusal::PolicyDenied);
    let refused = decide(4, &grants).expect_err("refused");
    assert_eq!(refused.refusal(), Refusal::Downtime);
}

#[test]
fn each_no_has_its_own_reason() {
    let refusal = |roles, action, section| Case::new(roles, action, section).refusal();
    assert_eq!(
        refusal(&["billing"], Action::Read, "notes"),
        Refusal::PolicyDenied
    );
    assert_eq!(
        refusal(&["it-admin"], Action::Unmapped, "unmapped"),
        Refusal::Unmapped
    );
    assert_eq!(refusal(&[], Action::Navigate, "shell"), Refusal::NoRole);
    let mut nameless = Case::new(&["nurse"], Action::Read, "notes").mapped();
    nameless.received_mut().facts_mut().emr = None;
    let refused = Policies::new(SHIPPED.clone(), 7)
        .in_force()
        .decide(nameless, &Circumstances::default(), at(NOW))
        .expect_err("refused");
    assert_eq!(refused.refusal(), Refusal::Internal);
}

#[test]
fn a_failing_policy_is_named_and_refuses() {
    let failing = r#"@id("failing") @doc("x") forbid (principal, action, resource)
        when { context.lockdown + 9223372036854775807 < 0 };"#;
    let policies = Policies::new(small_with(failing), 1);
    let circumstances = Circumstances {
        lockdown: 1,
        ..Circumstances::default()
    };
    let mapped = Case::new(&["nurse"], Action::Read, "notes").mapped();
    let refused = policies
        .in_force()
        .decide(mapped, &circumstances, at(NOW))
        .expect_err("refused");
    assert_eq!(refused.refusal(), Refusal::PolicyError);
    let decision = refused.facts().decision.as_ref().expect("a decision");
    assert_eq!(decision.errors, ["failing"]);
    assert_eq!(decision.verdict, Verdict::Deny);
}

#[test]
fn every_patient_must_be_permitted() {
    let closed = r#"@id("closed") @doc("x") forbid (principal, action, resource)
        when { context has patient && context.patient == Patient::"urn:mrn|2" };"#;
    let policies = Policies::new(small_with(closed), 1);
    let decide = |patients: &[&str]| {
        let mapped = Case::new(&["nurse"], Action::Read, "notes")
            .on(patients)
            .mapped();
        policies
            .in_force()
            .decide(mapped, &Circumstances::default(), at(NOW))
    };
    assert!(decide(&["1", "3"]).is_ok());
    for patients in [["1", "2"], ["2", "1"]] {
        let refused = decide(&patients).expect_err("refused");
        let decision = refused.facts().decision.as_ref().expect("a decision");
        assert_eq!(decision.policies, ["closed"], "{patients:?}");
    }
}

#[test]
fn a_step_up_asks_for_a_sign_in_that_is_fresh_and_known() {
    let export = || Case::new(&["him"], Action::Export, "notes").on(&["1"]);
    assert_eq!(export().refusal(), Refusal::StepUpRequired);
    for (auth_time, until) in [
        ("2026-11-22T09:54:59Z", None),
        ("2026-11-22T09:55:00Z", Some("2026-11-22T10:00:00Z")),
        ("2026-11-22T09:59:00Z", Some("2026-11-22T10:04:00Z")),
        ("2026-11-22T10:01:00Z", Some("2026-11-22T10:05:00Z")),
        ("2026-11-22T10:01:01Z", None),
        ("2036-11-22T10:00:00Z", None),
    ] {
        let result = export()
            .signed_in(auth_time)
            .decide(&Circumstances::default());
        match (result, until) {
            (Ok(authorized), Some(until)) => {
                assert_eq!(authorized.valid_until(), at(until), "{auth_time}");
                assert_eq!(decision(authorized.received()).obligations, ["stepup=300s"]);
            }
            (Err(refused), None) => {
                assert_eq!(refused.refusal(), Refusal::StepUpRequired, "{auth_time}");
            }
            (Ok(_), None) => panic!("{auth_time}: permitted"),
            (Err(refused), Some(_)) => panic!("{auth_time}: {:?}", refused.refusal()),
        }
    }
}

/// What the profile demands adds to what the policies oblige, whatever they say.
#[test]
fn the_route_s_demand_and_the_policy_s_both_count() {
    use crate::request::Factor;
    let writing = r#"@id("notes-read") @doc("x") @mfa @stepup("600s") permit (principal in Role::"nurse",
        action == Action::"Read", resource);"#;
    let policies = Policies::new(small_with(writing), 1);
    let decide = |route: Demand, resistant: bool, auth_time: Option<&'static str>| {
        let mut case = Case::new(&["nurse"], Action::Read, "notes");
        case.auth_time = auth_time;
        case.demand = route;
        case.phishing_resistant = resistant;
        let in_force = policies.in_force();
        in_force.decide(case.mapped(), &Circumstances::default(), at(NOW))
    };
    let five = Demand::new(Some(Duration::from_mins(5)), Factor::PhishingResistant);
    let recent = Some("2026-11-22T09:58:00Z");
    let authorized = decide(five, true, recent).expect("met");
    let both = ["stepup=300s", "factor=phishing-resistant"];
    assert_eq!(decision(authorized.received()).obligations, both);
    assert_eq!(authorized.valid_until(), at("2026-11-22T10:03:00Z"));
    for (resistant, auth_time) in [
        (false, recent),
        (true, Some("2026-11-22T09:54:59Z")),
        (true, None),
    ] {
        let refused = decide(five, resistant, auth_time).expect_err("not met");
        assert_eq!(refused.refusal(), Refusal::StepUpRequired);
        assert_eq!(refused.onward().demand, Some(five));
        let decision = refused.facts().decision.as_ref().expect("a decision");
        assert_eq!(decision.obligations, both);
    }
    let plain = decide(Demand::NONE, false, recent).expect("met");
    assert_eq!(
        decision(plain.received()).obligations,
        ["stepup=600s", "mfa"]
    );
    let weaker = Demand::fresh(Duration::from_mins(20));
    let stale = decide(weaker, false, Some("2026-11-22T09:49:00Z")).expect_err("too old");
    assert_eq!(stale.refusal(), Refusal::StepUpRequired);
}

#[test]
fn a_step_up_is_checked_anew_each_time() {
    let policies = Policies::new(SHIPPED.clone(), 1);
    let case = Case::new(&["him"], Action::Export, "notes").signed_in("2026-11-22T09:58:00Z");
    let decide = |now: &str| {
        policies
            .in_force()
            .decide(case.mapped(), &Circumstances::default(), at(now))
            .map_err(|refused| refused.refusal())
            .map(|_| ())
    };
    assert_eq!(decide("2026-11-22T10:03:00Z"), Ok(()));
    assert_eq!(decide("2026-11-22T10:03:01Z"), Err(Refusal::StepUpRequired));
}

#[test]
fn a_grant_opens_one_patient_s_chart_until_it_ends() {
    let decide = |patients: &[&str], expires: &str| {
        let circumstances = Circumstances {
            care_relation: CareRelation::Unrelated,
            grants: Arc::new([Grant {
                id: "g1".to_owned(),
                reach: Reach::of(&patient("1")),
                expires: at(expires),
            }]),
            ..Circumstances::default()
        };
        Case::new(&["nurse"], Action::Read, "notes")
            .on(patients)
            .decide(&circumstances)
    };
    let open = decide(&["1"], "2026-11-22T12:00:00Z").expect("open");
    assert_eq!(open.valid_until(), at("2026-11-22T12:00:00Z"));
    assert_eq!(decision(open.received()).grant.as_deref(), Some("g1"));
    assert!(decide(&["2"], "2026-11-22T12:00:00Z").is_err());
    assert!(decide(&["1", "2"], "2026-11-22T12:00:00Z").is_err());
    assert!(decide(&[], "2026-11-22T12:00:00Z").is_err());
    assert!(decide(&["1"], NOW).is_err());
}

#[test]
fn what_goes_on_is_decided_again_for_who_it_is_now_and_by_the_policies_in_force() {
    let policies = Policies::new(SHIPPED.clone(), 1);
    let case = Case::new(&["him"], Action::Export, "notes").signed_in("2026-11-22T09:58:00Z");
    let mapped = case.mapped();
    let authorized = policies
        .in_force()
        .decide(mapped, &Circumstances::default(), at(NOW));
    let authorized = authorized.expect("permitted");
    let mut facts = authorized.received().facts().clone();
    facts.mapping = Some(Arc::new(authorized.mapped().mapping().clone()));
    let again = |principal: &Principal, now: &str| {
        let (facts, principal) = (facts.clone(), Arc::new(principal.clone()));
        let end = at(SESSION_END);
        let in_force = policies.in_force();
        in_force.decide_again(facts, principal, end, &Circumstances::default(), at(now))
    };
    let before = authorized.mapped().identified().principal();
    let late = "2026-11-22T10:03:01Z";
    let stale = again(before, late);
    assert_eq!(stale.verdict, Err(Refusal::StepUpRequired));
    let fresh = case.signed_in("2026-11-22T10:02:00Z").mapped();
    let fresh = again(fresh.identified().principal(), late);
    assert_eq!(fresh.verdict, Ok(at("2026-11-22T10:07:00Z")));
    assert_eq!(fresh.facts.generation, 1);
    let nobody = Case::new(&[], Action::Export, "notes").mapped();
    let nobody = again(nobody.identified().principal(), NOW);
    assert_eq!(nobody.verdict, Err(Refusal::NoRole));
    policies.activate(&Arc::new(Active::new(small_with(""))));
    let other = again(before, NOW);
    assert_eq!(other.verdict, Err(Refusal::PolicyDenied));
    assert_eq!(other.facts.generation, 2);
    assert_eq!(other.facts.decision.map(|d| d.verdict), Some(Verdict::Deny));
}

#[test]
fn a_refusal_that_breaking_the_glass_would_lift_is_an_offer() {
    let policies = Policies::new(SHIPPED.clone(), 1);
    let decide = |case: &Case, lockdown: u8| {
        let mut mapped = case.mapped();
        let (principal, mapping) = (
            mapped.identified().principal().clone(),
            mapped.mapping().clone(),
        );
        let facts = mapped.received_mut().facts_mut();
        facts.principal = Some(Arc::new(principal));
        facts.session = Some("a1".to_owned());
        facts.mapping = Some(Arc::new(mapping));
        let circumstances = Circumstances {
            lockdown,
            ..Circumstances::default()
        };
        policies
            .in_force()
            .decide(mapped, &circumstances, at(NOW))
            .expect_err("refused")
    };
    let closed = || Case::new(&["nurse"], Action::Read, "sensitive");
    for lockdown in 0..=3 {
        let refused = decide(&closed().on(&["7"]), lockdown);
        assert_eq!(refused.refusal(), Refusal::BreakGlassOffered, "{lockdown}");
        let offer = refused.offer().expect("an offer");
        assert_eq!(offer.patient, patient("7"));
        assert_eq!(
            (offer.user.as_str(), offer.session.as_str()),
            ("main|1", "a1")
        );
        assert_eq!(offer.return_to, "/chart");
    }
    for (case, lockdown) in [
        (closed().on(&["7"]), 4),
        (closed(), 0),
        (closed().on(&["7", "8"]), 0),
        (
            Case::new(&["nurse"], Action::Update, "sensitive").on(&["7"]),
            0,
        ),
        (
            Case::new(&["nurse"], Action::Print, "sensitive").on(&["7"]),
            0,
        ),
        (
            Case::new(&["billing"], Action::Read, "sensitive").on(&["7"]),
            0,
        ),
    ] {
        let refused = decide(&case, lockdown);
        let told = if lockdown == 4 {
            Refusal::Downtime
        } else {
            Refusal::PolicyDenied
        };
        assert_eq!(refused.refusal(), told);
        assert!(refused.offer().is_none());
    }
}

#[test]
fn an_overdue_course_makes_the_emr_read_only_and_never_stops_breaking_the_glass() {
    let decide = |roles, action, section, training, broken| {
        let case = Case::new(roles, action, section).on(&["7"]);
        let grants: &[Grant] = &[Grant {
            id: "bg".to_owned(),
            reach: Reach::of(&patient("7")),
            expires: at(SESSION_END),
        }];
        case.decide(&Circumstances {
            care_relation: CareRelation::Assigned,
            training,
            grants: if broken {
                Arc::from(grants)
            } else {
                Arc::default()
            },
            ..Circumstances::default()
        })
        .map_err(|refused| refused.refusal())
        .map(drop)
    };
    for action in [Action::Create, Action::Update, Action::Order, Action::Sign] {
        let asked = |training, broken| {
            let section = if action == Action::Update {
                "summary"
            } else {
                "notes"
            };
            decide(&["physician"], action, section, training, broken)
        };
        let before = asked(Training::Urgent, false);
        for training in [Training::Unknown, Training::Current, Training::Due] {
            assert_eq!(asked(training, false), before, "{action:?}");
        }
        if before.is_ok() {
            assert_eq!(asked(Training::Lapsed, false), Err(Refusal::TrainingLapsed));
            assert_eq!(asked(Training::Lapsed, true), Ok(()), "{action:?}");
        } else {
            // What is refused anyway is not blamed on the course.
            assert_eq!(asked(Training::Lapsed, false), before, "{action:?}");
        }
    }
    assert_eq!(
        decide(
            &["physician"],
            Action::Create,
            "notes",
            Training::Lapsed,
            false
        ),
        Err(Refusal::TrainingLapsed)
    );
    for training in Training::ALL {
        assert_eq!(
            decide(&["physician"], Action::Read, "notes", *training, false),
            Ok(())
        );
        assert_eq!(
            decide(&["nurse"], Action::Read, "sensitive", *training, true),
            Ok(())
        );
    }
}

#[test]
fn a_bundle_that_closes_charts_to_the_late_still_offers_to_break_the_glass() {
    let bundle = small_with(
        r#"@id("late") @doc("Who is late reads nothing.")
        forbid (principal, action, resource) when { context.training == "lapsed" } unless { context.break_glass };"#,
    );
    let mut mapped = Case::new(&["nurse"], Action::Read, "notes")
        .on(&["7"])
        .mapped();
    let mapping = mapped.mapping().clone();
    let principal = mapped.identified().principal().clone();
    let facts = mapped.received_mut().facts_mut();
    facts.principal = Some(Arc::new(principal));
    facts.session = Some("a1".to_owned());
    facts.mapping = Some(Arc::new(mapping));
    let circumstances = Circumstances {
        training: Training::Lapsed,
        ..Circumstances::default()
    };
    let refused = Policies::new(bundle, 1)
        .in_force()
        .decide(mapped, &circumstances, at(NOW))
        .expect_err("refused");
    assert_eq!(refused.refusal(), Refusal::BreakGlassOffered);
}

#[test]
fn what_is_out_of_the_ordinary_is_told() {
    let due = at("2026-12-01T00:00:00Z");
    let told = |training, lockdown| {
        let circumstances = Circumstances {
            lockdown,
            training,
            training_due: Some(due),
            grants: Arc::new([Grant {
                id: "g1".to_owned(),
                reach: Reach::of(&patient("1")),
                expires: at("2026-11-22T12:00:00Z"),
            }]),
            ..Circumstances::default()
        };
        let case = Case::new(&["nurse"], Action::Read, "notes").on(&["1"]);
        let authorized = case.decide(&circumstances).expect("permitted");
        authorized.notices().to_vec()
    };
    let broken = Notice::BreakGlass {
        reach: Reach::of(&patient("1")),
        until: at("2026-11-22T12:00:00Z"),
    };
    assert_eq!(told(Training::Current, 0), std::slice::from_ref(&broken));
    assert_eq!(
        told(Training::Due, 1),
        [
            broken.clone(),
            Notice::Lockdown { level: 1 },
            Notice::TrainingDue { by: due }
        ]
    );
    assert_eq!(
        told(Training::Lapsed, 0),
        [broken, Notice::TrainingLapsed { since: due }]
    );
    let ordinary = Case::new(&["nurse"], Action::Read, "notes")
        .on(&["1"])
        .decide(&Circumstances::default())
        .expect("permitted");
    assert!(ordinary.notices().is_empty());
}

#[test]
fn a_new_bundle_decides_from_then_on() {
    let policies = Policies::new(SHIPPED.clone(), 1);
    let case = Case::new(&["student"], Action::Read, "notes");
    let decide = || {
        policies
            .in_force()
            .decide(case.mapped(), &Circumstances::default(), at(NOW))
    };
    assert_eq!(
        decide().expect("permitted").received().facts().generation,
        1
    );
    let generation = policies.activate(&Arc::new(Active::new(small_with(""))));
    assert_eq!(generation, 2);
    let refused = decide().expect_err("refused");
    assert_eq!(refused.facts().generation, 2);
}

#[test]
fn every_change_has_a_generation_of_its_own_and_keeps_the_rest() {
    let policies = Policies::new(SHIPPED.clone(), 1);
    let small = Arc::new(Active::new(small_with("")));
    std::thread::scope(|scope| {
        for level in 1..=4_u8 {
            let (policies, small) = (&policies, &small);
            scope.spawn(move || {
                for _ in 0..50 {
                    policies.restate(|standing| {
                        standing
                            .lockdowns
                            .insert(Scope::User(level.to_string()), level);
                    });
                    policies.activate(small);
                }
            });
        }
    });
    assert_eq!(policies.generation(), 401);
    assert_eq!(policies.standing().lockdowns.len(), 4);
    assert_eq!(policies.active().bundle().policies().len(), 2);
}

/// What calendars and feeds say is considered, on record, and bounds how long a permission holds.
#[test]
fn a_shift_and_a_feed_are_considered_on_record_and_end_what_they_permit() {
    use crate::policy::care::{Builder, Care, Link, Sensitivity, Source, Span};
    let policy = r#"@id("day-team") @doc("x") permit (principal in Role::"nurse", action == Action::"Update", resource)
        when { context.shifts.contains("day") && context.care_relation == "assigned" && context.sensitivity == "R" };"#;
    let calendars =
        "time_zone = \"UTC\"\n[[shift]]\nname = \"day\"\nfrom = \"06:00\"\nto = \"14:00\"\n";
    let bundle = load(&[("more.cedar", policy), ("calendars.toml", calendars)]);
    let policies = Policies::new(bundle.expect("sound"), 1);
    let until = |text: &str| Span {
        until: at(text).as_second(),
        ..Span::ALWAYS
    };
    let mut feed = Builder::new("main");
    let (one, two) = (("urn:mrn", "1"), ("urn:mrn", "2"));
    for patient in [one, two] {
        feed.mark(patient, Some(Sensitivity::Restricted), &["PSY"])
            .expect("room");
        feed.lies(patient, "3-west", Span::ALWAYS).expect("room");
    }
    feed.relate("someone", one, until("2026-11-22T12:00:00Z"), Link::Team)
        .expect("room");
    let generation = policies.generation();
    let source = Source::new(Arc::new(feed.build()), at("2026-11-23T10:00:00Z"));
    policies.relate(&Care::of([source]));
    assert_eq!(
        policies.generation(),
        generation,
        "a feed is no change of policy"
    );
    let decide = |patients: &[&str], now: &str| {
        let mapped = Case::new(&["nurse"], Action::Update, "notes")
            .on(patients)
            .mapped();
        let in_force = policies.in_force();
        let circumstances = in_force.circumstances(&mapped, at(now));
        in_force.decide(mapped, &circumstances, at(now))
    };
    let permitted = decide(&["1"], NOW).expect("permitted");
    assert_eq!(
        permitted.valid_until(),
        at("2026-11-22T12:00:00Z"),
        "the relation ends"
    );
    let recorded = decision(permitted.received());
    assert_eq!(recorded.care_relation, "assigned");
    let [considered] = recorded.considered.as_slice() else {
        panic!("{recorded:?}");
    };
    assert_eq!(considered.sensitivity.as_deref(), Some("R"));
    assert_eq!(considered.care_relation, None, "as of the whole");
    assert!(considered.situation.shifts.contains("day"));
    assert!(considered.situation.information_types.contains("PSY"));
    assert_eq!(considered.situation.patient_ward.as_deref(), Some("3-west"));
    let text = serde_json::to_string(recorded).expect("written");
    assert_eq!(
        &serde_json::from_str::<Decision>(&text).expect("read"),
        recorded
    );
    // One of two patients is a stranger's: none, and the record says of whom.
    let refused = decide(&["1", "2"], NOW).expect_err("refused");
    let recorded = refused.facts().decision.as_ref().expect("a decision");
    let relations: Vec<_> = recorded
        .considered
        .iter()
        .map(|one| one.care_relation.as_deref())
        .collect();
    assert_eq!(relations, [Some("assigned"), None]);
    assert_eq!(recorded.care_relation, "none");
    assert!(
        decide(&["1"], "2026-11-22T05:59:59Z").is_err(),
        "before the shift"
    );
    assert!(
        decide(&["1"], "2026-11-22T12:00:00Z").is_err(),
        "after the relation"
    );
}

#[test]
fn a_record_of_before_is_read_as_one_of_which_nothing_more_is_known() {
    let old = r#"{"verdict":"allow","care_relation":"unknown","purpose":"unknown","lockdown":0}"#;
    assert!(
        serde_json::from_str::<Decision>(old)
            .expect("read")
            .considered
            .is_empty()
    );
}

#[test]
fn a_permission_for_a_fresh_sign_in_ends_when_it_is_fresh_no_more() {
    let policy = r#"@id("fresh") @doc("x") permit (principal in Role::"nurse", action == Action::"Update", resource)
        when { context.auth_age <= 300 && context.mfa_strength == "phishing-resistant" && context.device == "personal" };"#;
    let policies = Policies::new(small_with(policy), 1);
    let decide = |signed_in: &'static str, now: &str| {
        let mut case = Case::new(&["nurse"], Action::Update, "notes").signed_in(signed_in);
        case.phishing_resistant = true;
        let (mapped, in_force) = (case.mapped(), policies.in_force());
        let circumstances = in_force.circumstances(&mapped, at(now));
        in_force.decide(mapped, &circumstances, at(now))
    };
    let permitted = decide("2026-11-22T09:56:00Z", NOW).expect("permitted");
    assert_eq!(permitted.valid_until(), at("2026-11-22T10:01:01Z"));
    assert!(decide("2026-11-22T09:55:00Z", NOW).is_ok());
    assert!(decide("2026-11-22T09:54:59Z", NOW).is_err());
    // What goes on is decided again for the device that it was decided for.
    let mut facts = permitted.received().facts().clone();
    facts.mapping = Some(Arc::new(permitted.mapped().mapping().clone()));
    let principal = Arc::new(permitted.mapped().identified().principal().clone());
    let again = |now: &str| {
        let in_force = policies.in_force();
        let circumstances = in_force.circumstances_of(&principal, Some("main"), None, at(now));
        let end = at(SESSION_END);
        in_force.decide_again(
            facts.clone(),
            Arc::clone(&principal),
            end,
            &circumstances,
            at(now),
        )
    };
    assert_eq!(again(NOW).verdict, Ok(at("2026-11-22T10:01:01Z")));
    assert_eq!(
        again("2026-11-22T10:01:01Z").verdict,
        Err(Refusal::PolicyDenied)
    );
}

/// What differs may be the bundle's idea of where somebody is.
#[test]
fn a_candidate_in_the_shadow_is_asked_about_its_own_zones() {
    let networks = "[[zone]]\nname = \"vendor\"\nnetworks = [\"192.0.2.0/24\"]\n";
    let forbid = r#"@id("no-vendors") @doc("x") forbid (principal, action, resource) when { context.zone == "vendor" };"#;
    let files = [
        ("small.cedar", SMALL),
        ("more.cedar", forbid),
        ("networks.toml", networks),
    ];
    let candidate = load(&files).expect("a candidate");
    let shadow = Arc::new(Shadow::new(candidate, at(NOW), at(SESSION_END)));
    let policies = Policies::new(small_with(""), 7);
    policies.set_shadow(Some(&shadow));
    assert_eq!(policies.generation(), 7, "it decides nothing");
    let ask = |now: &str| {
        let in_force = policies.in_force();
        let mapped = Case::new(&["nurse"], Action::Read, "notes").mapped();
        let circumstances = in_force.circumstances(&mapped, at(now));
        let permitted = in_force.decide(mapped, &circumstances, at(now));
        let decision = decision(permitted.expect("permitted").received()).clone();
        assert_eq!(decision.zone, "unknown");
        decision.shadow.map(|shadow| shadow.policies)
    };
    assert_eq!(ask(NOW), Some(vec!["no-vendors".to_owned()]));
    assert_eq!(shadow.counted(Difference::Refused), 1);
    assert_eq!(ask(SESSION_END), None, "its time is over");
    assert_eq!(shadow.compared(), 1);
}
