//! A nurse breaks the glass, reads, and is asked about it: the whole way through the sample clinic.

use std::sync::Arc;
use std::time::Duration;

use chartgate::admin::protocol::AdminRequest;
use chartgate::audit::entry::{Entry, Phase};
use chartgate::clock::{ManualClock, SystemClock};
use chartgate::operate::break_glass::{Access, Ask, Glass, Outcome, Which};
use chartgate::policy::standing::Scope;
use chartgate::request::Event;
use http::StatusCode;

use crate::harness::{Browser, House, Page, hidden, without_limits};

pub(crate) const BANNER: &str = "data-chartgate=\"break-glass\"";
pub(crate) const WORDS: &str = "Found unresponsive, has to be treated now.";

/// The address of the form that a refusal page leads to.
pub(crate) fn offer(page: &Page) -> String {
    assert_eq!(
        (page.status, page.refusal()),
        (StatusCode::FORBIDDEN, Some("CG-3006")),
        "{}",
        page.text()
    );
    let text = page.text();
    let (_, rest) = text.split_once("href=\"").expect("a link");
    rest.split('"').next().unwrap().to_owned()
}

impl House {
    pub(crate) async fn on_chart(&self, user: &str, patient: &str) -> Browser {
        let mut browser = self.at_work(user).await;
        self.select(&mut browser, patient).await;
        browser
    }

    pub(crate) async fn select(&self, browser: &mut Browser, patient: &str) {
        let url = self.url(&format!("/patients/select?set_pid={patient}"));
        let page = browser.visit(&url).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    }

    /// Fills in the form behind `offer` and sends it.
    async fn break_glass(&self, browser: &mut Browser, offer: &str) -> Page {
        let form = browser.get(&self.url(offer)).await;
        assert_eq!(form.status, StatusCode::OK, "{}", form.text());
        let ticket = hidden(&form, "offer");
        self.send(browser, &ticket, "OVRER", WORDS).await
    }

    pub(crate) async fn send(
        &self,
        browser: &mut Browser,
        ticket: &str,
        reason: &str,
        text: &str,
    ) -> Page {
        let fields = [("offer", ticket), ("reason", reason), ("text", text)];
        let url = self.url("/.chartgate/break-glass");
        browser.post_form(&url, &fields).await
    }

    pub(crate) async fn opened(&self, browser: &mut Browser, path: &str) -> Page {
        let refused = browser.get(&self.url(path)).await;
        let sent = self.break_glass(browser, &offer(&refused)).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text());
        browser.follow(sent).await
    }

    pub(crate) async fn glasses(&self, which: Which) -> Vec<Glass> {
        let listed = self
            .ask(AdminRequest::BreakGlass(Ask::List { which }))
            .await;
        listed
            .unwrap()
            .into_iter()
            .map(|value| serde_json::from_value(value).unwrap())
            .collect()
    }

    pub(crate) fn events(&self, event: Event) -> Vec<Entry> {
        let all = self.trail().into_iter();
        all.filter(|entry| entry.event == Some(event)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nurse_breaks_the_glass_and_reads_one_chart() {
    let house = House::open().await;
    let mut nurse = house.on_chart("nurse.lind", "7").await;
    let plain = nurse.get(&house.url("/chart")).await;
    assert!(!plain.text().contains(BANNER) && plain.header("content-length").is_some());
    let refused = nurse.get(&house.url("/chart/sensitive")).await;
    let form = offer(&refused);
    assert!(
        !form.contains("patient") && !form.contains("sensitive"),
        "{form}"
    );
    let shown = nurse.get(&house.url(&form)).await;
    assert!(shown.text().contains("for patient 7"), "{}", shown.text());
    assert!(shown.text().contains("4 hours") && shown.text().contains("nurse.lind"));
    let ticket = hidden(&shown, "offer");
    for (reason, text) in [("OVRER", "help"), ("", WORDS), ("BTG", WORDS)] {
        let page = house.send(&mut nurse, &ticket, reason, text).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.text().contains("role=\"alert\""));
    }
    assert!(house.events(Event::BreakGlass).is_empty());
    let sent = house.send(&mut nurse, &ticket, "OVRER", WORDS).await;
    assert_eq!(sent.header("location"), Some("/chart/sensitive"));
    let page = nurse.follow(sent).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert!(page.text().contains(BANNER), "{}", page.text());
    assert!(page.text().contains("reading patient 7&#39;s chart until"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    for path in ["/chart/psychotherapy", "/chart/notes", "/chart"] {
        let page = nurse.get(&house.url(path)).await;
        assert_eq!(page.status, StatusCode::OK, "{path} {}", page.text());
        assert!(page.text().contains(BANNER), "{path}");
    }
    let search = nurse.get(&house.url("/patients/search?q=a")).await;
    assert!(!search.text().contains(BANNER), "no page of the chart");

    // Nothing leaves, nothing is written where it was closed, and no other chart is open.
    let before = house.reached().len();
    for path in ["/chart/print", "/patients/7/export.csv"] {
        let page = nurse.get(&house.url(path)).await;
        assert_eq!(page.refusal(), Some("CG-3001"), "{path}");
    }
    for path in ["/chart/psychotherapy", "/patients/7/delete"] {
        let page = nurse.post_form(&house.url(path), &[("text", "x")]).await;
        assert_eq!(page.refusal(), Some("CG-3001"), "{path}");
    }
    assert_eq!(house.reached().len(), before);
    house.select(&mut nurse, "13").await;
    offer(&nurse.get(&house.url("/chart/sensitive")).await);
    let other = nurse.get(&house.url("/chart")).await;
    assert!(!other.text().contains(BANNER));

    // The form once more: the same grant, and the way back.
    let again = house.send(&mut nurse, &ticket, "OVRER", WORDS).await;
    assert_eq!(again.header("location"), Some("/chart/sensitive"));
    let broken = house.events(Event::BreakGlass);
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].patients().next().unwrap().id, "7");
    assert_eq!(broken[0].detail["reason"], "OVRER");
    assert_eq!(broken[0].detail["text"], WORDS);
    let alarms = house.events(Event::Alarm);
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0].detail["rule"], "break-glass");
    assert_eq!(alarms[0].detail["level"], "high");
    // It leaves for receivers that are not to know about people.
    let title = &alarms[0].detail["title"];
    assert!(!title.contains("lind") && !title.contains('7'), "{title}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_for_one_user_in_one_session() {
    let house = House::open().await;
    let mut nurse = house.on_chart("nurse.lind", "7").await;
    let form = offer(&nurse.get(&house.url("/chart/sensitive")).await);
    let mut doctor = house.on_chart("dr.okafor", "7").await;
    let mut elsewhere = house.on_chart("nurse.lind", "7").await;
    for browser in [&mut doctor, &mut elsewhere] {
        let page = browser.get(&house.url(&form)).await;
        assert_eq!(page.refusal(), Some("CG-3007"), "{}", page.text());
    }
    let shown = nurse.get(&house.url(&form)).await;
    let ticket = hidden(&shown, "offer");
    let token = form.split_once("offer=").unwrap().1;
    let sent = house.send(&mut doctor, &ticket, "OVRER", WORDS).await;
    assert_eq!(sent.refusal(), Some("CG-3007"));
    // Whoever was not shown the form has nothing to send.
    let unseen = house.send(&mut nurse, token, "OVRER", WORDS).await;
    assert_eq!(unseen.refusal(), Some("CG-3007"));
    for path in [
        "/.chartgate/break-glass",
        "/.chartgate/break-glass?patient=7",
        &format!("{form}&offer={token}"),
        &format!("{form}A"),
    ] {
        let page = nurse.get(&house.url(path)).await;
        assert_eq!(page.refusal(), Some("CG-3007"), "{path}");
    }
    let mut headers = http::HeaderMap::new();
    headers.insert("origin", "https://evil.example".parse().unwrap());
    headers.insert("sec-fetch-site", "cross-site".parse().unwrap());
    let forged = nurse
        .send(
            http::Method::POST,
            &house.url("/.chartgate/break-glass"),
            Some(format!("offer={ticket}&reason=OVRER&text={WORDS}").into()),
            headers,
        )
        .await;
    assert_eq!(forged.refusal(), Some("CG-1012"));
    assert!(house.events(Event::BreakGlass).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_are_told_and_get_no_form() {
    let house = House::open().await;
    let mut doctor = house.on_chart("dr.okafor", "1").await;
    let page = doctor.get(&house.url("/chart/psychotherapy")).await;
    let form = doctor.get(&house.url(&offer(&page))).await;
    assert!(
        form.text().contains("opens only by breaking the glass"),
        "{}",
        form.text()
    );
    doctor.scripted = true;
    let answer = doctor.get(&house.url("/chart/psychotherapy")).await;
    let problem = answer.json();
    assert_eq!(
        (problem["code"].as_str(), problem["break_glass"].as_bool()),
        (Some("CG-3006"), Some(true))
    );
    assert!(!answer.text().contains("offer="));
    doctor.scripted = false;
    // What breaking the glass would not open is refused as ever.
    let log = doctor.get(&house.url("/admin/audit")).await;
    assert_eq!(log.refusal(), Some("CG-3001"));
    let mut clerk = house.on_chart("billing.shah", "1").await;
    let notes = clerk.get(&house.url("/chart/sensitive")).await;
    assert_eq!(notes.refusal(), Some("CG-3001"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fourth_glass_of_a_day_is_refused() {
    let house = House::open_unlimited().await;
    let mut nurse = house.on_chart("nurse.lind", "1").await;
    for patient in ["1", "7", "13"] {
        house.select(&mut nurse, patient).await;
        let page = house.opened(&mut nurse, "/chart/sensitive").await;
        assert!(page.text().contains(BANNER), "{}", page.text());
    }
    house.select(&mut nurse, "19").await;
    let refused = nurse.get(&house.url("/chart/sensitive")).await;
    let sent = house.break_glass(&mut nurse, &offer(&refused)).await;
    assert_eq!(sent.refusal(), Some("CG-3008"), "{}", sent.text());
    // What the detection rules make of four glasses is on the trail too, whenever they get to it.
    let alarms = house.events(Event::Alarm);
    let quota = |alarm: &&Entry| alarm.detail["rule"] == "break-glass-quota";
    assert_eq!(alarms.iter().filter(quota).count(), 1, "{alarms:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_asks_for_a_fresh_sign_in_and_comes_back() {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let house = House::try_open(clock.clone(), |config| {
        without_limits(config);
        config.break_glass.fresh = Duration::from_secs(10);
    })
    .await
    .unwrap();
    let mut nurse = house.on_chart("nurse.lind", "7").await;
    let form = offer(&nurse.get(&house.url("/chart/sensitive")).await);
    clock.advance(Duration::from_secs(12));
    let asked = nurse.get(&house.url(&form)).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER);
    assert!(asked.header("location").unwrap().contains("step_up=1"));
    let page = house
        .sign_in(&mut nurse, "nurse.lind", &house.url(&form))
        .await;
    assert!(page.url.as_str().ends_with(&form), "{}", page.url);
    let ticket = hidden(&page, "offer");
    let sent = house.send(&mut nurse, &ticket, "CG-COVERING", WORDS).await;
    let page = nurse.follow(sent).await;
    assert!(page.text().contains(BANNER), "{}", page.text());
    let steps = house.events(Event::StepUp);
    assert_eq!(steps.len(), 1);
}

/// Care does not wait for a provider that is down: the glass is broken under the sign-in that there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_stands_in_nobody_s_way() {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let (house, way) = House::open_by_way(clock.clone(), |config| {
        without_limits(config);
        config.break_glass.fresh = Duration::from_secs(10);
    })
    .await;
    let mut nurse = house.on_chart("nurse.lind", "7").await;
    let form = offer(&nurse.get(&house.url("/chart/sensitive")).await);
    clock.advance(Duration::from_secs(12));
    let asked = nurse.get(&house.url(&form)).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER, "it can be confirmed");
    way.close();
    let sent = house.break_glass(&mut nurse, &form).await;
    let page = nurse.follow(sent).await;
    assert!(page.text().contains(BANNER), "{}", page.text());
    let [broken] = house.particulars(Event::BreakGlass).try_into().unwrap();
    assert_eq!(broken["confirmed"], "no, the provider did not answer");
    assert_eq!(broken["sign_in_age"], "12s");
    assert!(house.glasses(Which::All).await[0].unconfirmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_reviews_what_was_opened() {
    let house = House::open_with(|config| {
        without_limits(config);
        for name in config.admin.operators.values_mut() {
            "nurse.lind".clone_into(name);
        }
    })
    .await;
    let mut nurse = house.on_chart("nurse.lind", "7").await;
    house.opened(&mut nurse, "/chart/sensitive").await;
    nurse.get(&house.url("/chart/notes")).await;
    nurse.get(&house.url("/chart/print")).await;
    let mut doctor = house.on_chart("dr.okafor", "1").await;
    house.opened(&mut doctor, "/chart/psychotherapy").await;

    let open = house.glasses(Which::Open).await;
    let [theirs, own] = open.as_slice() else {
        panic!("{open:?}")
    };
    assert_eq!(
        (own.name.as_str(), theirs.name.as_str()),
        ("nurse.lind", "dr.okafor")
    );
    let show = Ask::Show { id: own.id.clone() };
    let shown = house.ask(AdminRequest::BreakGlass(show)).await.unwrap();
    let accesses: Vec<Access> = shown
        .iter()
        .skip(1)
        .map(|value| serde_json::from_value(value.clone()).unwrap())
        .collect();
    let seen: Vec<_> = accesses
        .iter()
        .map(|access| (access.place.as_str(), access.refusal.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            ("GET /chart/sensitive", None),
            ("GET /chart/notes", None),
            ("GET /chart/print", Some("CG-3001"))
        ]
    );
    let review = |glass: &Glass| {
        AdminRequest::BreakGlass(Ask::Review {
            id: glass.id.clone(),
            outcome: Outcome::Appropriate,
            note: "Was on call.".to_owned(),
        })
    };
    for glass in [own, theirs] {
        let end = Ask::End {
            id: glass.id.clone(),
        };
        house.ask(AdminRequest::BreakGlass(end)).await.unwrap();
    }
    let after = nurse.get(&house.url("/chart/sensitive")).await;
    offer(&after);
    let refused = house.ask(review(own)).await.unwrap_err().to_string();
    assert!(refused.contains("somebody else"), "{refused}");
    house.ask(review(theirs)).await.unwrap();
    let left = house.glasses(Which::Unreviewed).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, own.id);
    let reviewed = house.events(Event::BreakGlassReviewed);
    assert_eq!(reviewed.len(), 1);
    assert_eq!(reviewed[0].detail["grant"], theirs.id);
    assert_eq!(reviewed[0].detail["operator"], "nurse.lind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_that_nobody_makes_turns_the_status_red() {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let house = House::try_open(clock.clone(), without_limits)
        .await
        .unwrap();
    let line = async || {
        let status = house.ask(AdminRequest::Status).await.unwrap();
        let checks = status[0]["checks"].as_array().unwrap().clone();
        let check = checks
            .into_iter()
            .find(|check| check["name"] == "break-glass");
        check.unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(line().await, "green");
    let mut nurse = house.on_chart("nurse.lind", "7").await;
    house.opened(&mut nurse, "/chart/sensitive").await;
    assert_eq!(line().await, "amber");
    clock.advance(Duration::from_hours(25));
    assert_eq!(line().await, "red");
    assert!(house.glasses(Which::Open).await.is_empty());
    let rules: Vec<String> = house
        .events(Event::Alarm)
        .iter()
        .map(|alarm| alarm.detail["rule"].clone())
        .collect();
    assert_eq!(rules, ["break-glass", "break-glass-review-overdue"]);
    assert_eq!(house.events(Event::BreakGlassEnded).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lockdown_is_told_and_below_level_four_not_in_the_way() {
    let house = House::open_unlimited().await;
    let mut nurse = house.on_chart("nurse.lind", "7").await;
    let at = |level: u8| {
        let policies = &house.clinic.stages().policies;
        policies.restate(|standing| {
            standing.lockdowns.insert(Scope::All, level);
        });
    };
    at(3);
    let page = house.opened(&mut nurse, "/chart/sensitive").await;
    assert!(page.text().contains(BANNER), "{}", page.text());
    assert!(page.text().contains("data-chartgate=\"lockdown\""));
    let search = nurse.get(&house.url("/patients/search?q=a")).await;
    assert!(search.text().contains("level 3 is in force"));
    at(4);
    for path in ["/chart/sensitive", "/chart"] {
        let page = nurse.get(&house.url(path)).await;
        assert_eq!(page.refusal(), Some("CG-3009"), "{path}");
    }
    let admitted = house.trail().into_iter().filter(|entry| {
        let decision = entry
            .facts
            .as_ref()
            .and_then(|facts| facts.decision.as_ref());
        entry.phase == Phase::Admit && decision.is_some_and(|decision| decision.grant.is_some())
    });
    assert_eq!(admitted.count(), 1);
}
