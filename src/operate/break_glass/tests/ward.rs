//! A mass-casualty event: who declares it, what is offered under it, and how it ends.

use std::collections::BTreeMap;

use super::*;
use crate::clock::Clock;
use crate::policy::care::{Builder, Care, Source, Span};

const EVENT: &str = "Bus accident, 40 injured.";

/// Patients 1 and 2 lie in the emergency department, patient 3 on the intensive care unit; nobody knows patient 4.
fn care() -> Care {
    let mut builder = Builder::new("main");
    for (id, ward) in [("1", "ED"), ("2", "ED"), ("3", "ICU")] {
        builder.lies(("urn:mrn", id), ward, Span::ALWAYS).unwrap();
    }
    Care::of([Source::new(Arc::new(builder.build()), Timestamp::MAX)])
}

async fn clinic() -> House {
    let house = open().await;
    house.policies.relate(&care());
    house
}

fn declare(ward: &str, hours: u64) -> Ask {
    Ask::Declare {
        ward: ward.to_owned(),
        reason: EVENT.to_owned(),
        seconds: Some(Duration::from_hours(hours).as_secs()),
    }
}

fn lift(ward: &str) -> Ask {
    Ask::Lift {
        ward: ward.to_owned(),
    }
}

impl House {
    async fn ask(&self, ask: Ask) -> Result<Vec<serde_json::Value>, AskError> {
        self.room.answer("supervisor", ask).await
    }

    /// What is declared: wards, with patients and open glasses.
    async fn declared(&self) -> BTreeMap<String, (usize, usize)> {
        let declared = self.ask(Ask::Declared).await.unwrap().into_iter();
        declared
            .map(|value| serde_json::from_value::<Declared>(value).unwrap())
            .map(|one| (one.declaration.ward, (one.patients, one.glasses)))
            .collect()
    }

    /// What someone states on the form that they are shown for `patient`, when they choose the ward.
    async fn shown(&self, name: &str, patient: &str) -> Stated {
        let mut stated = stated(name, patient);
        stated.choice = Choice::Ward;
        let ward = self.room.ward_to_offer(&stated.offer).await;
        stated.offer.ward = ward.as_ref().map(Declaration::offered);
        stated
    }

    fn particulars(&self, event: Event) -> Vec<BTreeMap<String, String>> {
        let trail = self.trail().into_iter();
        trail
            .filter(|entry| entry.event == Some(event))
            .map(|entry| entry.detail)
            .collect()
    }
}

#[tokio::test]
async fn an_event_is_declared_within_bounds_on_record_and_with_an_alarm() {
    let house = clinic().await;
    let refused = |ward: &str, reason: &str, seconds: u64| Ask::Declare {
        ward: ward.to_owned(),
        reason: reason.to_owned(),
        seconds: Some(seconds),
    };
    for (ask, wanted) in [
        (refused("  ", EVENT, 3600), "Ward"),
        (refused("E\u{7}D", EVENT, 3600), "Ward"),
        (refused(&"x".repeat(129), EVENT, 3600), "Ward"),
        (refused("ED", "bus", 3600), "Event"),
        (refused("ED", ". . . . . . . .", 3600), "Event"),
        (refused("ED", EVENT, 299), "Span"),
        (refused("ED", EVENT, 24 * 3600 + 1), "Span"),
        (refused("ED", EVENT, u64::MAX), "Span"),
        (lift("ED"), "NotDeclared"),
    ] {
        let error = format!("{:?}", house.ask(ask).await.unwrap_err());
        assert!(error.starts_with(wanted), "{error}");
    }
    assert!(house.declared().await.is_empty());
    assert!(house.particulars(Event::WardDeclared).is_empty());

    let said = house.ask(declare(" ED ", 4)).await.unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    let unknown = house.ask(declare("ed", 4)).await.unwrap();
    assert!(unknown[1].as_str().unwrap().contains("warning"));
    let expected = [("ED", (2, 0)), ("ed", (0, 0))];
    let expected = expected.map(|(ward, counts)| (ward.to_owned(), counts));
    assert_eq!(house.declared().await, BTreeMap::from(expected));
    let [first, _] = &house.particulars(Event::WardDeclared)[..] else {
        panic!("two records")
    };
    assert_eq!(first["ward"], "ED");
    assert_eq!(first["operator"], "supervisor");
    assert_eq!(first["reason"], EVENT);
    assert_eq!(first["expires"], "2026-11-22T14:00:00Z");
    assert_eq!(house.alarms("mass-casualty"), 2);
    assert_eq!(house.room.condition().await.wards.len(), 2);

    // It can be prolonged, and not cut short by mistake.
    let shorter = house.ask(declare("ED", 2)).await;
    assert!(
        matches!(shorter, Err(AskError::DeclaredLonger(..))),
        "{shorter:?}"
    );
    house.ask(declare("ED", 6)).await.unwrap();
    assert_eq!(house.declared().await.len(), 2);
    let prolonged = house.particulars(Event::WardDeclared).pop().unwrap();
    assert_eq!(prolonged["prolonged_from"], "2026-11-22T14:00:00Z");
    assert_eq!(prolonged["declaration"], first["declaration"]);

    for number in 2..16 {
        house.ask(declare(&format!("w{number}"), 1)).await.unwrap();
    }
    let full = house.ask(declare("w16", 1)).await;
    assert!(matches!(full, Err(AskError::TooMany)), "{full:?}");
}

#[tokio::test]
async fn a_glass_for_the_ward_opens_until_its_time_or_the_end_of_the_event() {
    let house = clinic().await;
    house.ask(declare("ED", 2)).await.unwrap();
    let shown = house.shown("nurse.lind", "1").await;
    let glass = house.room.break_it(shown.clone()).await.unwrap();
    assert_eq!(house.in_force("nurse.lind"), ["ward ED"]);
    assert_eq!(glass.expires, "2026-11-22T12:00:00Z".parse().unwrap());
    let record = &house.particulars(Event::BreakGlass)[0];
    assert_eq!(
        (record["ward"].as_str(), &record["declaration"]),
        ("ED", &glass.ward.as_ref().unwrap().declaration)
    );
    let alarm = house.particulars(Event::Alarm).pop().unwrap();
    assert_eq!(
        (alarm["rule"].as_str(), alarm["ward"].as_str()),
        ("break-glass", "ED")
    );
    // Another patient there, the same user: the same glass. Another user: their own.
    let second = house.shown("nurse.lind", "2").await;
    assert_eq!(house.room.break_it(second).await.unwrap().id, glass.id);
    let other = house.shown("dr.okafor", "2").await;
    assert_ne!(house.room.break_it(other).await.unwrap().id, glass.id);
    // The one patient's is a glass of its own.
    let own = house
        .room
        .break_it(stated("nurse.lind", "1"))
        .await
        .unwrap();
    assert!(own.ward.is_none() && own.id != glass.id);

    house.clock.advance(Duration::from_hours(2));
    assert!(house.room.condition().await.wards.is_empty());
    house.room.settle().await;
    assert_eq!(house.in_force("nurse.lind"), ["1"]);
    assert!(house.in_force("dr.okafor").is_empty());
    let ended = house.particulars(Event::WardDeclarationEnded);
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0]["how"], "expired");
    let whole = house.particulars(Event::BreakGlassEnded);
    assert_eq!(whole.len(), 2);
    assert!(
        whole
            .iter()
            .all(|one| one["how"] == "expired" && one["ward"] == "ED")
    );
    assert_eq!(house.alarms("mass-casualty"), 2);
    house.room.settle().await;
    assert_eq!(house.particulars(Event::WardDeclarationEnded).len(), 1);
    let late = house.room.break_it(shown).await;
    assert!(matches!(late, Err(Stopped::NoWard)), "{late:?}");
}

#[tokio::test]
async fn lifting_ends_every_glass_of_the_ward_at_once_and_no_other() {
    let house = clinic().await;
    house.ask(declare("ED", 4)).await.unwrap();
    house.ask(declare("ICU", 4)).await.unwrap();
    let glass = house.shown("nurse.lind", "1").await;
    let glass = house.room.break_it(glass).await.unwrap();
    let of_icu = house.shown("nurse.lind", "3").await;
    house.room.break_it(of_icu).await.unwrap();
    let shown = house.shown("dr.okafor", "2").await;
    assert_eq!(house.declared().await["ED"], (2, 1));
    let before = house.policies.generation();
    let said = house.ask(lift("ED")).await.unwrap();
    assert!(said[0].as_str().unwrap().contains("1 glasses"), "{said:?}");
    assert_eq!(house.in_force("nurse.lind"), ["ward ICU"]);
    assert!(house.policies.generation() > before);
    let ended = house.particulars(Event::WardDeclarationEnded);
    assert_eq!(
        (ended[0]["how"].as_str(), ended[0]["operator"].as_str()),
        ("lifted", "supervisor")
    );
    assert_eq!(ended[0]["glasses"], "1");
    let whole = &house.particulars(Event::BreakGlassEnded)[0];
    assert_eq!(
        (whole["grant"].as_str(), whole["how"].as_str()),
        (glass.id.as_str(), "lifted")
    );
    // A form from before opens nothing, even where the ward is declared anew.
    house.ask(declare("ED", 4)).await.unwrap();
    let old = house.room.break_it(shown).await;
    assert!(matches!(old, Err(Stopped::NoWard)), "{old:?}");
    assert_eq!(house.in_force("nurse.lind"), ["ward ICU"]);
}

/// Whatever is sealed into the form, a ward opens only where it is declared and feeds say that the patient lies there.
#[tokio::test]
async fn nobody_opens_a_ward_that_is_not_declared_or_where_the_patient_does_not_lie() {
    let house = clinic().await;
    house.ask(declare("ED", 4)).await.unwrap();
    let live = house.shown("nurse.lind", "1").await.offer.ward.unwrap();
    house.ask(declare("PACU", 4)).await.unwrap();
    let forged = |name: &str, declaration: &str| {
        Some(OfferedWard {
            name: name.to_owned(),
            declaration: declaration.to_owned(),
        })
    };
    let wards = [
        None,
        Some(live.clone()),
        forged("ICU", &live.declaration),
        forged("ED", "mc-20261122-000000"),
        forged("ICU", "mc-20261122-000000"),
        forged("PACU", &live.declaration),
    ];
    for patient in ["1", "2", "3", "4"] {
        for ward in &wards {
            let mut stated = stated("nurse.lind", patient);
            stated.choice = Choice::Ward;
            stated.offer.ward.clone_from(ward);
            let broken = house.room.break_it(stated).await;
            let may = *ward == Some(live.clone()) && ["1", "2"].contains(&patient);
            assert_eq!(broken.is_ok(), may, "{patient} {ward:?} {broken:?}");
        }
        let offered = house.shown("nurse.lind", patient).await.offer.ward;
        assert_eq!(offered.is_some(), ["1", "2"].contains(&patient));
    }
    assert_eq!(house.in_force("nurse.lind"), ["ward ED"]);
    // Without a feed nobody is known to lie anywhere; the one chart opens as ever.
    house.policies.relate(&Care::default());
    let blind = house.shown("dr.okafor", "1").await;
    assert!(blind.offer.ward.is_none());
    house.room.break_it(stated("dr.okafor", "1")).await.unwrap();
}

#[tokio::test]
async fn while_an_event_is_declared_the_daily_number_is_told_and_refuses_nobody() {
    let house = clinic().await;
    house.ask(declare("ED", 4)).await.unwrap();
    for patient in ["1", "2", "3", "4"] {
        house
            .room
            .break_it(stated("nurse.lind", patient))
            .await
            .unwrap();
    }
    assert_eq!(house.alarms("break-glass-quota"), 1);
    let broken = house.particulars(Event::BreakGlass);
    let beyond: Vec<_> = broken.iter().map(|one| one.get("beyond")).collect();
    assert!(beyond[..3].iter().all(Option::is_none), "{beyond:?}");
    assert!(beyond[3].unwrap().starts_with("3 times"), "{beyond:?}");
    house.ask(lift("ED")).await.unwrap();
    let fifth = house.room.break_it(stated("nurse.lind", "5")).await;
    assert!(matches!(fifth, Err(Stopped::Quota(4))), "{fifth:?}");
    assert_eq!(house.alarms("break-glass-quota"), 2);
}

#[tokio::test]
async fn a_declaration_survives_a_restart_and_what_is_not_on_record_is_none() {
    let house = clinic().await;
    house.ask(declare("ED", 4)).await.unwrap();
    let shown = house.shown("nurse.lind", "1").await;
    let glass = house.room.break_it(shown).await.unwrap();
    let again = over(house.home.clone(), house.clock.clone()).await;
    again.policies.relate(&care());
    assert_eq!(again.in_force("nurse.lind"), ["ward ED"]);
    assert_eq!(again.declared().await["ED"], (2, 1));

    // A crash right after the lifting was stored, and one right after another declaration was.
    let id = glass.ward.unwrap().declaration;
    let (lifted, torn) = {
        let book = again.room.book.lock().await;
        let lifted = Declaration {
            ended: Some(Ended {
                at: again.clock.now(),
                by: Some("supervisor".to_owned()),
            }),
            ..book.declarations[&id].clone()
        };
        let torn = Declaration {
            id: "mc-20261122-aaaaaa".to_owned(),
            ward: "ICU".to_owned(),
            recording: Recording::Pending,
            ended: None,
            ..lifted.clone()
        };
        (lifted, torn)
    };
    for one in [&lifted, &torn] {
        again.room.keep_declaration(one).await.unwrap();
    }
    let later = over(again.home.clone(), again.clock.clone()).await;
    assert!(later.in_force("nurse.lind").is_empty());
    assert!(later.room.condition().await.wards.is_empty());
    later.room.settle().await;
    let ended = later.particulars(Event::WardDeclarationEnded);
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0]["operator"], "supervisor");
    let whole = later.particulars(Event::BreakGlassEnded);
    assert_eq!(
        (whole[0]["grant"].as_str(), whole[0]["how"].as_str()),
        (glass.id.as_str(), "lifted")
    );
    let last = over(later.home.clone(), later.clock.clone()).await;
    last.room.settle().await;
    assert!(last.particulars(Event::WardDeclarationEnded).is_empty());

    // Without a store nothing is declared.
    last.home.fail(Fault::Everything);
    let refused = last.ask(declare("ED", 4)).await;
    assert!(refused.is_err(), "{refused:?}");
    assert!(last.room.condition().await.wards.is_empty());
}
