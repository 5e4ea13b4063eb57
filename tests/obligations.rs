//! What permits oblige beyond the sign-in: to look only, to be marked, to say why, and not too often.

use std::fs;
use std::time::Duration;

use chartgate::audit::entry::{Entry, Phase};
use chartgate::config::Config;
use chartgate::request::Event;
use http::{HeaderMap, Method, StatusCode};

use crate::harness::process::chartgate;
use crate::harness::{Browser, House, Page, hidden, without_limits};

const WORDS: &str = "Dr. Okafor asked for a second look.";
const MARK: &str = "data-chartgate=\"watermark\"";

/// A permit of what nurses may do anyway, with obligations; they add to those of the shipped permit.
fn permit(id: &str, obligations: &str, actions: &str, section: &str) -> String {
    format!(
        "@id(\"{id}\")\n@doc(\"Nurses, with conditions.\")\n{obligations}\npermit (\n  principal in Role::\"nurse\",\n  action in [{actions}],\n  resource == Section::\"{section}\"\n);\n"
    )
}

const READ: &str = "Action::\"Read\"";

fn tuned(config: &mut Config) {
    without_limits(config);
    config.policy.watch_interval = Duration::ZERO;
}

async fn activate(house: &House) -> crate::harness::process::Ended {
    let config = house.clinic.facts().config.display().to_string();
    chartgate(&["policy", "activate", "--config", &config]).await
}

/// A clinic in which these permits are in force beside the shipped ones, and a nurse on a chart.
async fn obliged(permits: &str) -> (House, Browser) {
    let house = House::open_with(tuned).await;
    let policies = house.data_dir().join("policies");
    // The shipped tables say what the shipped policies oblige.
    fs::remove_dir_all(policies.join("tests")).unwrap();
    fs::write(policies.join("obliged.cedar"), permits).unwrap();
    let done = activate(&house).await;
    assert_eq!(done.code, Some(0), "{} {}", done.out, done.err);
    let nurse = house.on_chart("nurse.lind", "4").await;
    (house, nurse)
}

/// The newest record of a request to `path` in this phase.
fn newest(house: &House, path: &str, phase: Phase) -> Entry {
    let all = house.trail().into_iter();
    let of_path = |entry: &Entry| entry.facts.as_ref().is_some_and(|facts| facts.path == path);
    all.filter(|entry| entry.phase == phase && of_path(entry))
        .last()
        .unwrap_or_else(|| panic!("no record of {path}"))
}

fn recorded(entry: &Entry) -> Vec<String> {
    let facts = entry.facts.as_ref().unwrap();
    facts.decision.as_ref().unwrap().obligations.clone()
}

async fn marked(house: &House, path: &str) -> Option<String> {
    let admission = newest(house, path, Phase::Admit);
    assert!(recorded(&admission).contains(&"watermark".to_owned()));
    let outcome = house.outcome_of(admission.id).await;
    outcome.outcome.unwrap().watermark
}

async fn scripted(browser: &mut Browser, url: &str) -> Page {
    browser.scripted = true;
    let answer = browser.get(url).await;
    browser.scripted = false;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_only_is_looked_at_and_takes_nothing() {
    let (house, mut nurse) = obliged(&permit("read-only", "@readonly", READ, "medications")).await;
    // A profile that takes a form for a reading.
    let profile = house.data_dir().join("policies/emr/sample-clinic.toml");
    let text = fs::read_to_string(&profile).unwrap();
    let route = text.find("id = \"prescription-create\"").unwrap();
    let (before, after) = text.split_at(route);
    let after = after.replacen("action = \"Create\"", "action = \"Read\"", 1);
    fs::write(&profile, format!("{before}{after}")).unwrap();
    let done = activate(&house).await;
    assert_eq!(done.code, Some(0), "{} {}", done.out, done.err);

    let url = house.url("/chart/medications");
    let page = nurse.get(&url).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert!(page.text().contains("data-chartgate=\"read-only\""));
    let admission = newest(&house, "/chart/medications", Phase::Admit);
    assert_eq!(recorded(&admission), ["readonly"]);
    let before = house.reached().len();
    let sent = nurse.post_form(&url, &[("text", "x")]).await;
    assert_eq!(
        (sent.status, sent.refusal()),
        (StatusCode::FORBIDDEN, Some("CG-3012"))
    );
    assert!(sent.text().contains("may only be looked at"));
    assert_eq!(house.reached().len(), before, "nothing reached the EMR");
    let refused = newest(&house, "/chart/medications", Phase::Refuse);
    assert_eq!(recorded(&refused), ["readonly"]);
    // Another part of the same chart is as it was.
    let notes = nurse.get(&house.url("/chart/notes")).await;
    assert!(!notes.text().contains("data-chartgate=\"read-only\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_carries_its_watermark_and_what_cannot_is_withheld() {
    let permits = [
        permit("marked-notes", "@watermark", READ, "notes"),
        permit("marked-documents", "@watermark", READ, "documents"),
    ];
    let (house, mut nurse) = obliged(&permits.concat()).await;
    let url = house.url("/chart/notes");
    let page = nurse.get(&url).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let text = page.text();
    let id = page.header("x-request-id").unwrap();
    assert!(
        text.contains(MARK) && text.contains("data-chartgate=\"watermark-line\""),
        "{text}"
    );
    assert!(text.contains("Shown to nurse.lind &#183; "), "{text}");
    assert!(
        text.matches(id).count() > 10,
        "the request stands all over the page"
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(
        marked(&house, "/chart/notes").await.as_deref(),
        Some("carried")
    );
    // A script makes part of a page of it; the page is marked.
    let part = scripted(&mut nurse, &url).await;
    assert_eq!(part.status, StatusCode::OK);
    assert!(!part.text().contains(MARK));
    assert_eq!(
        marked(&house, "/chart/notes").await.as_deref(),
        Some("part")
    );

    let list = nurse.get(&house.url("/chart/documents")).await;
    assert!(list.text().contains(MARK), "{}", list.text());
    let text = list.text();
    let (_, link) = text
        .split_once("href=\"/chart/documents/")
        .expect("a document");
    let path = format!("/chart/documents/{}", link.split('"').next().unwrap());
    let withheld = nurse.get(&house.url(&path)).await;
    assert_eq!(withheld.refusal(), Some("CG-3005"), "{}", withheld.text());
    assert_eq!(marked(&house, &path).await.as_deref(), Some("impossible"));
    // Where nothing obliges it there is none.
    let chart = nurse.get(&house.url("/chart")).await;
    assert!(!chart.text().contains(MARK));
}

/// The address of the form that a page is led to.
fn form_of(page: &Page) -> String {
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text());
    assert_eq!(page.refusal(), Some("CG-3013"));
    let location = page.header("location").unwrap();
    assert!(
        location.starts_with("/.chartgate/reason?enquiry="),
        "{location}"
    );
    location.to_owned()
}

async fn send(
    house: &House,
    browser: &mut Browser,
    ticket: &str,
    reason: &str,
    text: &str,
) -> Page {
    let fields = [("enquiry", ticket), ("reason", reason), ("text", text)];
    browser
        .post_form(&house.url("/.chartgate/reason"), &fields)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_stated_once_and_names_what_it_opened() {
    let (house, mut nurse) = obliged(&permit("why", "@reason(\"15m\")", READ, "results")).await;
    let url = house.url("/chart/results");
    let form = form_of(&nurse.get(&url).await);
    assert!(!form.contains("results"), "{form}");
    let shown = nurse.get(&house.url(&form)).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text());
    for words in [
        "Read results",
        "Nurses, with conditions.",
        "15 minutes",
        "nurse.lind",
    ] {
        assert!(shown.text().contains(words), "{words}: {}", shown.text());
    }
    let ticket = hidden(&shown, "enquiry");
    for (reason, text) in [("TREAT", "help"), ("", WORDS), ("OVRER", WORDS)] {
        let page = send(&house, &mut nurse, &ticket, reason, text).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert!(house.particulars(Event::ReasonStated).is_empty());
    form_of(&nurse.get(&url).await);
    let sent = send(&house, &mut nurse, &ticket, "TREAT", WORDS).await;
    assert_eq!(
        sent.header("location"),
        Some("/chart/results"),
        "{}",
        sent.text()
    );
    let page = nurse.follow(sent).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());

    let [stated] = &house.particulars(Event::ReasonStated)[..] else {
        panic!("one reason")
    };
    assert_eq!(
        (stated["reason"].as_str(), stated["text"].as_str()),
        ("TREAT", WORDS)
    );
    assert_eq!(stated["holds"], "900s");
    let admission = newest(&house, "/chart/results", Phase::Admit);
    assert_eq!(recorded(&admission), ["reason=900s"]);
    let decision = admission.facts.as_ref().unwrap().decision.clone().unwrap();
    assert_eq!(decision.reasons, [stated["stated"].clone()]);
    assert_eq!(decision.stated, ["TREAT"]);
    let all = house.trail().into_iter();
    let event = all
        .filter(|entry| entry.event == Some(Event::ReasonStated))
        .last()
        .unwrap();
    assert_eq!(
        event.facts.unwrap().mapping.as_ref().unwrap().patients[0].id,
        "4"
    );

    // It holds for scripts too, and for this patient only.
    assert_eq!(scripted(&mut nurse, &url).await.status, StatusCode::OK);
    house.select(&mut nurse, "7").await;
    form_of(&nurse.get(&url).await);
    house.select(&mut nurse, "4").await;
    assert_eq!(nurse.get(&url).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_of_one_session_and_scripts_and_forms_are_told_where_to_state_it() {
    let permits = [
        permit("why", "@reason", READ, "results"),
        permit("why-write", "@reason", "Action::\"Create\"", "notes"),
    ];
    let (house, mut nurse) = obliged(&permits.concat()).await;
    let url = house.url("/chart/results");
    let form = form_of(&nurse.get(&url).await);
    // The link that was passed on opens nothing, nor does it in another session of the same user.
    for user in ["nurse.lind", "dr.okafor"] {
        let mut other = house.on_chart(user, "4").await;
        let void = other.get(&house.url(&form)).await;
        assert_eq!(void.refusal(), Some("CG-3014"), "{user}");
        let ticket = form.split_once('=').unwrap().1;
        let void = send(&house, &mut other, ticket, "TREAT", WORDS).await;
        assert_eq!(void.refusal(), Some("CG-3014"), "{user}");
    }
    // What leads to the form does not state a reason by itself.
    let ticket = form.split_once('=').unwrap().1;
    let void = send(&house, &mut nurse, ticket, "TREAT", WORDS).await;
    assert_eq!(void.refusal(), Some("CG-3014"));

    let told = scripted(&mut nurse, &url).await;
    assert_eq!(
        (told.status.as_u16(), told.refusal()),
        (428, Some("CG-3013"))
    );
    let problem = told.json();
    let place = problem["reason_form"].as_str().unwrap();
    assert!(place.starts_with("/.chartgate/reason?enquiry="), "{place}");
    let mut headers = HeaderMap::new();
    headers.insert("accept-language", "de".parse().unwrap());
    headers.insert("sec-fetch-dest", "iframe".parse().unwrap());
    let framed = nurse.send(Method::GET, &url, None, headers).await;
    assert_eq!(framed.refusal(), Some("CG-3013"));

    let before = house.reached().len();
    let notes = house.url("/chart/notes");
    let kept = nurse.post_form(&notes, &[("text", "x")]).await;
    assert_eq!(
        (kept.status.as_u16(), kept.refusal()),
        (428, Some("CG-3013"))
    );
    let text = kept.text();
    assert!(
        text.contains("What you sent has not reached the EMR"),
        "{text}"
    );
    assert!(
        text.contains("href=\"/.chartgate/reason?enquiry="),
        "{text}"
    );
    assert_eq!(house.reached().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_counts_what_was_permitted_and_nothing_else() {
    let permits = [
        permit("seldom", "@limit(\"2/h\")\n@reason", READ, "results"),
        permit("oftener", "@limit(\"1000/m\")", READ, "results"),
    ];
    let (house, mut nurse) = obliged(&permits.concat()).await;
    let url = house.url("/chart/results");
    // Refused for want of a reason: nothing is used up.
    for _ in 0..3 {
        form_of(&nurse.get(&url).await);
    }
    let form = form_of(&nurse.get(&url).await);
    let shown = nurse.get(&house.url(&form)).await;
    let sent = send(
        &house,
        &mut nurse,
        &hidden(&shown, "enquiry"),
        "TREAT",
        WORDS,
    )
    .await;
    assert_eq!(nurse.follow(sent).await.status, StatusCode::OK);
    assert_eq!(nurse.get(&url).await.status, StatusCode::OK);
    let before = house.reached().len();
    let over = nurse.get(&url).await;
    assert_eq!(
        (over.status.as_u16(), over.refusal()),
        (429, Some("CG-4006"))
    );
    let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1800).contains(&wait), "{wait}");
    assert_eq!(
        over.header("ratelimit-policy"),
        Some("\"permit\";q=2;w=3600")
    );
    assert_eq!(house.reached().len(), before);
    let refused = newest(&house, "/chart/results", Phase::Refuse);
    assert_eq!(
        recorded(&refused),
        ["reason=3600s", "limit=1000/m", "limit=2/h"]
    );
    // Other parts, and other people, are as they were.
    assert_eq!(
        nurse.get(&house.url("/chart/notes")).await.status,
        StatusCode::OK
    );
    let mut doctor = house.on_chart("dr.okafor", "4").await;
    assert_eq!(doctor.get(&url).await.status, StatusCode::OK);
    // Another bundle gives nobody their requests back.
    let done = activate(&house).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(nurse.get(&url).await.refusal(), Some("CG-4006"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_obligation_that_contradicts_its_permit_does_not_load() {
    let house = House::open_with(tuned).await;
    let file = house.data_dir().join("policies/obliged.cedar");
    for (text, said) in [
        (
            permit(
                "a",
                "@readonly",
                "Action::\"Read\", Action::\"Print\"",
                "notes",
            ),
            "opens more than looking: Print",
        ),
        (permit("a", "@limit(\"20 an hour\")", READ, "notes"), "20/h"),
        (
            permit("a", "@watermark(\"yes\")", READ, "notes"),
            "there is none to choose",
        ),
        (
            permit("a", "@reasons", READ, "notes"),
            "is not an annotation that the gateway knows",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let dir = house.data_dir().join("policies").display().to_string();
        let checked = chartgate(&["policy", "check", "--policies", &dir]).await;
        assert_eq!(checked.code, Some(64), "{said}");
        let all = format!("{}{}", checked.out, checked.err);
        assert!(all.contains(said), "{said}: {all}");
    }
}
