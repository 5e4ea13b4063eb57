//! Attacks through the whole sample clinic: refused where identifiers are expected, on record where people write.

use chartgate::audit::entry::{Entry, Phase};
use http::StatusCode;

use crate::harness::{House, without_limits};

fn inspected(entry: &Entry) -> Vec<String> {
    let mapping = entry
        .facts
        .as_ref()
        .and_then(|facts| facts.mapping.as_ref());
    let findings = mapping.into_iter().flat_map(|m| &m.inspected.findings);
    findings
        .map(|f| format!("{} {} {}", f.rule, f.field, f.mode))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_in_a_search_is_refused_and_never_reaches_the_emr() {
    let house = House::open().await;
    let mut browser = house.at_work("dr.okafor").await;
    let page = browser
        .get(&house.url("/patients/search?q=%27%20OR%201=1--"))
        .await;
    assert_eq!(
        (page.status, page.refusal()),
        (StatusCode::BAD_REQUEST, Some("CG-1017"))
    );
    assert!(!page.text().contains("OR 1=1"), "{}", page.text());
    assert!(house.reached().iter().all(|line| !line.contains("OR%201")));
    let trail = house.trail();
    let refused = trail
        .iter()
        .find(|e| e.refusal.as_deref() == Some("CG-1017"))
        .unwrap();
    assert_eq!(refused.phase, Phase::Refuse);
    assert!(inspected(refused).contains(&"sql-breakout query:q block".to_owned()));
    assert!(!serde_json::to_string(refused).unwrap().contains("1=1"));
    let honest = browser
        .get(&house.url("/patients/search?q=O%27Brien"))
        .await;
    assert_eq!(honest.status, StatusCode::OK, "{}", honest.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_is_free_text_and_passes_on_record() {
    let house = House::open().await;
    let mut browser = house.at_work("dr.okafor").await;
    browser
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let text = "pasted from a mail: <script>x</script>";
    let sent = browser
        .post_form(&house.url("/chart/notes"), &[("text", text)])
        .await;
    assert!(
        sent.status.is_redirection() || sent.status.is_success(),
        "{}",
        sent.text()
    );
    let trail = house.trail();
    let admitted = trail
        .iter()
        .find(|e| e.phase == Phase::Admit && !inspected(e).is_empty())
        .unwrap();
    assert_eq!(inspected(admitted), ["xss-tag form:text detect"]);
    assert!(
        !serde_json::to_string(admitted)
            .unwrap()
            .contains("pasted from")
    );
    let plain = "pt c/o pain; select ESR or CRP. O'Brien's 'ok'. Drop table salt, <3 mg.";
    browser
        .post_form(&house.url("/chart/notes"), &[("text", plain)])
        .await;
    let found = house
        .trail()
        .iter()
        .filter(|e| !inspected(e).is_empty())
        .count();
    assert_eq!(found, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_nobodys_to_look_at() {
    let house = House::open_with(without_limits).await;
    let mut browser = house.signed_in("dr.okafor").await;
    let fields = [("username", "dr.okafor"), ("password", "' OR 1=1--")];
    let answer = browser.post_form(&house.url("/login"), &fields).await;
    assert_ne!(answer.refusal(), Some("CG-1017"), "{}", answer.text());
    assert!(
        house
            .trail()
            .iter()
            .all(|entry| inspected(entry).is_empty())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_patch_closes_a_hole_and_counts() {
    let house = House::open().await;
    let mut browser = house.at_work("dr.okafor").await;
    browser
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let page = browser.get(&house.url("/chart/documents/4711.bak")).await;
    assert_eq!(
        (page.status, page.refusal()),
        (StatusCode::FORBIDDEN, Some("CG-1018"))
    );
    let trail = house.trail();
    let refused = trail
        .iter()
        .find(|e| e.refusal.as_deref() == Some("CG-1018"))
        .unwrap();
    let mapping = refused.facts.as_ref().unwrap().mapping.as_ref().unwrap();
    assert_eq!(
        mapping.inspected.patch.as_deref(),
        Some("RIVERSIDE-2026-01")
    );
    assert_eq!(
        mapping.inspected.patch_field.as_deref(),
        Some("path:document")
    );
    let emr = house.clinic.stages().emrs.emr(0).unwrap();
    assert_eq!(emr.profile().patches()[0].hits(), 1);
    let documents = browser.get(&house.url("/chart/documents")).await;
    assert_eq!(documents.status, StatusCode::OK);
}
