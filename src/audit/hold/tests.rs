//! Holds set, refused and released.

use super::*;
use crate::audit::fixture;
use crate::audit::links::Links;
use crate::audit::log::{RealFiles, Truncation};
use crate::clock::SystemClock;

async fn opened(dir: &std::path::Path) -> (Audit, Holds) {
    let (config, limits) = (fixture::configured(dir), fixture::limits());
    let clock = SystemClock::shared();
    let files = Arc::new(RealFiles);
    let opened = Audit::open(&config, &limits, files, clock.clone(), Truncation::Refuse);
    let holds = Holds::new(fixture::store(clock).await);
    (opened.await.unwrap().0, holds)
}

fn add(matter: &str, scope: Scope) -> Ask {
    Ask::Add {
        matter: matter.to_owned(),
        scope,
        reason: "letter of the court".to_owned(),
    }
}

fn release(id: u64) -> Ask {
    Ask::Release {
        id,
        reason: "settled".to_owned(),
    }
}

#[tokio::test]
async fn a_hold_is_released_by_somebody_else_and_both_are_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, holds) = opened(dir.path()).await;
    let now = fixture::time();
    let scope = Scope {
        patient: Some("4".to_owned()),
        ..Scope::default()
    };
    let set = holds
        .answer(&audit, ("alice", now), add("2026-CV-14", scope))
        .await
        .unwrap();
    assert_eq!((set[0].id, set[0].by.as_str()), (1, "alice"));
    let refused = holds.answer(&audit, ("alice", now), release(1)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("another operator"), "{refused}");
    assert_eq!(holds.book().await.unwrap().in_force().count(), 1);
    let before = audit.log().status().sequence;
    holds
        .answer(&audit, ("bob", now), release(1))
        .await
        .unwrap();
    assert_eq!(audit.log().status().sequence, before + 1);
    assert_eq!(holds.book().await.unwrap().in_force().count(), 0);
    let again = holds.answer(&audit, ("carol", now), release(1)).await;
    assert!(
        again
            .unwrap_err()
            .to_string()
            .contains("was released by bob")
    );
    let list = |released| holds.answer(&audit, ("bob", now), Ask::List { released });
    assert_eq!(list(false).await.unwrap(), []);
    let all = list(true).await.unwrap();
    assert_eq!(all[0].released.as_ref().unwrap().by, "bob");
    // A number is never given twice.
    let next = holds.answer(&audit, ("bob", now), add("2026-CV-15", Scope::default()));
    assert_eq!(next.await.unwrap()[0].id, 2);
}

#[tokio::test]
async fn what_would_hold_nothing_or_says_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, holds) = opened(dir.path()).await;
    let now = fixture::time();
    let backwards = Scope {
        since: Some(now),
        until: Some(Timestamp::UNIX_EPOCH),
        ..Scope::default()
    };
    let nameless = Scope {
        user: Some(" ".to_owned()),
        ..Scope::default()
    };
    for ask in [
        add("", Scope::default()),
        add("a\nb", Scope::default()),
        add(&"x".repeat(257), Scope::default()),
        add("m", backwards),
        add("m", nameless),
        release(7),
    ] {
        let before = audit.log().status().sequence;
        let refused = holds.answer(&audit, ("alice", now), ask.clone()).await;
        assert!(matches!(refused, Err(HoldError::Refused(_))), "{ask:?}");
        assert_eq!(audit.log().status().sequence, before);
    }
}

#[tokio::test]
async fn a_book_that_cannot_be_read_is_not_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let (_audit, holds) = opened(dir.path()).await;
    holds
        .store()
        .keep(Table::Upkeep, KEY, &"nothing", NEVER)
        .await
        .unwrap();
    assert!(matches!(holds.book().await, Err(HoldError::Malformed(_))));
}

#[tokio::test]
async fn what_is_linked_when_a_hold_is_set_is_on_record_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, holds) = opened(dir.path()).await;
    let known = Known::default();
    let holds = holds.with_links(known.clone());
    let pairs: [(Arc<str>, Arc<str>); 2] = [
        ("mrn|4".into(), "lab|77".into()),
        ("lab|4".into(), "lab|5".into()),
    ];
    known.state(Links::of(pairs.iter().map(|(one, other)| (one, other))));
    let now = fixture::time();
    let on = |patient: &str| Scope {
        patient: Some(patient.to_owned()),
        ..Scope::default()
    };
    let set = holds
        .answer(&audit, ("alice", now), add("m", on("4")))
        .await;
    let [hold] = &set.unwrap()[..] else {
        panic!("one hold");
    };
    let also: Vec<&str> = hold.aliases.iter().map(String::as_str).collect();
    assert_eq!(also, ["lab|5", "lab|77"], "4 is 4 in every system");
    let detail = described(hold, "alice", &hold.reason);
    assert_eq!(detail["aliases"], "lab|5, lab|77");
    // They stay when the link is gone, and a hold on nobody in particular has none.
    known.state(Links::default());
    let all = add("all", Scope::default());
    let set = holds.answer(&audit, ("alice", now), all).await.unwrap();
    assert!(set[0].aliases.is_empty());
    let book = holds.kept().await.unwrap();
    assert_eq!(book.in_force().next(), Some(hold));
    assert!(hold.filter().matches(&fixture::admission(&["4"])));
    let of_lab = |id: &str| fixture::event(Event::BreakGlass, None, &[("patient", id)]).entry;
    assert!(hold.filter().matches(&of_lab("lab|77")));
    assert!(!hold.filter().matches(&of_lab("mrn|77")));
}
