//! The room without the request path: who may break the glass how often, what survives a restart, what time does.

mod ward;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::audit::entry::Entry;
use crate::audit::fixture::{configured, limits};
use crate::audit::log::{RealFiles, Truncation};
use crate::audit::show::{Filter, Show};
use crate::clock::ManualClock;
use crate::policy::bundle::Bundle;
use crate::request::facts::PatientSource;
use crate::request::principal::{Proof, User};
use crate::request::{Action, OfferedWard, PatientRef, Reach};
use crate::secret::Secret;
use crate::store::MemoryStore;
use crate::store::memory::Fault;

struct House {
    room: BreakGlass,
    clock: Arc<ManualClock>,
    home: MemoryStore,
    audit: config::Audit,
    policies: Arc<Policies>,
    dir: TempDir,
}

/// A provider that is there.
#[derive(Debug)]
struct Answering;

impl Confirms for Answering {
    fn answers<'a>(&'a self, _issuer: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async { true })
    }
}

fn start() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

/// A room over the store `home`, with a trail of its own.
async fn over(home: MemoryStore, clock: Arc<ManualClock>) -> House {
    let dir = tempfile::tempdir().unwrap();
    let audit = configured(dir.path());
    let shared: SharedClock = clock.clone();
    let secret = Secret::new(vec![7; 32]);
    let store = Store::open(Box::new(home.clone()), &secret, shared.clone())
        .await
        .unwrap();
    let (trail, _) = Audit::open(
        &audit,
        &limits(),
        Arc::new(RealFiles),
        shared.clone(),
        Truncation::Refuse,
    )
    .await
    .unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let policies = Arc::new(Policies::new(Bundle::load(&shipped).unwrap(), 1));
    let room = BreakGlass::open(Ground {
        settings: config::BreakGlass {
            duration: Duration::from_hours(4),
            fresh: Duration::from_mins(5),
            per_day: 3,
            review_within: Duration::from_hours(24),
        },
        store,
        audit: trail,
        trail: audit.directory.clone(),
        master: Arc::new(MasterKey::read(&audit.master_key).unwrap()),
        policies: policies.clone(),
        offers: Arc::new(Offers::new(&secret).unwrap()),
        providers: Arc::new(Answering),
        clock: shared,
    })
    .await
    .unwrap();
    House {
        room,
        clock,
        home,
        audit,
        policies,
        dir,
    }
}

async fn open() -> House {
    over(MemoryStore::default(), Arc::new(ManualClock::new(start()))).await
}

fn stated(name: &str, patient: &str) -> Stated {
    let principal = Principal::User(User {
        issuer: "main".to_owned(),
        subject: format!("sub-{name}"),
        name: name.to_owned(),
        roles: BTreeSet::new(),
        proof: Proof {
            acr: None,
            amr: Vec::new(),
            mfa: true,
            auth_time: Some(start()),
            phishing_resistant: false,
        },
        department: None,
    });
    let facts = Facts {
        request: "r1".to_owned(),
        trace: None,
        client: "192.0.2.1".to_owned(),
        peer: None,
        tls: None,
        emr: None,
        method: "POST".to_owned(),
        path: "/.chartgate/break-glass".to_owned(),
        principal: Some(Arc::new(principal.clone())),
        session: Some("a1".to_owned()),
        mapping: None,
        decision: None,
        generation: 1,
        bundle: None,
    };
    Stated {
        offer: Offer {
            user: principal.id(),
            session: "a1".to_owned(),
            authority: "emr.example".to_owned(),
            emr: "main".to_owned(),
            route: "sensitive".to_owned(),
            action: Action::Read,
            section: "sensitive".to_owned(),
            sensitivity: "R".to_owned(),
            patient: PatientRef {
                system: "urn:mrn".to_owned(),
                id: patient.to_owned(),
                source: PatientSource::Sticky,
            },
            policies: Vec::new(),
            return_to: "/chart/sensitive".to_owned(),
            at: start(),
            unconfirmed: false,
            ward: None,
        },
        choice: Choice::Patient,
        principal,
        facts,
        reason: Reason::Emergency,
        text: "Unconscious after a fall.".to_owned(),
    }
}

impl House {
    fn trail(&self) -> Vec<Entry> {
        let master = Arc::new(MasterKey::read(&self.audit.master_key).unwrap());
        let mut show = Show::new(
            Arc::new(RealFiles),
            &self.audit.directory,
            master,
            Filter::default(),
            u64::MAX,
        );
        std::iter::from_fn(|| show.next_match().unwrap().map(|shown| shown.entry)).collect()
    }

    fn alarms(&self, rule: &str) -> usize {
        let of_rule = |entry: &Entry| {
            entry.event == Some(Event::Alarm) && entry.detail.get("rule").is_some_and(|r| r == rule)
        };
        self.trail().iter().filter(|entry| of_rule(entry)).count()
    }

    /// The patients whose charts are open to `name`.
    fn in_force(&self, name: &str) -> Vec<String> {
        let grants = self
            .policies
            .standing()
            .grants_of(&format!("main|sub-{name}"));
        let of = |reach: &Reach| match reach {
            Reach::Patient { number, .. } => number.clone(),
            Reach::Ward(name) => format!("ward {name}"),
        };
        grants.iter().map(|grant| of(&grant.reach)).collect()
    }
}

#[tokio::test]
async fn a_broken_glass_is_stored_recorded_in_force_and_alarmed_about() {
    let house = open().await;
    let glass = house
        .room
        .break_it(stated("nurse.lind", "7"))
        .await
        .unwrap();
    assert_eq!(house.in_force("nurse.lind"), ["7"]);
    assert!(house.in_force("dr.okafor").is_empty());
    let trail = house.trail();
    let event = trail
        .iter()
        .find(|entry| entry.event == Some(Event::BreakGlass))
        .unwrap();
    assert_eq!(event.patients().next().unwrap().id, "7");
    assert_eq!(event.detail["reason"], "OVRER");
    assert_eq!(event.detail["grant"], glass.id);
    assert_eq!(event.detail["text"], "Unconscious after a fall.");
    assert_eq!(house.alarms("break-glass"), 1);
    // Sent twice, it is the same grant.
    let again = house
        .room
        .break_it(stated("nurse.lind", "7"))
        .await
        .unwrap();
    assert_eq!(again.id, glass.id);
    assert_eq!(house.alarms("break-glass"), 1);
    drop(house.dir);
}

#[tokio::test]
async fn one_user_has_three_a_day_and_the_fourth_alarms() {
    let house = open().await;
    for patient in ["1", "2", "3"] {
        house
            .room
            .break_it(stated("nurse.lind", patient))
            .await
            .unwrap();
    }
    let fourth = house.room.break_it(stated("nurse.lind", "4")).await;
    assert!(matches!(fourth, Err(Stopped::Quota(3))), "{fourth:?}");
    assert_eq!(house.alarms("break-glass-quota"), 1);
    assert_eq!(house.in_force("nurse.lind").len(), 3);
    // Others are not counted with them, and what is open is found again.
    house.room.break_it(stated("dr.okafor", "4")).await.unwrap();
    house
        .room
        .break_it(stated("nurse.lind", "2"))
        .await
        .unwrap();
    house.clock.advance(Duration::from_hours(24));
    house
        .room
        .break_it(stated("nurse.lind", "4"))
        .await
        .unwrap();
}

#[tokio::test]
async fn grants_survive_a_restart_and_end_in_their_time() {
    let house = open().await;
    let glass = house
        .room
        .break_it(stated("nurse.lind", "7"))
        .await
        .unwrap();
    let again = over(house.home.clone(), house.clock.clone()).await;
    assert_eq!(again.in_force("nurse.lind"), ["7"]);
    again.clock.advance(Duration::from_hours(4));
    again.room.settle().await;
    assert!(again.in_force("nurse.lind").is_empty());
    let ends = |house: &House| {
        let trail = house.trail();
        trail
            .iter()
            .filter(|entry| entry.event == Some(Event::BreakGlassEnded))
            .map(|entry| (entry.detail["grant"].clone(), entry.detail["how"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(ends(&again), [(glass.id, "expired".to_owned())]);
    again.room.settle().await;
    assert_eq!(ends(&again).len(), 1);
    let later = over(again.home.clone(), again.clock.clone()).await;
    assert!(later.in_force("nurse.lind").is_empty());
}

#[tokio::test]
async fn what_is_not_on_record_never_comes_into_force() {
    let house = open().await;
    let glass = house
        .room
        .break_it(stated("nurse.lind", "7"))
        .await
        .unwrap();
    // As a crash between storing and recording leaves it.
    let torn = Glass {
        recording: Recording::Pending,
        ..glass
    };
    house.room.keep(&torn).await.unwrap();
    let again = over(house.home.clone(), house.clock.clone()).await;
    assert!(again.in_force("nurse.lind").is_empty());
    assert_eq!(again.room.condition().await.unreviewed, 0);

    house.home.fail(Fault::Everything);
    let refused = house.room.break_it(stated("dr.okafor", "8")).await;
    assert!(matches!(refused, Err(Stopped::Store(_))), "{refused:?}");
    assert!(house.in_force("dr.okafor").is_empty());
}

fn review(id: &str, outcome: Outcome) -> Ask {
    Ask::Review {
        id: id.to_owned(),
        outcome,
        note: "On call that night.".to_owned(),
    }
}

#[tokio::test]
async fn somebody_else_reviews_after_the_end_and_once() {
    let house = open().await;
    let glass = house
        .room
        .break_it(stated("nurse.lind", "7"))
        .await
        .unwrap();
    let ask = |operator: &'static str, ask: Ask| house.room.answer(operator, ask);
    let open = ask("privacy.stein", review(&glass.id, Outcome::Appropriate)).await;
    assert!(matches!(open, Err(AskError::StillOpen(..))), "{open:?}");
    let end = Ask::End {
        id: glass.id.clone(),
    };
    ask("privacy.stein", end.clone()).await.unwrap();
    assert!(house.in_force("nurse.lind").is_empty());
    assert!(matches!(ask("x", end).await, Err(AskError::NotOpen(_))));
    for own in [
        "nurse.lind",
        "NURSE.LIND",
        " sub-nurse.lind",
        "main|sub-nurse.lind",
    ] {
        let own = ask(own, review(&glass.id, Outcome::Appropriate)).await;
        assert!(matches!(own, Err(AskError::OwnAccess(_))), "{own:?}");
    }
    ask("privacy.stein", review(&glass.id, Outcome::Unclear))
        .await
        .unwrap();
    ask("dr.okafor", review(&glass.id, Outcome::Inappropriate))
        .await
        .unwrap();
    assert_eq!(house.alarms("break-glass-inappropriate"), 1);
    let twice = ask("privacy.stein", review(&glass.id, Outcome::Appropriate)).await;
    assert!(matches!(twice, Err(AskError::Reviewed { .. })), "{twice:?}");
    let nothing = Ask::List {
        which: Which::Unreviewed,
    };
    assert!(ask("privacy.stein", nothing).await.unwrap().is_empty());
    let reviewed = house.trail();
    let reviewed: Vec<_> = reviewed
        .iter()
        .filter(|entry| entry.event == Some(Event::BreakGlassReviewed))
        .map(|entry| {
            (
                entry.detail["operator"].as_str(),
                entry.detail["outcome"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        reviewed,
        [("privacy.stein", "unclear"), ("dr.okafor", "inappropriate")]
    );
}

#[tokio::test]
async fn an_overdue_review_alarms_once() {
    let house = open().await;
    house
        .room
        .break_it(stated("nurse.lind", "7"))
        .await
        .unwrap();
    house.clock.advance(Duration::from_secs(24 * 3600 - 1));
    house.room.settle().await;
    assert_eq!(house.alarms("break-glass-review-overdue"), 0);
    house.clock.advance(Duration::from_secs(1));
    house.room.settle().await;
    house.room.settle().await;
    assert_eq!(house.alarms("break-glass-review-overdue"), 1);
    let condition = house.room.condition().await;
    assert_eq!(
        (condition.open, condition.unreviewed, condition.overdue),
        (0, 1, 1)
    );
    let again = over(house.home.clone(), house.clock.clone()).await;
    again.room.settle().await;
    assert_eq!(again.alarms("break-glass-review-overdue"), 0);
}
