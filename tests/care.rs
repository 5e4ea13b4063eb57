//! A feed says who treats whom, and charts open and close by it while the gateway runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chartgate::audit::entry::Entry;
use chartgate::config::care::CareFeeds;
use chartgate::request::Event;
use http::StatusCode;

use crate::harness::practice::eventually;
use crate::harness::{Browser, House, without_limits};

/// The numbering system of the sample clinic.
const SYSTEM: &str = "urn:example:riverside:pid";

pub(crate) fn write(dir: &Path, lines: &str) {
    let next = dir.join("next");
    fs::write(
        &next,
        format!("user,patient,ward,information_types\n{lines}"),
    )
    .unwrap();
    fs::rename(next, dir.join("care.csv")).unwrap();
}

pub(crate) async fn house(dir: &Path) -> House {
    let file = dir.join("care.csv");
    House::open_with(move |config| {
        without_limits(config);
        config.care = Some(CareFeeds {
            issuer: config.identity.issuers[0].name.clone(),
            system: SYSTEM.to_owned(),
            file: Some(file),
            download: None,
            adt: None,
            refresh: Duration::from_millis(50),
            stale_after: Duration::from_hours(1),
        });
    })
    .await
}

/// What comes of opening a patient's chart: nothing, or the code of the refusal.
async fn chart(house: &House, browser: &mut Browser, patient: &str) -> Option<String> {
    let url = house.url(&format!("/patients/select?set_pid={patient}"));
    let selected = browser.get(&url).await;
    assert_eq!(selected.status, StatusCode::FOUND, "{}", selected.text());
    let page = browser.get(&house.url("/chart")).await;
    page.refusal().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_closes_to_who_is_not_of_the_team_and_opens_when_the_feed_says_so() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "dr.okafor,7,3-west,PSY\n");
    let house = house(dir.path()).await;
    let mut nurse = house.at_work("nurse.lind").await;
    let stranger = Some("CG-3006".to_owned());
    assert_eq!(
        chart(&house, &mut nurse, "7").await,
        stranger,
        "none: an offer"
    );
    assert_eq!(
        chart(&house, &mut nurse, "13").await,
        None,
        "unknown to the feed"
    );
    let mut doctor = house.at_work("dr.okafor").await;
    assert_eq!(chart(&house, &mut doctor, "7").await, None);

    // Who works on the ward is of the team of who lies there.
    write(dir.path(), "dr.okafor,7,3-west,PSY\nnurse.lind,,3-west,\n");
    eventually("the chart opens", async || {
        let mut nurse = house.at_work("nurse.lind").await;
        chart(&house, &mut nurse, "7").await.is_none().then_some(())
    })
    .await;

    // A file that is wrong changes nothing but that an alarm says so.
    write(dir.path(), "dr.okafor\n");
    let alarm = eventually("an alarm", async || {
        let alarms = house.trail().into_iter();
        let mut alarms = alarms.filter(|entry| entry.event == Some(Event::Alarm));
        alarms.find(|entry| {
            entry
                .detail
                .get("rule")
                .is_some_and(|rule| rule == "care-feed")
        })
    })
    .await;
    let title = &alarm.detail["title"];
    assert!(title.contains("counts on: line 2"), "{title}");
    assert_eq!(chart(&house, &mut nurse, "7").await, None);

    let decided = |entry: &Entry| {
        let facts = entry.facts.as_ref()?;
        let decision = facts.decision.as_ref()?;
        let considered = decision.considered.first()?;
        (facts.path == "/chart").then(|| {
            let kinds = considered.situation.information_types.iter();
            let kinds: Vec<_> = kinds.map(ToString::to_string).collect();
            (decision.care_relation.clone(), kinds.concat())
        })
    };
    let found: Vec<_> = house.trail().iter().filter_map(decided).collect();
    for expected in [("none", "PSY"), ("unknown", ""), ("assigned", "PSY")] {
        let expected = (expected.0.to_owned(), expected.1.to_owned());
        assert!(found.contains(&expected), "{expected:?} {found:?}");
    }
}
