//! The gateway is killed at any moment under load; nothing that reached the EMR is missing from its trail.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::Browser;
use crate::harness::practice::{Practice, eventually};

const TARGETS: [&str; 4] = [
    "/chart",
    "/chart/notes",
    "/patients/search?q=a",
    "/slow?ms=40",
];

const STAFF: [&str; 3] = ["dr.okafor", "nurse.lind", "him.doyle"];

async fn with_a_chart(practice: &Practice, browser: Browser, user: &str) -> Browser {
    let mut browser = practice.people.at_work(browser, user).await;
    let select = practice.people.url("/patients/select?set_pid=4");
    let page = browser.visit(&select).await;
    assert_eq!(page.status, 200, "{user}: {}", page.text());
    browser
}

/// People who click until the gateway is gone.
fn load(practice: &Practice, sessions: &[Browser], answered: &Arc<AtomicUsize>) -> JoinSet<()> {
    let mut clicking = JoinSet::new();
    for browser in sessions.iter().flat_map(|session| vec![session.clone(); 4]) {
        let (people, answered) = (practice.people.clone(), answered.clone());
        let mut browser: Browser = browser;
        clicking.spawn(async move {
            for target in TARGETS.iter().cycle() {
                let url = people.url(target);
                let sent = browser.attempt(Method::GET, &url, None, HeaderMap::new());
                match sent.await {
                    Ok(page) => assert_eq!(page.status, 200, "{target}: {}", page.text()),
                    Err(_) => return,
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    clicking
}

fn admitted(trail: &[Value]) -> BTreeSet<String> {
    let admissions = trail.iter().filter(|entry| entry["phase"] == "admit");
    admissions
        .map(|entry| entry["facts"]["request"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_every_forwarded_request_is_on_record() {
    let practice = Practice::open().await;
    let mut serving = practice.serve().await;
    let mut sessions = vec![practice.browser(); STAFF.len()];
    let chart = practice.people.url("/chart");
    let mut unknown_before = 0;
    for round in 0..4 {
        for (browser, user) in sessions.iter_mut().zip(STAFF) {
            *browser = with_a_chart(&practice, browser.clone(), user).await;
        }
        let answered = Arc::new(AtomicUsize::new(0));
        let clicking = load(&practice, &sessions, &answered);
        // Anywhere in the flow: how far each of the twelve is then, nobody knows.
        let enough = 60 + usize::from(uuid::Uuid::now_v7().as_bytes()[15]) % 40;
        eventually("enough answers", async || {
            (answered.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
        serving.process.kill().await;
        clicking.join_all().await;

        serving = practice.serve().await;
        let trail = practice.trail().await;
        let admitted = admitted(&trail);
        let forwarded = practice.received().requests();
        assert!(forwarded.len() > enough, "round {round}");
        for request in &forwarded {
            // What the gateway asks the EMR on its own behalf would have no id; here it asks nothing.
            let id = request.headers()["x-request-id"].to_str().unwrap();
            assert!(
                admitted.contains(id),
                "round {round}: {} {id} was forwarded and is not on record",
                request.target()
            );
        }
        let outcomes: Vec<&Value> = trail
            .iter()
            .filter(|entry| entry["phase"] == "outcome")
            .collect();
        let settled: BTreeSet<&str> = outcomes.iter().filter_map(|e| e["of"].as_str()).collect();
        assert_eq!(settled.len(), outcomes.len(), "one outcome each");
        for entry in trail.iter().filter(|entry| entry["phase"] == "admit") {
            assert!(
                settled.contains(entry["id"].as_str().unwrap()),
                "round {round}: no outcome of {entry}"
            );
        }
        let unknown = outcomes
            .iter()
            .filter(|entry| entry["outcome"]["end"] == "unknown")
            .count();
        assert!(unknown > unknown_before, "requests were in flight");
        let recovered: Vec<&Value> = trail
            .iter()
            .filter(|entry| entry["event"] == "recovered")
            .collect();
        assert_eq!(recovered.len(), round + 1);
        assert_eq!(
            recovered[round]["detail"]["outcomes_unknown"],
            (unknown - unknown_before).to_string()
        );
        unknown_before = unknown;
        let (code, found) = practice.verify().await;
        assert_eq!(code, Some(0), "round {round}: {found}");
    }
    // Whose chart was open is not guessed after a crash.
    let page = sessions[0].visit(&chart).await;
    assert_ne!(page.status, 200, "{}", page.text());
    assert_eq!(serving.process.stop().await.code, Some(0));
}
