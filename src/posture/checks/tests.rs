//! Every check has a fixture that passes and at least one that makes it fail, and is evidence for rules that there are.

use std::collections::BTreeSet;

use super::fixture::sound;
use super::{Area, Verdict, all};
use crate::config::client::{Reaction, Readers};
use crate::config::inspection::Mode;
use crate::posture::controls::Control;
use crate::posture::facts::Facts;

/// A check, and what makes it fail.
pub(in crate::posture) type Fixture = (&'static str, fn(&mut Facts));

fn fixtures() -> impl Iterator<Item = &'static Fixture> {
    [
        super::transport::FIXTURES,
        super::sign_in::FIXTURES,
        super::permissions::FIXTURES,
        super::trail::FIXTURES,
        super::archive::FIXTURES,
        super::keys::FIXTURES,
        super::backups::FIXTURES,
        super::network::FIXTURES,
        super::monitoring::FIXTURES,
        super::prevention::FIXTURES,
        super::training::FIXTURES,
        super::upkeep::FIXTURES,
    ]
    .into_iter()
    .flatten()
}

#[test]
fn everything_passes_where_everything_is_sound() {
    let facts = sound();
    for check in all() {
        let verdict = (check.judge)(&facts);
        assert!(
            matches!(&verdict, Verdict::Pass { evidence } if !evidence.is_empty()),
            "{}: {verdict:?}",
            check.id
        );
    }
}

#[test]
fn every_check_has_a_fixture_that_makes_it_fail_with_a_remedy() {
    let mut failed = BTreeSet::new();
    for (id, break_it) in fixtures() {
        let check = all().find(|check| check.id == *id);
        let check = check.unwrap_or_else(|| panic!("a fixture is for no check: {id}"));
        let mut facts = sound();
        break_it(&mut facts);
        let verdict = (check.judge)(&facts);
        let Verdict::Fail { evidence, remedy } = verdict else {
            panic!("{id} does not fail: {verdict:?}");
        };
        assert!(!evidence.is_empty() && !remedy.is_empty(), "{id}");
        failed.insert(*id);
    }
    for check in all() {
        assert!(
            failed.contains(check.id),
            "no fixture makes {} fail",
            check.id
        );
    }
}

#[test]
fn checks_are_many_named_once_and_evidence_for_rules_that_there_are() {
    let mut ids = BTreeSet::new();
    for check in all() {
        let word = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(
            check.id.chars().all(word) && check.id.len() <= 22,
            "{}",
            check.id
        );
        assert!(ids.insert(check.id), "{} stands twice", check.id);
        assert!(
            check.asks.ends_with('?') && !check.asks.contains('|'),
            "{}",
            check.id
        );
        assert!(!check.controls.is_empty(), "{} is for nothing", check.id);
        let cited: BTreeSet<&str> = check.controls.iter().copied().collect();
        assert_eq!(
            cited.len(),
            check.controls.len(),
            "{} cites twice",
            check.id
        );
        for id in check.controls {
            assert!(
                Control::cited(id).is_some(),
                "{}: {id} is no rule",
                check.id
            );
        }
    }
    assert!(ids.len() >= 25, "{} checks", ids.len());
    for area in Area::ALL {
        assert!(all().any(|check| check.area == *area), "{area:?}");
    }
}

#[test]
fn every_rule_has_a_check_or_somebody_else_who_must() {
    for control in Control::all() {
        let checked = all().any(|check| check.controls.contains(&control.id));
        assert!(checked || control.rest.is_some(), "{}", control.id);
    }
    // Every paragraph of 164.312 and of 170.315(d) but those that no gateway can do has one.
    for control in Control::all().filter(|control| control.rest.is_none()) {
        assert!(all().any(|check| check.controls.contains(&control.id)));
    }
}

#[test]
fn what_is_not_known_never_passes_nor_fails() {
    let mut facts = sound();
    let why = || "not running".to_owned();
    facts.running = Err(why());
    facts.kept = Err(why());
    facts.trail = Err(why());
    facts.listeners = Err(why());
    facts.plain = Err(why());
    facts.probes = Err(why());
    facts.clock = crate::posture::facts::Clock::default();
    let unknown: Vec<&str> = all()
        .filter(|check| matches!((check.judge)(&facts), Verdict::Unknown { .. }))
        .map(|check| check.id)
        .collect();
    assert_eq!(
        unknown,
        [
            "tls-versions",
            "tls-suites",
            "http-redirects",
            "permission-review",
            "trail-intact",
            "trail-witnessed",
            "witness-reached",
            "trail-durable",
            "clock-true",
            "trail-archived",
            "backup-fresh",
            "restore-drilled",
            "no-bypass",
            "detector-follows",
            "alarms-arrive",
            "cases-closed",
            "break-glass-reviewed",
            "activity-review",
            "not-root",
            "no-core-dumps",
            "version-running",
        ]
    );
}

#[test]
fn what_does_not_load_is_unknown_to_prevention_and_training() {
    let mut facts = sound();
    facts.bundle = Err("the bundle has 1 problems".to_owned());
    facts.profiles[0].prevention = Err("no such file".to_owned());
    let of = |area| all().filter(move |check| check.area == area);
    let asked = of(Area::Prevention).chain(of(Area::Training));
    let unknown: Vec<&str> = asked
        .filter(|check| matches!((check.judge)(&facts), Verdict::Unknown { .. }))
        .map(|check| check.id)
        .collect();
    assert_eq!(
        unknown,
        [
            "inspection-blocks",
            "patches-looked-at",
            "charts-not-cached",
            "courses-there",
            "overdue-restricts",
        ]
    );
}

#[test]
fn what_holds_and_wants_a_look_warns() {
    let cases: &[Fixture] = &[
        ("trail-archived", |facts| facts.config.audit.archive = None),
        ("inspection-blocks", |facts| {
            if let Ok(prevention) = &mut facts.profiles[0].prevention {
                prevention.exceptions = vec![("upload".to_owned(), Mode::Off)];
            }
        }),
        ("charts-not-cached", |facts| {
            if let Ok(prevention) = &mut facts.profiles[0].prevention {
                prevention.cached = vec!["logo".to_owned()];
            }
        }),
        ("browsers-current", |facts| {
            if let Some(browsers) = &mut facts.config.client.browsers {
                browsers.below = Reaction::Warn;
            }
        }),
        ("browsers-current", |facts| {
            if let Some(browsers) = &mut facts.config.client.browsers {
                browsers.safari = None;
            }
        }),
        ("sign-in-notice", |facts| {
            if let Some(banner) = &mut facts.config.client.sign_in_banner {
                banner.show_to = Readers::Browsers;
            }
        }),
        ("courses-there", |facts| {
            if let Ok(bundle) = &mut facts.bundle {
                bundle.untaught = vec!["billing".to_owned()];
            }
        }),
        ("overdue-restricts", |facts| {
            if let Ok(bundle) = &mut facts.bundle {
                bundle.left_by_lapse = vec!["nurse: Create notes".to_owned()];
            }
        }),
    ];
    for (id, change) in cases {
        let mut facts = sound();
        change(&mut facts);
        let check = all().find(|check| check.id == *id).unwrap();
        let verdict = (check.judge)(&facts);
        assert!(matches!(verdict, Verdict::Warn { .. }), "{id}: {verdict:?}");
    }
}
