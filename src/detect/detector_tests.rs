//! Alarms over restarts and crashes, on a real trail.

use futures_util::future::BoxFuture;

use super::super::flatten::tests::facts;
use super::super::{Level, RuleSet};
use super::*;
use crate::audit::log::MasterKey;
use crate::config::alarm::Detection as Config;
use crate::operate::testing::Ground;

const RULES: &str = "\
title: Opened
name: opened
level: informational
detection: {sel: {event: page_shown, patients|gte: 1}, condition: sel}
---
title: Charts
name: charts
level: high
correlation: {type: value_count, rules: [opened], group-by: [user_id], timespan: 1h, condition: {gte: 3, field: patient}}
chartgate: {response: end_session}
---
title: Elsewhere
name: elsewhere
level: low
detection: {sel: {new_network: true}, condition: sel}
chartgate: {suppress: 1s}
";

/// Remembers what it was asked for.
#[derive(Debug, Default)]
struct Witness(Mutex<Vec<String>>);

impl Witness {
    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Responder for Witness {
    fn case<'a>(&'a self, alarm: &'a Alarm) -> BoxFuture<'a, Result<Option<String>, String>> {
        self.0.lock().unwrap().push(format!("case {}", alarm.rule));
        Box::pin(std::future::ready(Ok(Some("7".to_owned()))))
    }

    fn respond<'a>(
        &'a self,
        alarm: &'a Alarm,
        response: Response,
        _case: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), String>> {
        let user = alarm.user_id.clone().unwrap_or_default();
        let asked = format!("{} {user}", response.name());
        self.0.lock().unwrap().push(asked);
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Scene {
    ground: Ground,
    witness: Arc<Witness>,
}

impl Scene {
    async fn new() -> Self {
        Self {
            ground: Ground::new().await,
            witness: Arc::default(),
        }
    }

    fn detector(&self) -> Detector {
        let config = &self.ground.config;
        Detector {
            rules: Arc::new(RuleSet::parse(RULES).unwrap()),
            config: Config::default(),
            audit: self.ground.audit.clone(),
            place: Place {
                directory: config.directory.clone(),
                master: Arc::new(MasterKey::read(&config.master_key).unwrap()),
            },
            store: self.ground.store.clone(),
            responder: self.witness.clone(),
            clock: self.ground.shared_clock(),
            state: Arc::default(),
        }
    }

    /// `user` opens the charts of these patients.
    async fn opens(&self, user: &str, patients: std::ops::Range<u32>) {
        for patient in patients {
            let facts = facts(user, &patient.to_string());
            let event = self
                .ground
                .audit
                .event(Event::PageShown, Some(facts), [].into());
            event.await.unwrap();
        }
    }

    /// `user` comes from this address.
    async fn comes(&self, user: &str, client: &str) {
        let mut facts = facts(user, "1");
        facts.mapping = None;
        client.clone_into(&mut facts.client);
        let event = self
            .ground
            .audit
            .event(Event::Login, Some(facts), [].into());
        event.await.unwrap();
    }

    fn alarms(&self) -> Vec<String> {
        let alarms = self.ground.recorded(Event::Alarm).into_iter();
        alarms.map(|alarm| alarm["rule"].clone()).collect()
    }
}

async fn catch_up(detector: &Detector, run: &mut Run) {
    let (_end, mut ending) = watch::channel(false);
    let caught = detector.catch_up(run, &mut ending).await.unwrap();
    assert_eq!(caught, Caught::Up);
}

#[tokio::test]
async fn an_alarm_is_on_record_with_its_records_case_and_response() {
    let scene = Scene::new().await;
    let detector = scene.detector();
    let mut run = detector.prepare().await.unwrap();
    scene.opens("lind", 10..15).await;
    catch_up(&detector, &mut run).await;
    let alarms = scene.ground.recorded(Event::Alarm);
    let [alarm] = alarms.as_slice() else {
        panic!("one alarm was expected: {alarms:?}");
    };
    assert_eq!(
        (alarm["level"].as_str(), alarm["user"].as_str()),
        ("high", "lind")
    );
    assert_eq!(
        (alarm["count"].as_str(), alarm["case"].as_str()),
        ("3", "7")
    );
    assert_eq!(alarm["records"].split(',').count(), 3);
    assert!(!alarm.contains_key("patient"), "the alarm is about several");
    assert_eq!(
        scene.witness.asked(),
        ["case charts", "end_session riverside|lind"]
    );
    assert_eq!(detector.state.alarms(), 1);
    assert_eq!(Level::named(&alarm["level"]), Some(Level::High));
}

#[tokio::test]
async fn a_restart_goes_on_within_the_window_and_alarms_once() {
    let scene = Scene::new().await;
    let detector = scene.detector();
    let mut run = detector.prepare().await.unwrap();
    scene.opens("lind", 10..12).await;
    catch_up(&detector, &mut run).await;
    detector.save(&mut run).await;
    scene.opens("lind", 12..13).await;
    // What came before the restart still counts.
    let again = scene.detector();
    let mut run = again.prepare().await.unwrap();
    catch_up(&again, &mut run).await;
    assert_eq!(scene.alarms(), ["charts"]);
    assert!(!again.state.replaying());
    again.save(&mut run).await;
    let third = scene.detector();
    let mut run = third.prepare().await.unwrap();
    scene.opens("lind", 13..20).await;
    catch_up(&third, &mut run).await;
    assert_eq!(scene.alarms(), ["charts"], "not repeated within the window");
}

#[tokio::test]
async fn a_crash_after_the_alarm_repeats_the_response_and_not_the_record() {
    let scene = Scene::new().await;
    let detector = scene.detector();
    let mut run = detector.prepare().await.unwrap();
    detector.save(&mut run).await;
    scene.opens("lind", 10..13).await;
    // The alarm is raised; the crash comes before the position is saved.
    let (_end, mut ending) = watch::channel(false);
    for shown in run.follower.step().await.unwrap() {
        detector.look(&mut run, shown, &mut ending).await;
    }
    assert_eq!(scene.alarms(), ["charts"]);
    drop((detector, run));
    let again = scene.detector();
    let mut run = again.prepare().await.unwrap();
    catch_up(&again, &mut run).await;
    assert_eq!(scene.alarms(), ["charts"]);
    let asked = scene.witness.asked();
    let responses = asked
        .iter()
        .filter(|asked| asked.starts_with("end_session"));
    assert_eq!(responses.count(), 2, "{asked:?}");
}

#[tokio::test]
async fn networks_of_users_are_known_after_a_restart() {
    let scene = Scene::new().await;
    let detector = scene.detector();
    let mut run = detector.prepare().await.unwrap();
    scene.comes("lind", "10.20.3.4").await;
    catch_up(&detector, &mut run).await;
    detector.save(&mut run).await;
    drop(run);
    let again = scene.detector();
    let mut run = again.prepare().await.unwrap();
    scene.comes("lind", "10.20.3.200").await;
    catch_up(&again, &mut run).await;
    assert!(scene.alarms().is_empty());
    scene.comes("lind", "198.51.100.7").await;
    catch_up(&again, &mut run).await;
    assert_eq!(scene.alarms(), ["elsewhere"]);
}

#[tokio::test]
async fn what_was_before_the_first_start_raises_nothing() {
    let scene = Scene::new().await;
    scene.opens("lind", 10..20).await;
    let detector = scene.detector();
    let mut run = detector.prepare().await.unwrap();
    catch_up(&detector, &mut run).await;
    assert!(scene.alarms().is_empty() && scene.witness.asked().is_empty());
}
