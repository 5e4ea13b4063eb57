//! To whom a copy goes, as requests say it and profiles find it.

use super::*;
use crate::request::Disclosure;

async fn told(emrs: &Emrs, call: Call) -> Option<Disclosure> {
    let mapped = call.map(emrs).await.unwrap();
    mapped.mapping().disclosure.as_deref().cloned()
}

async fn sample() -> Emrs {
    let emrs = emrs(SAMPLE);
    sign_in(&emrs, "adams", "s1", "t").await;
    select(&emrs, "t", "4").await;
    emrs
}

fn sent(form: &str) -> Call {
    Call::new("POST", "/chart/send")
        .cookie("CLINICSESSID=t")
        .form(form)
}

#[tokio::test]
async fn the_form_says_to_whom_and_what_for() {
    let emrs = sample().await;
    let found = told(
        &emrs,
        sent("recipient=County+Court&address=1+Main+Street&what=+Whole+chart+&purpose=HLEGAL"),
    );
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        found.await,
        Some(Disclosure {
            recipient: some("County Court"),
            address: some("1 Main Street"),
            description: some("Whole chart"),
            purpose: some("HLEGAL"),
        })
    );
    assert_eq!(told(&emrs, sent("recipient=&other=1")).await, None);
    let long = format!("recipient={}", "x".repeat(500));
    let kept = told(&emrs, sent(&long)).await.unwrap().recipient.unwrap();
    assert_eq!(kept.len(), 200);
    let form = Call::get("/chart/send").cookie("CLINICSESSID=t");
    assert_eq!(told(&emrs, form).await, None);
}

#[tokio::test]
async fn what_looks_like_an_attack_is_not_kept_and_a_field_stands_once() {
    let emrs = sample().await;
    let attack = sent("recipient=x&purpose=%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    let refused = attack.map(&emrs).await.unwrap_err();
    let mapping = refused.facts().mapping.as_deref().unwrap();
    assert_eq!(mapping.disclosure, None);
    assert!(!mapping.inspected.findings.is_empty());
    let twice = sent("recipient=x&recipient=y").map(&emrs).await;
    assert_eq!(twice.unwrap_err().refusal(), Refusal::AmbiguousField);
}

#[tokio::test]
async fn the_first_place_that_names_something_counts_and_words_become_codes() {
    let emrs = emrs(ORTHANC);
    for (path, recipient) in [
        ("/modalities/pacs-2/store", "pacs-2"),
        ("/peers/hospital-b/store", "hospital-b"),
        ("/dicom-web/servers/cloud/stow", "cloud"),
    ] {
        let found = told(&emrs, Call::new("POST", path).json("[]"))
            .await
            .unwrap();
        assert_eq!(found.recipient.as_deref(), Some(recipient));
        assert_eq!(found.description.as_deref(), Some("DICOM images"));
    }
    let profile = SAMPLE.replacen(
        "purpose = { form = \"purpose\" }",
        "purpose = { form = \"purpose\" }\ncodes = { subpoena = \"HLEGAL\" }",
        1,
    );
    let emrs = super::emrs(&profile);
    sign_in(&emrs, "adams", "s1", "t").await;
    select(&emrs, "t", "4").await;
    let found = told(&emrs, sent("purpose=subpoena")).await.unwrap();
    assert_eq!(found.purpose.as_deref(), Some("HLEGAL"));
}

#[test]
fn rules_that_find_nothing_are_problems() {
    let rule = "[route.disclosure]\nrecipient = { form = \"recipient\" }\naddress = { form = \"address\" }\ndescription = { form = \"what\" }\npurpose = { form = \"purpose\" }";
    assert!(SAMPLE.contains(rule));
    let problem = |instead: &str| {
        let profile = SAMPLE.replacen(rule, instead, 1);
        let found = Profile::parse(&profile, "x.toml").unwrap_err();
        let messages: Vec<String> = found.into_iter().map(|one| one.message).collect();
        messages.join("; ")
    };
    for (instead, says) in [
        ("disclosure = {}", "says nothing"),
        ("disclosure = { recipient = \" \" }", "the text is empty"),
        (
            "disclosure = { recipient = { path = \"to\" } }",
            "no path has a `{to}`",
        ),
        (
            "disclosure = { recipient = { form = \"a\", query = \"b\" } }",
            "exactly one place",
        ),
        (
            "disclosure = { recipient = { form = \"a\", strip = \"x\" } }",
            "for numbers of patients",
        ),
        (
            "disclosure = { recipient = { json = \"/to/*\" } }",
            "one recipient",
        ),
        (
            "disclosure = { recipient = \"x\", codes = { a = \"HLEGAL\" } }",
            "there is none",
        ),
        ("disclosure = { receiver = \"x\" }", "unknown field"),
    ] {
        let found = problem(instead);
        assert!(found.contains(says), "{instead}: {found}");
    }
    let read = SAMPLE.replacen("action = \"Disclose\"", "action = \"Read\"", 1);
    let found = Profile::parse(&read, "x.toml").unwrap_err();
    assert!(found.iter().any(|one| one.message.contains("makes none")));
}
