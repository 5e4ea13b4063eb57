//! Sealed emergency accounts: two envelopes, two people, while nobody can sign in.

use std::sync::Arc;
use std::time::Duration;

use chartgate::admin::protocol::AdminRequest;
use chartgate::clock::{ManualClock, SystemClock};
use chartgate::config::emergency::Emergency;
use chartgate::operate::emergency::Ask;
use chartgate::request::Event;
use http::StatusCode;
use serde_json::Value;

use crate::harness::way::Way;
use crate::harness::{Browser, House, Page, without_limits};

const FORM: &str = "/.chartgate/emergency";

struct Sealed {
    clock: Arc<ManualClock>,
    house: House,
    way: Way,
    first: String,
    second: String,
}

async fn seal(house: &House) -> (String, String) {
    let sealed = house
        .ask(AdminRequest::Emergency(Ask::Seal {
            name: "er-1".to_owned(),
            place: "Safes of ER and pharmacy".to_owned(),
            groups: vec!["emr-physicians".to_owned()],
            reason: "Opening of the new ER".to_owned(),
        }))
        .await
        .unwrap();
    let code = |key: &str| sealed[0][key].as_str().unwrap().to_owned();
    (code("first"), code("second"))
}

async fn sealed(emergency: Emergency) -> Sealed {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let (house, way) = House::open_by_way(clock.clone(), |config| {
        without_limits(config);
        config.identity.emergency = Some(emergency);
    })
    .await;
    let (first, second) = seal(&house).await;
    Sealed {
        clock,
        house,
        way,
        first,
        second,
    }
}

impl Sealed {
    async fn send(&self, browser: &mut Browser, codes: (&str, &str), act: &str) -> Page {
        let fields = [
            ("account", "er-1"),
            ("first", codes.0),
            ("second", codes.1),
            ("person", "Dr. Okafor"),
            ("second_person", "Nurse Lind"),
            ("reason", "Nobody can sign in, and the ward is full."),
            ("return_to", "/echo"),
            ("do", act),
        ];
        browser.post_form(&self.house.url(FORM), &fields).await
    }

    fn codes(&self) -> (&str, &str) {
        (&self.first, &self.second)
    }

    async fn listed(&self) -> Value {
        let listed = self.house.ask(AdminRequest::Emergency(Ask::List)).await;
        listed.unwrap().remove(0)
    }

    fn alarms(&self) -> Vec<(String, String)> {
        let alarms = self.house.particulars(Event::Alarm).into_iter();
        alarms
            .map(|alarm| (alarm["rule"].clone(), alarm["level"].clone()))
            .filter(|(rule, _)| rule.starts_with("emergency"))
            .collect()
    }

    async fn check(&self) -> Value {
        let status = self.house.ask(AdminRequest::Status).await.unwrap();
        let checks = status[0]["checks"].as_array().unwrap();
        let mut found = checks
            .iter()
            .filter(|check| check["name"] == "emergency-accounts");
        found.next().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_get_in_while_nobody_can_sign_in_and_everybody_hears_of_it() {
    let it = sealed(Emergency::default()).await;
    it.way.close();
    let mut browser = it.house.browser();
    let form = browser.get(&it.house.url(FORM)).await;
    assert!(
        form.text().contains("name=\"second_person\""),
        "{}",
        form.text()
    );

    let sent = it.send(&mut browser, it.codes(), "sign-in").await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text());
    let page = browser.follow(sent).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let [signed_in] = it
        .house
        .particulars(Event::EmergencySignIn)
        .try_into()
        .unwrap();
    for (key, value) in [
        ("account", "er-1"),
        ("person", "Dr. Okafor"),
        ("second_person", "Nurse Lind"),
        ("place", "Safes of ER and pharmacy"),
    ] {
        assert_eq!(signed_in[key], value);
    }
    assert_eq!(
        it.alarms(),
        [("emergency-account".to_owned(), "critical".to_owned())]
    );
    let opened = it.house.trail().into_iter().filter_map(|entry| entry.facts);
    let name = opened.filter_map(|facts| facts.principal).last().unwrap();
    assert_eq!(
        (name.id().as_str(), name.display()),
        ("emergency|er-1", "er-1 (Dr. Okafor, Nurse Lind)")
    );
    assert_eq!(it.listed().await["state"], "used");
    assert_eq!(it.check().await["status"], "red");

    // A day later its envelopes are void, and sealed anew they are others.
    it.clock.advance(Duration::from_hours(24));
    let mut other = it.house.browser();
    let late = it.send(&mut other, it.codes(), "sign-in").await;
    assert!(
        late.text().contains("used before and are void"),
        "{}",
        late.text()
    );
    let (first, second) = seal(&it.house).await;
    let old = it.send(&mut other, it.codes(), "sign-in").await;
    assert_eq!(old.status, StatusCode::FORBIDDEN);
    let new = it.send(&mut other, (&first, &second), "sign-in").await;
    assert_eq!(new.status, StatusCode::SEE_OTHER, "{}", new.text());
    // Nothing that an envelope holds is on record.
    let trail = format!("{:?}", it.house.trail());
    for code in [&it.first, &it.second, &first, &second] {
        assert!(!trail.contains(code.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_that_says_that_the_provider_is_down_leads_to_the_form() {
    for emergency in [Some(Emergency::default()), None] {
        let is_there = emergency.is_some();
        let house = House::open_with(|config| {
            config.identity.issuers[0].url = "http://127.0.0.1:9/".parse().unwrap();
            config.identity.emergency = emergency;
        })
        .await;
        let page = house.browser().visit(&house.url("/echo")).await;
        assert_eq!(page.refusal(), Some("CG-2006"), "{}", page.text());
        let link = format!("href=\"{FORM}?return_to=%2F");
        assert_eq!(page.text().contains(&link), is_there, "{}", page.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_with_one_envelope_and_every_try_is_an_alarm() {
    let it = sealed(Emergency::default()).await;
    let mut browser = it.house.browser();
    let wrong = "0000-0000-0000-0000";
    for codes in [
        (it.first.as_str(), wrong),
        (wrong, it.second.as_str()),
        (it.second.as_str(), it.first.as_str()),
    ] {
        let page = it.send(&mut browser, codes, "sign-in").await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert!(!page.text().contains(codes.0), "codes are not sent back");
    }
    let page = it.send(&mut browser, (&it.first, ""), "sign-in").await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.cookie("__Host-chartgate").is_none());
    let refused = ("emergency-account-refused".to_owned(), "high".to_owned());
    assert_eq!(it.alarms(), vec![refused; 3]);
    assert_eq!(it.listed().await["state"], "test-due", "it was not used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_is_tracked_and_opens_nothing() {
    let it = sealed(Emergency::default()).await;
    assert_eq!(it.check().await["status"], "amber");
    let mut browser = it.house.browser();
    let page = it.send(&mut browser, it.codes(), "test").await;
    assert!(
        page.text().contains("Both envelopes are in order"),
        "{}",
        page.text()
    );
    assert!(browser.cookie("__Host-chartgate").is_none());
    assert_eq!(it.house.particulars(Event::EmergencyTested).len(), 1);
    assert!(it.alarms().is_empty());
    assert_eq!(it.check().await["status"], "green");
    it.clock.advance(Duration::from_hours(183 * 24));
    let check = it.check().await;
    assert_eq!(check["status"], "amber");
    assert!(
        check["detail"]
            .as_str()
            .unwrap()
            .contains("test is due: er-1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn such_a_session_is_confirmed_by_its_envelopes_and_ended_by_its_operator() {
    let it = sealed(Emergency::default()).await;
    let mut browser = it.house.browser();
    let sent = it.send(&mut browser, it.codes(), "sign-in").await;
    let before = browser.cookie("__Host-chartgate").unwrap().to_owned();
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    let login = "/.chartgate/login?return_to=/echo&step_up=1&max_age=60";
    let asked = browser.get(&it.house.url(login)).await;
    let location = asked.header("location").unwrap();
    assert_eq!(location, format!("{FORM}?return_to=%2Fecho"));
    let again = it.send(&mut browser, it.codes(), "sign-in").await;
    assert_eq!(again.status, StatusCode::SEE_OTHER, "{}", again.text());
    assert_ne!(browser.cookie("__Host-chartgate"), Some(before.as_str()));
    assert_eq!(
        browser.get(&it.house.url("/echo")).await.status,
        StatusCode::OK
    );
    let removed = it
        .house
        .ask(AdminRequest::Emergency(Ask::Remove {
            name: "er-1".to_owned(),
            reason: "It is over".to_owned(),
        }))
        .await
        .unwrap();
    assert_eq!(removed[0]["removed"], "er-1");
    assert_ne!(
        browser.get(&it.house.url("/echo")).await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_named_networks_get_to_the_form_and_only_where_it_is_configured() {
    let elsewhere = Emergency {
        networks: vec!["192.0.2.0/24".parse().unwrap()],
        ..Emergency::default()
    };
    let it = sealed(elsewhere).await;
    let page = it.house.browser().get(&it.house.url(FORM)).await;
    assert_eq!(page.refusal(), Some("CG-1014"));
    let without = House::open().await;
    let page = without.browser().get(&without.url(FORM)).await;
    assert_eq!(page.refusal(), Some("CG-1014"));
}
