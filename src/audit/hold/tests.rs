//! Holds set, refused and released.

use super::*;
use crate::audit::fixture;
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
