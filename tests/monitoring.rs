//! Misuse in the sample clinic is seen, told and ended: the whole path from a request to an alarm that arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use chartgate::audit::entry::Entry;
use chartgate::request::Event;
use serde_json::Value;

use crate::harness::practice::eventually;
use crate::harness::process::chartgate;
use crate::harness::{Browser, House, without_limits};

fn alarms(house: &House) -> Vec<BTreeMap<String, String>> {
    let of = |entry: Entry| (entry.event == Some(Event::Alarm)).then_some(entry.detail);
    house.trail().into_iter().filter_map(of).collect()
}

/// The alarm of `rule` as the clinic's receiver got it.
pub(crate) async fn told(house: &mut House, rule: &str) -> Value {
    let next = async {
        loop {
            let alarm = house.clinic.next_alarm().await.unwrap();
            if alarm["rule"] == rule {
                return alarm;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), next)
        .await
        .unwrap_or_else(|_| panic!("the alarm of {rule} did not arrive"))
}

async fn select(house: &House, browser: &mut Browser, patient: usize) -> u16 {
    let path = format!("/patients/select?set_pid={patient}");
    browser.get(&house.url(&path)).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraping_user_is_seen_told_and_stopped() {
    let mut house = House::open_with(without_limits).await;
    let mut browser = house.at_work("nurse.lind").await;
    for patient in 1..=11 {
        assert_eq!(select(&house, &mut browser, patient).await, 302);
    }
    let alarm = told(&mut house, "sequential_patients").await;
    assert_eq!(alarm["level"], "critical");
    assert_eq!(alarm["user"], "nurse.lind");
    assert!(
        alarm["records"]
            .as_array()
            .is_some_and(|records| records.len() == 10)
    );
    // The alarm names records that are on the trail.
    let trail = house.trail();
    for record in alarm["records"].as_array().unwrap() {
        assert!(
            trail
                .iter()
                .any(|entry| entry.id.to_string() == record.as_str().unwrap())
        );
    }
    // The session ends.
    eventually("the end of the session", async || {
        let page = browser.get(&house.url("/patients/select?set_pid=12")).await;
        (page
            .header("location")
            .is_some_and(|to| to.starts_with("/.chartgate/login")))
        .then_some(())
    })
    .await;
    let revoked = house
        .trail()
        .into_iter()
        .find(|entry| entry.event == Some(Event::SessionRevoked));
    assert_eq!(revoked.unwrap().detail["rule"], "sequential_patients");
    let cases = house
        .trail()
        .into_iter()
        .filter(|entry| entry.event == Some(Event::CaseOpened));
    assert_eq!(cases.count(), 1);
    let alarms = alarms(&house);
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(alarm["case"], alarms[0]["case"].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_patients_in_no_order_are_seen_too() {
    let mut house = House::open_with(without_limits).await;
    let mut browser = house.at_work("dr.okafor").await;
    // Seven further each time: nobody's neighbour.
    for step in 0..40 {
        select(&house, &mut browser, 1 + (step * 7) % 41).await;
    }
    let alarm = told(&mut house, "patient_volume").await;
    assert_eq!(
        (&alarm["level"], &alarm["user"]),
        (&"high".into(), &"dr.okafor".into())
    );
    assert_eq!(alarms(&house).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn probing_is_seen_and_ordinary_work_is_not() {
    let mut house = House::open_with(without_limits).await;
    let mut nurse = house.at_work("nurse.lind").await;
    for patient in [3, 17, 3, 40, 17, 4] {
        select(&house, &mut nurse, patient).await;
    }
    let mut billing = house.at_work("billing.shah").await;
    select(&house, &mut billing, 4).await;
    for _ in 0..20 {
        let page = billing.get(&house.url("/chart/notes")).await;
        assert_eq!(page.refusal(), Some("CG-3001"));
    }
    let alarm = told(&mut house, "denied_probing").await;
    assert_eq!(alarm["user"], "billing.shah");
    let rules: Vec<String> = alarms(&house)
        .into_iter()
        .map(|alarm| alarm["rule"].clone())
        .collect();
    assert_eq!(rules, ["denied_probing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_alarm_goes_the_way_that_alarms_take() {
    let mut house = House::open().await;
    let config = house.clinic.facts().config.display().to_string();
    let test = chartgate(&["notify", "test", "--config", &config]).await;
    assert_eq!(
        (test.code, test.out.as_str()),
        (Some(0), "ok      terminal\n"),
        "{}",
        test.err
    );
    let alarm = told(&mut house, "chartgate.notify.test").await;
    assert_eq!(alarm["level"], "low");
    assert_eq!(alarms(&house)[0]["operator"], "demo-operator");
    let status = chartgate(&["status", "--config", &config]).await;
    assert!(
        status.out.contains("notify:terminal") && status.out.contains("last sent"),
        "{}",
        status.out
    );
    assert!(
        status.out.contains("13 rules, 0 records behind"),
        "{}",
        status.out
    );
}
