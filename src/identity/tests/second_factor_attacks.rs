//! What must not pass the gateway's own second factor.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use super::second_factor_visits::{
    MANAGE, ORIGIN, PAGE, Page, answered, asked, enrolled, first_factor, gateway, send, visit,
};
use crate::config::second_factor::Enrolment::FirstSignIn;
use crate::identity::Deactivated;
use crate::identity::test_authenticator::SoftPasskey;
use crate::identity::test_gateway::{Browser, Gateway};
use crate::refusal::Refusal;
use crate::request::Event;
use crate::store::memory::Fault;

fn now(gateway: &Gateway) -> jiff::Timestamp {
    jiff::Timestamp::from_second(gateway.now()).unwrap()
}

/// Changes one byte of a field of an authenticator's answer.
fn flipped(answer: &Value, field: &str, at: usize, bit: u8) -> String {
    let mut answer = answer.clone();
    let spelled = answer["response"][field].as_str().unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(spelled).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1 << (bit % 8);
    answer["response"][field] = json!(URL_SAFE_NO_PAD.encode(bytes));
    answer.to_string()
}

#[tokio::test]
async fn no_mutation_of_an_answer_a_ceremony_or_a_flow_is_accepted() {
    let gateway = gateway(FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    let (mut browser, at, _) = asked(&gateway).await;
    let mut noise = [0_u8; 120];
    aws_lc_rs::rand::fill(&mut noise).unwrap();
    for (round, pair) in noise.chunks_exact(2).enumerate() {
        gateway.identity.unlock_factors("staff|u1").await.unwrap();
        let page = visit(&mut browser, &gateway, &at, None).await.unwrap();
        let (fields, options) = page.form("passkey");
        let answer = person.passkey.get(&options);
        let (offset, bit) = (usize::from(pair[0]), pair[1]);
        let field = ["signature", "authenticatorData", "clientDataJSON"][round % 3];
        let mut forged = fields.clone();
        forged.insert(
            "credential".to_owned(),
            flipped(&answer, field, offset, bit),
        );
        let refused = visit(&mut browser, &gateway, PAGE, Some(&forged))
            .await
            .unwrap();
        assert_eq!(
            refused.event,
            Event::SecondFactorFailed,
            "{field} {offset} {bit}"
        );
        // The right answer now finds its ceremony used up.
        let mut right = fields.clone();
        right.insert("credential".to_owned(), answer.to_string());
        let late = visit(&mut browser, &gateway, PAGE, Some(&right))
            .await
            .unwrap();
        assert_eq!(late.detail["cause"], "expired or used before");
        for name in ["flow", "ceremony"] {
            let mut forged = right.clone();
            let mut spelled = forged[name].clone().into_bytes();
            let index = offset % (spelled.len() - 1);
            spelled[index] = if spelled[index] == b'A' { b'B' } else { b'A' };
            forged.insert(name.to_owned(), String::from_utf8(spelled).unwrap());
            match visit(&mut browser, &gateway, PAGE, Some(&forged)).await {
                Ok(page) => assert_eq!(page.event, Event::SecondFactorFailed),
                Err(refusal) => assert_eq!(refusal, Refusal::LoginStateUnknown),
            }
        }
        assert!(!browser.cookies.contains_key("__Host-chartgate"));
    }
}

#[tokio::test]
async fn an_answer_is_for_its_challenge_its_flow_its_origin_and_a_verified_user() {
    let gateway = gateway(FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    let failed = |page: Result<Page, Refusal>| {
        assert_eq!(page.unwrap().event, Event::SecondFactorFailed);
    };
    let (mut mine, _, my_page) = asked(&gateway).await;
    let (mut theirs, _, their_page) = asked(&gateway).await;
    let answer = person.passkey.get(&my_page.form("passkey").1).to_string();
    // The answer to one challenge, sent for another.
    failed(answered(&mut theirs, &gateway, &their_page, &answer).await);
    // With the first one's ceremony, in the other flow.
    let (mut fields, _) = their_page.form("passkey");
    fields.insert(
        "ceremony".to_owned(),
        my_page.form("passkey").0["ceremony"].clone(),
    );
    fields.insert("credential".to_owned(), answer.clone());
    failed(visit(&mut theirs, &gateway, PAGE, Some(&fields)).await);
    // In its own it is good, once.
    let used = answered(&mut mine, &gateway, &my_page, &answer).await;
    assert_eq!(used.unwrap().event, Event::SecondFactorUsed);
    failed(answered(&mut mine, &gateway, &my_page, &answer).await);
    // Lured to another site, or without PIN or fingerprint.
    for (origin, verifies) in [
        ("https://emr.example.evil.example", true),
        ("https://emr.example", true),
        (ORIGIN, false),
    ] {
        gateway.identity.unlock_factors("staff|u1").await.unwrap();
        let (mut browser, _, page) = asked(&gateway).await;
        person.passkey.origin = origin.to_owned();
        person.passkey.verifies = verifies;
        let answer = person.passkey.get(&page.form("passkey").1).to_string();
        failed(answered(&mut browser, &gateway, &page, &answer).await);
    }
    // Someone else's passkey.
    let options = their_page.form("passkey").1;
    let create = json!({"publicKey": {"attestation": "none", "authenticatorSelection": {"userVerification": "required"},
        "user": {"id": "AAAA"}, "rp": {"id": "emr.example"}, "challenge": "AAAA"}});
    let (stranger, _) = SoftPasskey::create(&create.to_string(), ORIGIN);
    let options: Value = serde_json::from_str(&options).unwrap();
    let answer = stranger
        .assert(&options["publicKey"]["challenge"])
        .to_string();
    let (mut browser, _, page) = asked(&gateway).await;
    failed(answered(&mut browser, &gateway, &page, &answer).await);
}

#[tokio::test]
async fn a_passkey_that_counts_backwards_is_suspended() {
    let gateway = gateway(FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    person.passkey.counter = 10;
    let (mut browser, _, page) = asked(&gateway).await;
    let answer = person.passkey.get(&page.form("passkey").1).to_string();
    let used = answered(&mut browser, &gateway, &page, &answer).await;
    assert_eq!(used.unwrap().event, Event::SecondFactorUsed);
    // A copy that was made before.
    person.passkey.counter = 4;
    let (mut browser, at, page) = asked(&gateway).await;
    let answer = person.passkey.get(&page.form("passkey").1).to_string();
    let copied = answered(&mut browser, &gateway, &page, &answer).await;
    let copied = copied.unwrap();
    assert_eq!(
        (copied.event, copied.status),
        (Event::SecondFactorSuspect, StatusCode::FORBIDDEN)
    );
    // Neither is accepted any more, nor asked for; and it is no account that may enrol afresh.
    let page = visit(&mut browser, &gateway, &at, None).await.unwrap();
    assert!(!page.offers("passkey") && !page.offers("enrol-passkey") && page.offers("recovery"));
    let view = gateway.identity.factors_of("dr.adams").await.unwrap();
    assert!(view.authenticators[0].suspended.is_some());
}

#[tokio::test]
async fn tabs_that_asked_before_a_passkey_was_used_cannot_use_an_older_count() {
    let gateway = gateway(FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    let (mut a, _, page_a) = asked(&gateway).await;
    let (mut b, _, page_b) = asked(&gateway).await;
    person.passkey.counter = 8;
    let newer = person.passkey.get(&page_a.form("passkey").1).to_string();
    person.passkey.counter = 4;
    let older = person.passkey.get(&page_b.form("passkey").1).to_string();
    let used = answered(&mut a, &gateway, &page_a, &newer).await;
    assert_eq!(used.unwrap().event, Event::SecondFactorUsed);
    let copied = answered(&mut b, &gateway, &page_b, &older).await;
    assert_eq!(copied.unwrap().event, Event::SecondFactorSuspect);
}

#[tokio::test]
async fn whoever_is_kept_out_meanwhile_gets_no_further() {
    let gateway = gateway(FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    let (mut browser, at, page) = asked(&gateway).await;
    let answer = person.passkey.get(&page.form("passkey").1).to_string();
    let mut list = Deactivated::of("staff");
    list.add_subject("u1");
    gateway.identity.deactivate(list);
    let shown = visit(&mut browser, &gateway, &at, None).await;
    assert_eq!(shown.map(drop), Err(Refusal::UserDeactivated));
    let sent = answered(&mut browser, &gateway, &page, &answer).await;
    assert_eq!(sent.map(drop), Err(Refusal::UserDeactivated));
    let list = visit(&mut person.browser, &gateway, MANAGE, None).await;
    assert_eq!(list.map(drop), Err(Refusal::UserDeactivated));
    gateway.identity.deactivate(Deactivated::default());
    let locked = [("staff|u1".to_owned(), None)].into();
    gateway.identity.lock_out(locked);
    let sent = answered(&mut browser, &gateway, &page, &answer).await;
    assert_eq!(sent.map(drop), Err(Refusal::UserLocked));
}

#[tokio::test]
async fn a_flow_is_for_its_browser_and_its_time() {
    let gateway = gateway(FirstSignIn).await;
    let person = enrolled(&gateway).await;
    let (mut browser, at, page) = asked(&gateway).await;
    let mut stranger = Browser::default();
    let mut attacker = Browser::default();
    first_factor(&mut attacker, &gateway).await;
    let code = &person.codes[0];
    for other in [&mut stranger, &mut attacker] {
        let shown = visit(other, &gateway, &at, None).await;
        assert_eq!(shown.map(drop), Err(Refusal::LoginStateUnknown));
        let sent = send(other, &gateway, &page, ("recovery", "code", code)).await;
        assert_eq!(sent.map(drop), Err(Refusal::LoginStateUnknown));
    }
    gateway.advance(Duration::from_mins(10));
    let late = send(&mut browser, &gateway, &page, ("recovery", "code", code)).await;
    assert_eq!(late.map(drop), Err(Refusal::LoginStateUnknown));
    for junk in [
        PAGE.to_owned(),
        format!("{PAGE}?flow=x"),
        format!("{at}&flow=x"),
    ] {
        assert!(visit(&mut browser, &gateway, &junk, None).await.is_err());
    }
    let list = visit(&mut browser, &gateway, MANAGE, None).await;
    assert_eq!(list.map(drop), Err(Refusal::LoginRequired));
}

#[tokio::test]
async fn a_reset_ends_what_was_proven_before_it_and_two_tabs_get_one_session() {
    let gateway = gateway(FirstSignIn).await;
    let person = enrolled(&gateway).await;
    let (mut browser, at, page) = asked(&gateway).await;
    let used = send(
        &mut browser,
        &gateway,
        &page,
        ("recovery", "code", &person.codes[0]),
    )
    .await;
    assert_eq!(used.unwrap().event, Event::RecoveryCodeUsed);
    let mut twin = browser.clone();
    let (one, other) = tokio::join!(
        visit(&mut browser, &gateway, &at, None),
        visit(&mut twin, &gateway, &at, None)
    );
    let opened = [one.is_ok(), other.is_ok()];
    assert_eq!(opened.iter().filter(|opened| **opened).count(), 1);
    let (mut browser, at, page) = asked(&gateway).await;
    let used = send(
        &mut browser,
        &gateway,
        &page,
        ("recovery", "code", &person.codes[1]),
    )
    .await;
    assert_eq!(used.unwrap().event, Event::RecoveryCodeUsed);
    gateway.identity.reset_factors("staff|u1").await.unwrap();
    let refused = visit(&mut browser, &gateway, &at, None).await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
    assert!(!browser.cookies.contains_key("__Host-chartgate"));
}

#[tokio::test]
async fn whoever_stops_half_way_does_not_find_the_session_of_someone_else() {
    let gateway = gateway(FirstSignIn).await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "").await;
    // Someone signs in in another tab meanwhile, with the provider's own second factor.
    let other = |claims: &mut Value| claims["sub"] = json!("u2");
    browser.sign_in(&gateway, other).await.unwrap();
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    let change = |claims: &mut Value| claims["amr"] = json!(["pwd"]);
    browser.finish(&gateway, &asked, change).await.unwrap();
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionUnknown)
    );
}

#[tokio::test]
async fn a_store_that_is_down_is_never_nothing_enrolled() {
    let gateway = gateway(FirstSignIn).await;
    enrolled(&gateway).await;
    let (mut browser, at, page) = asked(&gateway).await;
    gateway.home.fail(Fault::Everything);
    let shown = visit(&mut browser, &gateway, &at, None).await;
    assert_eq!(shown.map(drop), Err(Refusal::StoreUnavailable));
    let sent = send(&mut browser, &gateway, &page, ("recovery", "code", "x")).await;
    assert_eq!(sent.map(drop), Err(Refusal::StoreUnavailable));
}

#[tokio::test]
async fn nothing_of_it_is_readable_in_the_store_or_in_a_record() {
    let gateway = gateway(FirstSignIn).await;
    let (mut browser, _, page) = asked(&gateway).await;
    let shown = page.html.split_once("id=\"totp-key\">").unwrap().1;
    let key = shown.split('<').next().unwrap().replace(' ', "");
    let code = page.key().code(now(&gateway));
    let done = send(&mut browser, &gateway, &page, ("enrol-totp", "code", &code))
        .await
        .unwrap();
    let store = format!("{:?}", gateway.home);
    let detail = format!("{:?}", done.detail);
    let mut secrets: BTreeSet<String> = done.codes().into_iter().collect();
    secrets.extend(["staff|u1", "dr.adams", key.as_str(), code.as_str()].map(str::to_owned));
    for secret in secrets {
        assert!(!store.contains(&secret), "{secret}");
        assert!(!detail.contains(&secret), "{secret}");
    }
    let csp = done.html.contains("<script");
    assert!(!csp, "the codes' page runs nothing");
}
