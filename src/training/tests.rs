//! The room over a store that outlives it: what is due when, across versions, restarts and feeds.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::attest::Judged;
use super::book::AtWork;
use super::*;
use crate::audit::log::MasterKey;
use crate::operate::testing::Ground as Beneath;
use crate::policy::bundle::Bundle;
use crate::policy::decide::Active;
use crate::policy::question::Training as State;
use crate::request::principal::{Proof, User};
use crate::request::{Event, Facts, Principal, Role};

const GRACE: Duration = Duration::from_hours(24 * 45);
const DAY: Duration = Duration::from_hours(24);
const WHO: &str = "main|7";

struct House {
    beneath: Beneath,
    policies: Arc<Policies>,
    dir: tempfile::TempDir,
}

fn course(version: &str, roles: &str) -> String {
    format!(
        "+++\ntitle = \"Privacy\"\nversion = \"{version}\"\n{roles}valid_for = \"365d\"\npass_mark = 50\n+++\nRead.\n\n## Questions\n\n### Well?\n\n- [x] Yes\n- [ ] No\n"
    )
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        for name in ["bundle.toml", "schema.cedarschema", "roles.toml"] {
            std::fs::copy(shipped.join(name), dir.path().join(name)).unwrap();
        }
        std::fs::create_dir(dir.path().join("training")).unwrap();
        let bundle = Bundle::load(dir.path()).unwrap();
        Self {
            beneath: Beneath::new().await,
            policies: Arc::new(Policies::new(bundle, 1)),
            dir,
        }
    }

    fn ships(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join("training").join(name), text).unwrap();
        let bundle = Bundle::load(self.dir.path()).unwrap();
        self.policies.activate(&Arc::new(Active::new(bundle)));
    }

    async fn room(&self) -> Training {
        let beneath = &self.beneath;
        Training::open(Ground {
            settings: config::Training {
                grace: GRACE,
                feed: Some(self.dir.path().join("feed.csv")),
            },
            store: beneath.store.clone(),
            audit: beneath.audit.clone(),
            place: Place {
                directory: beneath.config.directory.clone(),
                master: Arc::new(MasterKey::read(&beneath.config.master_key).unwrap()),
            },
            policies: self.policies.clone(),
            clock: beneath.shared_clock(),
        })
        .await
        .unwrap()
    }

    fn feed(&self, lines: &str) {
        let text = format!("user,course,version,completed_on\n{lines}");
        std::fs::write(self.dir.path().join("feed.csv"), text).unwrap();
    }

    fn stands(&self) -> State {
        let now = self.beneath.shared_clock().now();
        self.policies.standing().training(WHO, now)
    }

    fn pass(&self, days: u32) {
        self.beneath.clock.advance(DAY.saturating_mul(days));
    }
}

impl Training {
    async fn noticed(&self, roles: &[&str]) {
        self.signed_in(roles, None).await;
    }

    async fn signed_in(&self, roles: &[&str], stated: Option<Timestamp>) {
        let seen = AtWork {
            name: "nurse.lee".to_owned(),
            roles: roles.iter().map(|role| Role::new(role)).collect(),
            stated,
        };
        let mut book = self.book.lock().await;
        let person = book.see((WHO, &seen), &self.courses(), self.now());
        if let Some(person) = person {
            self.keep_person(&person).await.unwrap();
        }
        self.restate(&mut book);
    }

    async fn looked(&self) {
        let mut book = self.book.lock().await;
        self.follow_bundle(&mut book).await.unwrap();
        self.follow_feed(&mut book).await.unwrap();
        self.restate(&mut book);
    }

    async fn answered(&self, answers: &[Option<usize>]) -> Judged {
        let principal = Principal::User(User {
            issuer: "main".to_owned(),
            subject: "7".to_owned(),
            name: "nurse.lee".to_owned(),
            roles: BTreeSet::default(),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: None,
                phishing_resistant: false,
            },
            department: None,
        });
        let courses = self.courses();
        let course = courses.first().unwrap();
        self.judge(&principal, facts(), course, answers)
            .await
            .unwrap()
    }
}

fn facts() -> Facts {
    let facts = serde_json::json!({
        "request": "r", "client": "192.0.2.7", "method": "POST", "path": "/", "generation": 1,
    });
    serde_json::from_value(facts).unwrap()
}

#[tokio::test]
async fn nobody_is_late_on_the_day_that_a_course_appears() {
    let house = House::new().await;
    let room = house.room().await;
    room.noticed(&["nurse"]).await;
    assert_eq!(house.stands(), State::Unknown);
    house.pass(100);
    house.ships("privacy.md", &course("1", ""));
    room.looked().await;
    assert_eq!(house.stands(), State::Current);
    house.pass(15);
    assert_eq!(house.stands(), State::Due);
    house.pass(23);
    assert_eq!(house.stands(), State::Urgent);
    house.pass(7);
    assert_eq!(house.stands(), State::Lapsed);
    // A restart gives nobody new time.
    let generation = house.policies.generation();
    house
        .policies
        .restate(|standing| standing.dues = Arc::default());
    house.room().await.looked().await;
    assert_eq!(house.stands(), State::Lapsed);
    assert!(house.policies.generation() > generation);
}

#[tokio::test]
async fn an_attestation_holds_as_long_as_the_course_says_and_outlives_a_restart() {
    let house = House::new().await;
    house.ships("privacy.md", &course("1", ""));
    let room = house.room().await;
    room.noticed(&["nurse"]).await;
    house.pass(45);
    assert_eq!(house.stands(), State::Lapsed);
    assert_eq!(room.answered(&[Some(1)]).await, Judged::Failed { score: 0 });
    assert_eq!(house.stands(), State::Lapsed);
    assert!(matches!(room.answered(&[Some(0)]).await, Judged::Passed(_)));
    assert_eq!(house.stands(), State::Current);
    house.pass(200);
    room.noticed(&["nurse"]).await;
    house.pass(164);
    assert_eq!(house.stands(), State::Urgent);
    house
        .policies
        .restate(|standing| standing.dues = Arc::default());
    let room = house.room().await;
    assert_eq!(house.stands(), State::Urgent);
    house.pass(1);
    assert_eq!(house.stands(), State::Lapsed);
    room.answered(&[Some(0)]).await;
    assert_eq!(house.stands(), State::Current);
    assert_eq!(house.beneath.recorded(Event::TrainingAttested).len(), 2);
    assert_eq!(house.beneath.recorded(Event::TrainingFailed).len(), 1);
}

#[tokio::test]
async fn a_new_version_is_due_with_grace() {
    let house = House::new().await;
    house.ships("privacy.md", &course("1", ""));
    let room = house.room().await;
    room.noticed(&["nurse"]).await;
    room.answered(&[Some(0)]).await;
    house.pass(100);
    assert_eq!(house.stands(), State::Current);
    house.ships("privacy.md", &course("2", ""));
    room.looked().await;
    assert_eq!(house.stands(), State::Current);
    house.pass(45);
    assert_eq!(house.stands(), State::Lapsed);
    room.answered(&[Some(0)]).await;
    assert_eq!(house.stands(), State::Current);
}

#[tokio::test]
async fn a_course_concerns_who_has_the_role_from_when_they_have_it() {
    let house = House::new().await;
    house.ships("privacy.md", &course("1", "roles = [\"physician\"]\n"));
    let room = house.room().await;
    room.noticed(&["nurse"]).await;
    house.pass(400);
    assert_eq!(house.stands(), State::Unknown);
    room.noticed(&["nurse", "physician"]).await;
    assert_eq!(house.stands(), State::Current);
    house.pass(45);
    assert_eq!(house.stands(), State::Lapsed);
    room.noticed(&["nurse"]).await;
    assert_eq!(house.stands(), State::Unknown);
}

#[tokio::test]
async fn the_feed_counts_by_name_or_id_and_the_newest_completion_wins() {
    let house = House::new().await;
    house.ships("privacy.md", &course("1", ""));
    let room = house.room().await;
    room.noticed(&["nurse"]).await;
    // Now is 2026-11-25.
    house.feed("nurse.lee,privacy,1,2025-11-20\nnurse.lee,other,1,2025-11-20\n");
    room.looked().await;
    assert_eq!(house.stands(), State::Lapsed);
    house.feed("nurse.lee,privacy,1,2025-11-20\nmain|7,privacy,1,2025-12-01\n");
    room.looked().await;
    assert_eq!(house.stands(), State::Urgent);
    house.feed("main|7,privacy,1,2026-11-20\nmain|7,privacy,1,2024-11-20\nx\n");
    room.looked().await;
    room.looked().await;
    assert_eq!(
        house.stands(),
        State::Urgent,
        "one bad line, and nothing counts"
    );
    let alarms = house.beneath.recorded(Event::Alarm);
    assert_eq!(alarms.len(), 1);
    assert!(alarms[0]["title"].contains("line 4: there must be four fields"));
    assert_eq!(room.condition().await.problems.len(), 1);
    house.feed("main|7,privacy,1,2026-11-20\nmain|7,privacy,1,2024-11-20\n");
    room.looked().await;
    assert_eq!(house.stands(), State::Current);
    assert!(room.condition().await.problems.is_empty());
    // The file is gone: said, and nothing is taken back.
    std::fs::remove_file(house.dir.path().join("feed.csv")).unwrap();
    room.looked().await;
    assert_eq!(house.beneath.recorded(Event::Alarm).len(), 2);
    assert_eq!(house.room().await.condition().await.counts[0].current, 1);
    let imported = house.beneath.recorded(Event::TrainingImported);
    assert_eq!(imported.len(), 3);
    assert_eq!(imported[0]["other_courses"], "1");
}

#[tokio::test]
async fn what_the_provider_states_concerns_every_course_and_is_replaced_by_the_next_sign_in() {
    let house = House::new().await;
    house.ships("privacy.md", &course("1", ""));
    house.ships("more.md", &course("1", ""));
    let room = house.room().await;
    let at = |days: u64| {
        let now = house.beneath.shared_clock().now();
        now.saturating_add(DAY.saturating_mul(u32::try_from(days).unwrap()))
            .unwrap()
    };
    room.signed_in(&["nurse"], Some(at(200))).await;
    house.pass(199);
    assert_eq!(house.stands(), State::Urgent, "the grace would be over");
    // Requests say nothing of it, and take nothing back; nor does a restart.
    room.noticed(&["nurse"]).await;
    let room = house.room().await;
    assert_eq!(house.stands(), State::Urgent);
    house.pass(1);
    assert_eq!(house.stands(), State::Lapsed);
    room.signed_in(&["nurse"], Some(at(20))).await;
    assert_eq!(house.stands(), State::Due);
    // Taken back by the provider.
    room.signed_in(&["nurse"], Some(at(0))).await;
    assert_eq!(house.stands(), State::Lapsed);
    // Of one course it is known otherwise; the other is still due.
    room.answered(&[Some(0)]).await;
    assert_eq!(house.stands(), State::Lapsed);
    let status = room.answer(Ask::Status { user: None }).await.unwrap();
    let due: Vec<_> = status
        .iter()
        .filter(|piece| piece["kind"] == "person")
        .map(|piece| (&piece["course"], piece["stated"].is_string()))
        .collect();
    assert_eq!(due.len(), 1);
    assert!(due[0].1);
}

#[tokio::test]
async fn names_do_not_stand_in_the_keys_of_the_store() {
    let house = House::new().await;
    house.ships("privacy.md", &course("1", ""));
    let room = house.room().await;
    room.noticed(&["nurse"]).await;
    room.answered(&[Some(0)]).await;
    let page = house
        .beneath
        .store
        .scan(Table::Training, None)
        .await
        .unwrap();
    assert_eq!(page.entries.len(), 3);
    for (key, _) in page.entries {
        assert!(
            !key.contains("main") && !key.contains("lee") && !key.contains("privacy"),
            "{key}"
        );
    }
}
