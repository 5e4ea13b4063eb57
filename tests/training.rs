//! Courses: announced, said once a day, then reading only, and how it ends. Reports of something suspicious.

use std::sync::Arc;
use std::time::Duration;

use chartgate::admin::client::AdminClient;
use chartgate::admin::protocol::AdminRequest;
use chartgate::audit::entry::{Entry, Phase};
use chartgate::clock::{ManualClock, SystemClock};
use chartgate::operate::cases::{self, Case, Kind, Level};
use chartgate::request::Event;
use chartgate::training::{Ask, Piece};
use http::{HeaderMap, Method, StatusCode};

use crate::harness::practice::eventually;
use crate::harness::{Browser, House, Page, hidden, without_limits};

const DUE: &str = "data-chartgate=\"training-due\"";
const LAPSED: &str = "data-chartgate=\"training-lapsed\"";
const BROKEN: &str = "data-chartgate=\"break-glass\"";
const DAY: Duration = Duration::from_hours(24);

impl House {
    async fn training(&self, user: Option<&str>) -> Vec<Piece> {
        let user = user.map(ToOwned::to_owned);
        let values = self
            .ask(AdminRequest::Training(Ask::Status { user }))
            .await
            .unwrap();
        values
            .into_iter()
            .map(|value| serde_json::from_value(value).unwrap())
            .collect()
    }

    /// How somebody stands with a course, once the gateway has noticed them.
    async fn stands(&self, who: &str, what: &str) -> String {
        eventually(who, async || {
            let socket = &self.clinic.config().admin.socket;
            let ask = Ask::Status {
                user: Some(who.to_owned()),
            };
            let mut client = AdminClient::ask(socket, AdminRequest::Training(ask))
                .await
                .unwrap();
            let mut found = None;
            while let Ok(Some(value)) = client.next().await {
                match serde_json::from_value(value).unwrap() {
                    Piece::Person { course, state, .. } if course == what => found = Some(state),
                    Piece::Person { .. } | Piece::Course(_) | Piece::More { .. } => {}
                }
            }
            found
        })
        .await
    }

    fn of_event(&self, event: Event) -> Vec<Entry> {
        let all = self.trail().into_iter();
        all.filter(|entry| entry.event == Some(event)).collect()
    }

    /// Answers the questions of a course, all of them right or all of them wrong.
    pub(crate) async fn takes(&self, browser: &mut Browser, id: &str, right: bool) -> Page {
        let url = self.url(&format!("/.chartgate/training/{id}"));
        let form = browser.get(&url).await;
        assert_eq!(form.status, StatusCode::OK, "{}", form.text());
        let active = self.clinic.stages().policies.active();
        let course = active
            .bundle()
            .courses()
            .iter()
            .find(|course| course.id() == id);
        let course = course.unwrap();
        assert!(form.text().contains(course.html()));
        let mut fields = vec![("digest".to_owned(), hidden(&form, "digest"))];
        for (at, question) in course.questions().iter().enumerate() {
            let other = (question.right + 1) % question.choices.len();
            let chosen = if right { question.right } else { other };
            fields.push((format!("q{at}"), chosen.to_string()));
        }
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        browser.post_form(&url, &fields).await
    }

    async fn writes(&self, browser: &mut Browser) -> Page {
        let url = self.url("/chart/notes");
        browser.post_form(&url, &[("text", "Slept well.")]).await
    }
}

/// A clinic in which time passes and nobody is signed out for it.
async fn over_months() -> (Arc<ManualClock>, House) {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let house = House::try_open(clock.clone(), |config| {
        without_limits(config);
        config.identity.idle_timeout = DAY * 300;
        config.identity.absolute_timeout = DAY * 300;
        config.break_glass.fresh = DAY * 300;
        config.training.grace = DAY * 45;
    });
    let house = house.await.unwrap();
    (clock, house)
}

#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
#[tokio::test(flavor = "multi_thread")]
async fn a_course_is_announced_then_urged_then_makes_the_emr_read_only() {
    let (clock, house) = over_months().await;
    let mut nurse = house.at_work("nurse.lind").await;
    assert_eq!(house.stands("nurse.lind", "break-glass").await, "current");
    nurse.visit(&house.url("/patients/select?set_pid=7")).await;
    let plain = nurse.get(&house.url("/chart")).await;
    assert!(!plain.text().contains(DUE), "{}", plain.text());

    // T-30: told on the page.
    clock.advance(DAY * 20);
    let page = nurse.get(&house.url("/chart")).await;
    assert!(page.status == StatusCode::OK && page.text().contains(DUE));
    assert!(page.text().contains("href=\"/.chartgate/training\""));

    // T-7: said once, on a page that somebody opens; neither scripts nor forms are held up.
    clock.advance(DAY * 20);
    nurse.scripted = true;
    let poll = nurse.get(&house.url("/chart")).await;
    assert_eq!(poll.status, StatusCode::OK);
    nurse.scripted = false;
    let note = house.writes(&mut nurse).await;
    assert_eq!(note.refusal(), None, "{}", note.text());
    let mut framed = HeaderMap::new();
    framed.insert("sec-fetch-dest", "iframe".parse().unwrap());
    let frame = nurse
        .send(Method::GET, &house.url("/chart"), None, framed)
        .await;
    assert_eq!(frame.refusal(), None);
    let before = house.reached().len();
    let told = nurse.get(&house.url("/chart?x=1")).await;
    assert_eq!(told.refusal(), Some("CG-3010"), "{}", told.text());
    assert_eq!(house.reached().len(), before);
    for href in ["/.chartgate/training", "/chart?x=1"] {
        assert!(
            told.text().contains(&format!("href=\"{href}\"")),
            "{}",
            told.text()
        );
    }
    let page = nurse.get(&house.url("/chart?x=1")).await;
    assert!(page.status == StatusCode::OK && page.text().contains(DUE));
    clock.advance(DAY);
    let told = nurse.get(&house.url("/chart")).await;
    assert_eq!(told.refusal(), Some("CG-3010"), "the next day");

    // Overdue: charts open, nothing else.
    clock.advance(DAY * 6);
    assert_eq!(house.stands("nurse.lind", "break-glass").await, "lapsed");
    let page = nurse.get(&house.url("/chart/notes")).await;
    assert!(page.status == StatusCode::OK && page.text().contains(LAPSED));
    let before = house.reached().len();
    let refused = house.writes(&mut nurse).await;
    assert_eq!(refused.refusal(), Some("CG-3011"), "{}", refused.text());
    assert!(refused.text().contains("href=\"/.chartgate/training\""));
    assert_eq!(house.reached().len(), before);
    nurse.scripted = true;
    let problem = house.writes(&mut nurse).await.json();
    assert_eq!(problem["code"], "CG-3011");
    nurse.scripted = false;
    // What the role may not do anyway is not blamed on the course.
    let log = nurse.get(&house.url("/admin/audit")).await;
    assert_eq!(log.refusal(), Some("CG-3001"));

    // The glass breaks all the same.
    let closed = nurse.get(&house.url("/chart/sensitive")).await;
    assert_eq!(closed.refusal(), Some("CG-3006"), "{}", closed.text());
    let text = closed.text();
    let (_, rest) = text.split_once("href=\"").unwrap();
    let form = nurse.get(&house.url(rest.split('"').next().unwrap())).await;
    let ticket = hidden(&form, "offer");
    let fields = [
        ("offer", ticket.as_str()),
        ("reason", "OVRER"),
        ("text", "Found unresponsive, has to be treated now."),
    ];
    let url = house.url("/.chartgate/break-glass");
    let sent = nurse.post_form(&url, &fields).await;
    let page = nurse.follow(sent).await;
    assert!(
        page.status == StatusCode::OK && page.text().contains(BROKEN),
        "{}",
        page.text()
    );
    let other = house.url("/patients/select?set_pid=1");
    nurse.visit(&other).await;

    // The courses are taken, and writing works again.
    let failed = house.takes(&mut nurse, "break-glass", false).await;
    assert_eq!(failed.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        failed.text().contains("0 % of the answers are right"),
        "{}",
        failed.text()
    );
    let passed = house.takes(&mut nurse, "break-glass", true).await;
    assert_eq!(passed.status, StatusCode::SEE_OTHER, "{}", passed.text());
    let still = house.writes(&mut nurse).await;
    assert_eq!(
        still.refusal(),
        Some("CG-3011"),
        "another course is overdue"
    );
    house.takes(&mut nurse, "privacy-and-security", true).await;
    let note = house.writes(&mut nurse).await;
    assert_eq!(note.refusal(), None, "{}", note.text());
    let page = nurse.get(&house.url("/chart/notes")).await;
    assert!(!page.text().contains(LAPSED) && !page.text().contains(DUE));

    // All of it is on record.
    let attested = house.of_event(Event::TrainingAttested);
    assert_eq!(attested.len(), 2);
    assert_eq!(attested[0].detail["course"], "break-glass");
    assert_eq!(attested[0].detail["version"], "2026.1");
    assert_eq!(attested[0].detail["score"], "100");
    assert!(attested[0].detail.contains_key("until") && attested[0].detail["digest"].len() == 64);
    let by = attested[0]
        .facts
        .as_ref()
        .unwrap()
        .principal
        .as_ref()
        .unwrap();
    assert_eq!(by.display(), "nurse.lind");
    let failed = house.of_event(Event::TrainingFailed);
    assert_eq!((failed.len(), failed[0].detail["score"].as_str()), (1, "0"));
    let refused = house
        .trail()
        .into_iter()
        .find(|entry| entry.phase == Phase::Refuse && entry.refusal.as_deref() == Some("CG-3011"));
    let decision = refused.unwrap().facts.unwrap().decision.unwrap();
    assert_eq!(decision.training, "lapsed");
    assert_eq!(decision.policies, ["training-lapsed-read-only"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_counted_and_a_course_that_changed_is_read_again() {
    let house = House::open_unlimited().await;
    let mut nurse = house.signed_in("nurse.lind").await;
    let url = house.url("/.chartgate/training/break-glass");
    for (fields, problem) in [
        (vec![("digest", "0")], "has changed"),
        (vec![], "has changed"),
    ] {
        let page = nurse.post_form(&url, &fields).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.text().contains(problem), "{}", page.text());
    }
    let form = nurse.get(&url).await;
    let digest = hidden(&form, "digest");
    let some = [("digest", digest.as_str()), ("q0", "1"), ("q1", "99")];
    let page = nurse.post_form(&url, &some).await;
    assert!(
        page.text().contains("answer every question"),
        "{}",
        page.text()
    );
    let twice = [("digest", digest.as_str()), ("q0", "1"), ("q0", "2")];
    let page = nurse.post_form(&url, &twice).await;
    assert_eq!(page.refusal(), Some("CG-1010"));
    for _ in 0..5 {
        let page = house.takes(&mut nurse, "break-glass", false).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.text().contains("Not right:"));
    }
    let page = house.takes(&mut nurse, "break-glass", true).await;
    assert_eq!(page.refusal(), Some("CG-4003"), "{}", page.text());
    assert!(house.of_event(Event::TrainingAttested).is_empty());
    assert_eq!(house.of_event(Event::TrainingFailed).len(), 5);
    let unknown = nurse.get(&house.url("/.chartgate/training/none")).await;
    assert_eq!(unknown.refusal(), Some("CG-1014"));
    let list = nurse.get(&house.url("/.chartgate/training")).await;
    assert!(
        list.text()
            .contains("/.chartgate/training/privacy-and-security")
    );
    let nobody = house.browser().get(&url).await;
    let login = nobody.header("location").unwrap();
    assert!(
        login.contains("return_to=") && login.contains("training"),
        "{login}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_clinic_shows_every_step_by_its_feed() {
    let house = House::open_unlimited().await;
    let course = "privacy-and-security";
    let mut clerk = house.at_work("billing.shah").await;
    let mut lab = house.at_work("lab.reyes").await;
    let mut tech = house.signed_in("rad.novak").await;
    eventually("the feed", async || {
        let pieces = house.training(None).await;
        pieces.into_iter().find_map(|piece| match piece {
            Piece::Course(count)
                if (count.lapsed, count.urgent, count.due) == (1, 1, 1)
                    && count.course == course =>
            {
                Some(())
            }
            Piece::Course(_) | Piece::Person { .. } | Piece::More { .. } => None,
        })
    })
    .await;
    for (who, state) in [
        ("billing.shah", "lapsed"),
        ("rad.novak", "urgent"),
        ("lab.reyes", "due"),
    ] {
        assert_eq!(house.stands(who, course).await, state);
    }
    let banner = lab.visit(&house.url("/")).await;
    assert!(banner.text().contains(DUE), "{}", banner.text());
    let told = tech.get(&house.url("/")).await;
    assert_eq!(told.refusal(), Some("CG-3010"), "{}", told.text());
    clerk.visit(&house.url("/patients/select?set_pid=4")).await;
    let refused = clerk
        .post_form(
            &house.url("/billing"),
            &[("pid", "4"), ("code", "99213"), ("amount", "80")],
        )
        .await;
    assert_eq!(refused.refusal(), Some("CG-3011"), "{}", refused.text());
    let imported = house.of_event(Event::TrainingImported);
    assert_eq!(imported[0].detail["taken_over"], "3");
    // Newest completion counts: the clerk does the course, and the feed, read again, takes nothing back.
    house.takes(&mut clerk, course, true).await;
    let feed = house.data_dir().join("training.csv");
    let text = std::fs::read_to_string(&feed).unwrap();
    std::fs::write(&feed, format!("{text}nobody,{course},2026.1,never\n")).unwrap();
    let alarm = eventually("an alarm", async || {
        let alarms = house.of_event(Event::Alarm).into_iter();
        alarms
            .into_iter()
            .find(|alarm| alarm.detail["rule"] == "training-feed")
    })
    .await;
    assert!(
        alarm.detail["title"].contains("line 5"),
        "{:?}",
        alarm.detail
    );
    assert!(!alarm.detail["title"].contains("nobody"));
    let status = house.ask(AdminRequest::Status).await.unwrap();
    let checks = status[0]["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["name"] == "training")
        .unwrap();
    assert!(
        check["status"] == "amber" && check["detail"].as_str().unwrap().contains("line 5"),
        "{check}"
    );
    std::fs::write(&feed, format!("{text}nobody,{course},2026.1,2026-01-01\n")).unwrap();
    eventually("the feed again", async || {
        (house.of_event(Event::TrainingImported).len() == 2).then_some(())
    })
    .await;
    assert_eq!(house.stands("billing.shah", course).await, "current");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_finds_suspicious_becomes_a_case() {
    let house = House::open_unlimited().await;
    let mut clerk = house.at_work("billing.shah").await;
    clerk.visit(&house.url("/patients/select?set_pid=4")).await;
    let refused = clerk.get(&house.url("/chart/notes")).await;
    let request = refused.header("x-request-id").unwrap();
    let link = format!("/.chartgate/report?request={request}");
    assert!(
        refused.text().contains(&format!("href=\"{link}\"")),
        "{}",
        refused.text()
    );
    let form = clerk.get(&house.url(&link)).await;
    assert!(
        form.text().contains(&format!("value=\"{request}\"")),
        "{}",
        form.text()
    );
    let forged = clerk
        .get(&house.url("/.chartgate/report?request=%22%3E%3Cscript%3E"))
        .await;
    assert!(!forged.text().contains("script"), "{}", forged.text());

    let url = house.url("/.chartgate/report");
    let short = clerk
        .post_form(&url, &[("text", "<b>help"), ("request", "")])
        .await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!short.text().contains("<b>help"), "{}", short.text());
    let words = "A caller <script>said</script> he is from IT.\r\nHe wanted my password.";
    let sent = clerk
        .post_form(&url, &[("text", words), ("request", request)])
        .await;
    assert_eq!(sent.status, StatusCode::OK);
    assert!(
        sent.text().contains("Your report is case 1."),
        "{}",
        sent.text()
    );

    let shown = house
        .ask(AdminRequest::Case(cases::Ask::Show { number: 1 }))
        .await
        .unwrap();
    let case: Case = serde_json::from_value(shown[0].clone()).unwrap();
    assert_eq!((case.kind, case.level), (Kind::Report, Level::Medium));
    assert_eq!(case.notes[0].by, "billing.shah");
    assert_eq!(case.notes[0].text, words.replace("\r\n", "\n"));
    assert!(case.records.contains(request));
    let reported = house.of_event(Event::SuspicionReported);
    assert_eq!(reported[0].detail["case"], "1");
    assert_eq!(reported[0].detail["about"], request);
    let facts = reported[0].facts.as_ref().unwrap();
    assert_eq!(facts.principal.as_ref().unwrap().display(), "billing.shah");
    let alarms = house.of_event(Event::Alarm);
    assert!(
        alarms
            .iter()
            .any(|alarm| alarm.detail["rule"] == "user-report")
    );

    // Another site reports nothing in anybody's name, and who is not signed in is asked to.
    let mut headers = HeaderMap::new();
    headers.insert("origin", "https://evil.example".parse().unwrap());
    headers.insert("sec-fetch-site", "cross-site".parse().unwrap());
    let body = Some("text=Something+happened+here".into());
    let forged = clerk.send(Method::POST, &url, body, headers).await;
    assert_eq!(forged.refusal(), Some("CG-1012"));
    let nobody = house.browser().get(&house.url(&link)).await;
    let login = nobody.header("location").unwrap();
    assert!(login.contains("report"), "{login}");
    for _ in 0..9 {
        clerk.post_form(&url, &[("text", words)]).await;
    }
    let eleventh = clerk.post_form(&url, &[("text", words)]).await;
    assert_eq!(eleventh.refusal(), Some("CG-4003"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_the_gateway_leads_to_the_report() {
    let house = House::open_unlimited().await;
    let mut nurse = house.at_work("nurse.lind").await;
    nurse.visit(&house.url("/patients/select?set_pid=7")).await;
    for path in [
        "/.chartgate/training",
        "/.chartgate/training/break-glass",
        "/.chartgate/nothing",
        "/chart/sensitive",
        "/admin/audit",
        "/.chartgate/signed-out",
    ] {
        let page = nurse.get(&house.url(path)).await;
        let text = page.text();
        assert!(text.contains("href=\"/.chartgate/report"), "{path}: {text}");
    }
}
