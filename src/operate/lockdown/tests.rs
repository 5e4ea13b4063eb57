use std::path::Path;

use super::*;
use crate::operate::testing::Ground as Below;
use crate::policy::bundle::Bundle;
use crate::upstream::{LiveStream, StreamObserver};

#[derive(Debug)]
struct Deaf;

impl StreamObserver for Deaf {
    fn interval(&self, _: &LiveStream) {}
}

async fn load(below: &Below) -> (Arc<Lockdowns>, Arc<Policies>) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let policies = Arc::new(Policies::new(Bundle::load(&shipped).unwrap(), 1));
    let minute = Duration::from_mins(1);
    let lockdowns = Lockdowns::load(Ground {
        store: below.store.clone(),
        audit: below.audit.clone(),
        policies: policies.clone(),
        streams: Streams::new(below.shared_clock(), Arc::new(Deaf), minute),
        emrs: vec!["main".to_owned()],
        clock: below.shared_clock(),
    });
    (lockdowns.await.unwrap(), policies)
}

fn alice() -> By {
    By::Operator("alice".to_owned())
}

#[tokio::test]
async fn a_lockdown_outlives_a_restart_and_ends_with_its_span() {
    let below = Below::new().await;
    let (lockdowns, policies) = load(&below).await;
    let hour = Some(Duration::from_hours(1));
    let billing = Scope::Role("billing".to_owned());
    lockdowns
        .set(billing.clone(), 2, "a drill", hour, alice())
        .await
        .unwrap();
    lockdowns
        .set(Scope::All, 1, "a drill", None, alice())
        .await
        .unwrap();
    let expected = BTreeMap::from([(Scope::All, 1), (billing, 2)]);
    assert_eq!(policies.standing().lockdowns, expected);
    drop((lockdowns, policies));

    let (lockdowns, policies) = load(&below).await;
    assert_eq!(policies.standing().lockdowns, expected, "after a restart");
    below.clock.advance(Duration::from_mins(59));
    lockdowns.expire().await;
    assert_eq!(policies.standing().lockdowns, expected);
    below.clock.advance(Duration::from_mins(1));
    let generation = policies.generation();
    lockdowns.expire().await;
    let left = BTreeMap::from([(Scope::All, 1)]);
    assert_eq!(policies.standing().lockdowns, left);
    assert!(policies.generation() > generation);
    let last = below.recorded(Event::LockdownChanged).pop().unwrap();
    assert_eq!(last["scope"], "role billing");
    assert_eq!(
        (last["level"].as_str(), last["by"].as_str()),
        ("L0", "expiry")
    );

    let (_, policies) = load(&below).await;
    assert_eq!(policies.standing().lockdowns, left, "it does not come back");
}

#[tokio::test]
async fn what_cannot_be_locked_down_is_refused_and_changes_nothing() {
    let below = Below::new().await;
    let (lockdowns, policies) = load(&below).await;
    let too_long = Some(LONGEST + Duration::from_secs(1));
    for (scope, level, reason, span, words) in [
        (Scope::All, 5, "x", None, "no level 5"),
        (Scope::All, 1, " ", None, "the reason"),
        (Scope::All, 1, "x", too_long, "at most 366 days"),
        (Scope::Emr("other".to_owned()), 1, "x", None, "EMR other"),
        (
            Scope::Role("wizard".to_owned()),
            1,
            "x",
            None,
            "role wizard",
        ),
        (Scope::User(String::new()), 1, "x", None, "the name"),
        (Scope::All, 0, "x", None, "all is not locked down"),
    ] {
        let refused = lockdowns.set(scope, level, reason, span, alice()).await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
    assert!(policies.standing().lockdowns.is_empty());
    assert!(below.recorded(Event::LockdownChanged).is_empty());
}

#[tokio::test]
async fn every_change_is_on_record_with_its_name_and_alarms() {
    let below = Below::new().await;
    let (lockdowns, _) = load(&below).await;
    let by = By::Rule {
        rule: "volume".to_owned(),
        case: Some(3),
    };
    let user = Scope::User("main|7".to_owned());
    lockdowns
        .set(user.clone(), 4, "scraping", None, by)
        .await
        .unwrap();
    lockdowns.lift(&user, alice()).await.unwrap();
    let changes = below.recorded(Event::LockdownChanged);
    assert_eq!(changes[0]["rule"], "volume");
    assert_eq!(changes[0]["case"], "3");
    assert_eq!(changes[1]["operator"], "alice");
    let alarms = below.recorded(Event::Alarm);
    assert_eq!(alarms.len(), 1, "a lift is no alarm");
    assert_eq!(alarms[0]["level"], "critical");
    assert_eq!(alarms[0]["user"], "main|7");
    assert!(
        lockdowns.knows_on_site(),
        "the shipped networks name the zone"
    );
}
