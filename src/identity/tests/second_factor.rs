//! The gateway's own second factor, from the provider's answer to the session.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::second_factor_visits::{
    MANAGE, ORIGIN, PAGE, Person, asked, enrolled, gateway, one_factor, send, settings, visit,
};
use crate::config::second_factor::{Enrolment, SecondFactor};
use crate::identity::factor::TotpKey;
use crate::identity::test_authenticator::SoftPasskey;
use crate::identity::test_gateway::{Browser, Gateway};
use crate::refusal::Refusal;
use crate::request::Event;

#[tokio::test]
async fn a_passkey_is_enrolled_and_signs_in() {
    let gateway = gateway(Enrolment::FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    // The handle names nobody.
    assert_eq!(person.passkey.handle().len(), 16);
    gateway.advance(Duration::from_mins(1));
    let (mut browser, at, page) = asked(&gateway).await;
    assert!(!page.offers("enrol-passkey") && !page.offers("totp"));
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::LoginRequired));
    let (_, options) = page.form("passkey");
    let answer = person.passkey.get(&options).to_string();
    let used = send(
        &mut browser,
        &gateway,
        &page,
        ("passkey", "credential", &answer),
    );
    let used = used.await.unwrap();
    assert_eq!(used.event, Event::SecondFactorUsed);
    assert_eq!(used.location.as_deref(), Some(at.as_str()));
    let login = visit(&mut browser, &gateway, &at, None).await.unwrap();
    assert_eq!(login.event, Event::Login);
    assert_eq!(login.detail["second_factor"], "passkey");
    let identified = browser.open(&gateway).await.unwrap();
    let proof = identified.principal().proof();
    assert!(proof.mfa);
    assert_eq!(proof.auth_time.unwrap().as_second(), gateway.now());
    assert_eq!(proof.amr, ["pwd", "hwk", "user", "mfa", "phr", "chartgate"]);
    // The way to the session is used up.
    let again = visit(&mut browser, &gateway, &at, None).await;
    assert_eq!(again.map(drop), Err(Refusal::LoginStateUnknown));
}

#[tokio::test]
async fn the_provider_s_own_second_factor_is_enough_and_cannot_pretend_to_be_ours() {
    let gateway = gateway(Enrolment::Invited).await;
    let mut browser = Browser::default();
    let change = |claims: &mut Value| claims["amr"] = json!(["mfa", "chartgate"]);
    let seen = browser.sign_in(&gateway, change).await.unwrap();
    assert_eq!(seen.event, Event::Login);
    let identified = browser.open(&gateway).await.unwrap();
    assert_eq!(identified.principal().proof().amr, ["mfa"]);
}

#[tokio::test]
async fn without_it_one_factor_is_refused_as_before() {
    for own in [None, Some(vec!["others".to_owned()])] {
        let change = |config: &mut crate::config::Identity| {
            config.second_factor = own.map(|issuers| SecondFactor {
                issuers,
                ..settings(Enrolment::FirstSignIn)
            });
        };
        let gateway = Gateway::start_with(change).await;
        let mut browser = Browser::default();
        let refused = browser
            .sign_in(&gateway, |c| c["amr"] = json!(["pwd"]))
            .await;
        assert_eq!(refused.map(drop), Err(Refusal::MfaRequired));
        let page = visit(&mut browser, &gateway, MANAGE, None).await;
        assert!(page.is_err());
    }
}

#[tokio::test]
async fn an_invitation_is_needed_once_and_by_name_or_id() {
    for name in ["dr.adams", "staff|u1"] {
        let gateway = gateway(Enrolment::Invited).await;
        let (mut browser, at, page) = asked(&gateway).await;
        assert!(page.offers("invitation") && !page.offers("enrol-totp"));
        // Asked for without the code, enrolment is refused.
        let mut fields = page.form("invitation").0;
        fields.insert("do".to_owned(), "enrol-totp".to_owned());
        fields.insert("ceremony".to_owned(), fields["flow"].clone());
        fields.insert("name".to_owned(), String::new());
        let forced = visit(&mut browser, &gateway, PAGE, Some(&fields)).await;
        assert_eq!(forced.map(drop), Err(Refusal::MalformedBody));
        let first = gateway.identity.invite_to_factor(name).await.unwrap();
        let second = gateway.identity.invite_to_factor(name).await.unwrap();
        let void = first.code.expose().clone();
        let wrong = send(&mut browser, &gateway, &page, ("invitation", "code", &void));
        let wrong = wrong.await.unwrap();
        assert_eq!(
            (wrong.event, wrong.status),
            (Event::SecondFactorFailed, StatusCode::FORBIDDEN)
        );
        // Two browsers show the code; the first one that enrols has used it.
        let code = second.code.expose().to_lowercase();
        let (mut other, elsewhere, other_page) = asked(&gateway).await;
        for (browser, page) in [(&mut browser, &page), (&mut other, &other_page)] {
            let shown = send(browser, &gateway, page, ("invitation", "code", &code)).await;
            assert_eq!(
                shown.unwrap().detail["second_factor"],
                "invitation-accepted"
            );
        }
        let mine = visit(&mut browser, &gateway, &at, None).await.unwrap();
        let theirs = visit(&mut other, &gateway, &elsewhere, None).await.unwrap();
        let now = jiff::Timestamp::from_second(gateway.now()).unwrap();
        let (my_code, their_code) = (mine.key().code(now), theirs.key().code(now));
        let done = send(
            &mut browser,
            &gateway,
            &mine,
            ("enrol-totp", "code", &my_code),
        );
        assert_eq!(done.await.unwrap().event, Event::SecondFactorEnrolled);
        let late = send(
            &mut other,
            &gateway,
            &theirs,
            ("enrol-totp", "code", &their_code),
        );
        assert_eq!(late.await.map(drop), Err(Refusal::MalformedBody));
        // Nor does it open another account's enrolment, or work again after a reset.
        gateway.identity.reset_factors("staff|u1").await.unwrap();
        let (mut browser, _, page) = asked(&gateway).await;
        let again = send(&mut browser, &gateway, &page, ("invitation", "code", &code)).await;
        assert_eq!(again.unwrap().event, Event::SecondFactorFailed);
    }
}

#[tokio::test]
async fn a_code_that_is_void_neither_enrols_nor_uses_up_the_one_after_it() {
    let gateway = gateway(Enrolment::Invited).await;
    let code = async || {
        let invited = gateway.identity.invite_to_factor("dr.adams").await;
        invited.unwrap().code.expose().clone()
    };
    let (mut browser, at, page) = asked(&gateway).await;
    let first = code().await;
    let shown = send(
        &mut browser,
        &gateway,
        &page,
        ("invitation", "code", &first),
    )
    .await;
    shown.unwrap();
    let page = visit(&mut browser, &gateway, &at, None).await.unwrap();
    let second = code().await;
    let now = jiff::Timestamp::from_second(gateway.now()).unwrap();
    let app = page.key().code(now);
    let void = send(&mut browser, &gateway, &page, ("enrol-totp", "code", &app)).await;
    assert_eq!(void.map(drop), Err(Refusal::LoginStateUnknown));
    let (mut other, _, page) = asked(&gateway).await;
    let shown = send(&mut other, &gateway, &page, ("invitation", "code", &second)).await;
    assert_eq!(
        shown.unwrap().detail["second_factor"],
        "invitation-accepted"
    );
}

#[tokio::test]
async fn an_invitation_ends_and_is_for_one_user() {
    let gateway = gateway(Enrolment::Invited).await;
    let invited = gateway
        .identity
        .invite_to_factor("nurse.lee")
        .await
        .unwrap();
    let mine = gateway.identity.invite_to_factor("dr.adams").await.unwrap();
    let (mut browser, _, page) = asked(&gateway).await;
    let theirs = invited.code.expose().clone();
    let refused = send(
        &mut browser,
        &gateway,
        &page,
        ("invitation", "code", &theirs),
    );
    assert_eq!(refused.await.unwrap().event, Event::SecondFactorFailed);
    gateway.advance(Duration::from_hours(72));
    let (mut browser, _, page) = asked(&gateway).await;
    let late = mine.code.expose().clone();
    let refused = send(&mut browser, &gateway, &page, ("invitation", "code", &late));
    assert_eq!(refused.await.unwrap().event, Event::SecondFactorFailed);
}

#[tokio::test]
async fn a_step_up_asks_the_provider_and_then_the_own_factor() {
    let gateway = gateway(Enrolment::FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    gateway.advance(Duration::from_mins(5));
    let before = person.browser.open(&gateway).await.unwrap();
    let browser = &mut person.browser;
    let asked = browser.start(&gateway, "return_to=/export&step_up=1").await;
    let at = one_factor(browser, &gateway, &asked).await;
    // Until it is done the session is as it was.
    let meanwhile = browser.open(&gateway).await.unwrap();
    assert_eq!(meanwhile.principal().proof(), before.principal().proof());
    let page = visit(browser, &gateway, &at, None).await.unwrap();
    let answer = person.passkey.get(&page.form("passkey").1).to_string();
    let used = send(browser, &gateway, &page, ("passkey", "credential", &answer));
    assert_eq!(used.await.unwrap().event, Event::SecondFactorUsed);
    let done = visit(browser, &gateway, &at, None).await.unwrap();
    assert_eq!(done.event, Event::StepUp);
    assert_eq!(done.location.as_deref(), Some("/export"));
    let after = browser.open(&gateway).await.unwrap();
    assert_eq!(after.session(), before.session());
    assert_eq!(
        after.principal().proof().auth_time.unwrap().as_second(),
        gateway.now()
    );
}

#[tokio::test]
async fn a_step_up_belongs_to_its_session() {
    let gateway = gateway(Enrolment::FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    let browser = &mut person.browser;
    let asked = browser.start(&gateway, "step_up=1").await;
    let at = one_factor(browser, &gateway, &asked).await;
    let page = visit(browser, &gateway, &at, None).await.unwrap();
    let answer = person.passkey.get(&page.form("passkey").1).to_string();
    let used = send(browser, &gateway, &page, ("passkey", "credential", &answer));
    used.await.unwrap();
    browser.cookies.remove("__Host-chartgate");
    let refused = visit(browser, &gateway, &at, None).await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
}

#[tokio::test]
async fn recovery_codes_work_once_each() {
    let gateway = gateway(Enrolment::FirstSignIn).await;
    let person = enrolled(&gateway).await;
    let code = &person.codes[3];
    let (mut browser, at, page) = asked(&gateway).await;
    let used = send(&mut browser, &gateway, &page, ("recovery", "code", code)).await;
    let used = used.unwrap();
    assert_eq!(
        (used.event, used.detail["left"].as_str()),
        (Event::RecoveryCodeUsed, "9")
    );
    let login = visit(&mut browser, &gateway, &at, None).await.unwrap();
    assert_eq!(login.detail["second_factor"], "recovery");
    let proof = browser
        .open(&gateway)
        .await
        .unwrap()
        .principal()
        .proof()
        .clone();
    assert_eq!(proof.amr, ["pwd", "mfa", "chartgate"]);
    let (mut browser, _, page) = asked(&gateway).await;
    let again = send(&mut browser, &gateway, &page, ("recovery", "code", code)).await;
    assert_eq!(again.unwrap().event, Event::SecondFactorFailed);
}

#[tokio::test]
async fn authenticators_are_added_and_removed_after_a_fresh_factor_only() {
    let gateway = gateway(Enrolment::FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    let browser = &mut person.browser;
    let sent = visit(browser, &gateway, MANAGE, None).await.unwrap();
    let at = sent.location.unwrap();
    let page = visit(browser, &gateway, &at, None).await.unwrap();
    // Not proven yet: neither the list nor a form of it.
    let mut fields = page.form("passkey").0;
    fields.insert("do".to_owned(), "renew".to_owned());
    let early = visit(browser, &gateway, PAGE, Some(&fields)).await;
    assert_eq!(early.map(drop), Err(Refusal::MalformedBody));
    let flow = at.split_once("flow=").unwrap().1;
    let list = format!("{MANAGE}?flow={flow}");
    let early = visit(browser, &gateway, &list, None).await.unwrap();
    assert!(
        early
            .location
            .is_some_and(|to| to.starts_with(PAGE) && to != at)
    );
    let answer = person.passkey.get(&page.form("passkey").1).to_string();
    let used = send(browser, &gateway, &page, ("passkey", "credential", &answer));
    used.await.unwrap();
    let passed = visit(browser, &gateway, &at, None).await.unwrap();
    assert_eq!(passed.location.as_deref(), Some(list.as_str()));
    // One's only authenticator stays.
    let page = visit(browser, &gateway, &list, None).await.unwrap();
    let (fields, _) = page.form("remove");
    let kept = visit(browser, &gateway, PAGE, Some(&fields)).await.unwrap();
    assert_eq!(
        (kept.event, kept.status),
        (Event::PageShown, StatusCode::CONFLICT)
    );
    // A second one: a wrong code, then the right one for the same key.
    let add = format!("{PAGE}?flow={flow}&add=1");
    let page = visit(browser, &gateway, &add, None).await.unwrap();
    let key = page.key();
    let wrong = send(browser, &gateway, &page, ("enrol-totp", "code", "000000x"))
        .await
        .unwrap();
    assert_eq!(
        (wrong.event, wrong.status),
        (Event::SecondFactorFailed, StatusCode::FORBIDDEN)
    );
    let now = jiff::Timestamp::from_second(gateway.now()).unwrap();
    assert_eq!(wrong.key().code(now), key.code(now));
    let code = key.code(now);
    let added = send(browser, &gateway, &wrong, ("enrol-totp", "code", &code));
    let added = added.await.unwrap();
    assert_eq!(added.event, Event::SecondFactorEnrolled);
    assert_eq!(
        (
            added.detail["method"].as_str(),
            added.detail["first"].as_str()
        ),
        ("totp", "no")
    );
    let views = gateway.identity.factors(Some("dr.adams")).await.unwrap();
    assert_eq!(views[0].authenticators.len(), 2);
    first_one_goes(&gateway, person, (&list, &key)).await;
}

/// Now the first may go; the codes are made anew.
async fn first_one_goes(gateway: &Gateway, mut person: Person, (list, key): (&str, &TotpKey)) {
    let browser = &mut person.browser;
    let page = visit(browser, gateway, list, None).await.unwrap();
    let removed = visit(browser, gateway, PAGE, Some(&page.form("remove").0)).await;
    assert_eq!(removed.unwrap().event, Event::SecondFactorRemoved);
    let page = visit(browser, gateway, list, None).await.unwrap();
    let renewed = visit(browser, gateway, PAGE, Some(&page.form("renew").0)).await;
    let renewed = renewed.unwrap();
    assert_eq!(renewed.event, Event::RecoveryCodesRenewed);
    assert_ne!(renewed.codes(), person.codes);
    // What was removed is not asked for; the app signs in, and the codes from before are void.
    gateway.advance(Duration::from_mins(1));
    let (mut other, at, page) = asked(gateway).await;
    assert!(!page.offers("passkey") && page.offers("totp"));
    let void = send(
        &mut other,
        gateway,
        &page,
        ("recovery", "code", &person.codes[0]),
    )
    .await;
    assert_eq!(void.unwrap().event, Event::SecondFactorFailed);
    let now = jiff::Timestamp::from_second(gateway.now()).unwrap();
    let used = send(&mut other, gateway, &page, ("totp", "code", &key.code(now))).await;
    assert_eq!(used.unwrap().event, Event::SecondFactorUsed);
    let login = visit(&mut other, gateway, &at, None).await.unwrap();
    assert_eq!(login.event, Event::Login);
    // The page of one session is not another's.
    let strange = visit(&mut other, gateway, list, None).await.unwrap();
    assert!(strange.location.is_some());
}

#[tokio::test]
async fn an_account_has_so_many_authenticators_and_no_more() {
    let gateway = gateway(Enrolment::FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    let browser = &mut person.browser;
    let sent = visit(browser, &gateway, MANAGE, None).await.unwrap();
    let at = sent.location.unwrap();
    let page = visit(browser, &gateway, &at, None).await.unwrap();
    let answer = person.passkey.get(&page.form("passkey").1).to_string();
    let used = send(browser, &gateway, &page, ("passkey", "credential", &answer));
    used.await.unwrap();
    let add = format!("{at}&add=1");
    let before = visit(browser, &gateway, &add, None).await.unwrap();
    for name in ["Key at home <b>\u{202e}", ""] {
        let page = visit(browser, &gateway, &add, None).await.unwrap();
        let (mut fields, options) = page.form("enrol-passkey");
        // The authenticators that there are, are left out.
        assert!(options.contains("excludeCredentials"));
        let (_, answer) = SoftPasskey::create(&options, ORIGIN);
        fields.insert("credential".to_owned(), answer.to_string());
        fields.insert("name".to_owned(), name.to_owned());
        let done = visit(browser, &gateway, PAGE, Some(&fields)).await.unwrap();
        assert_eq!(done.event, Event::SecondFactorEnrolled);
    }
    let view = gateway.identity.factors_of("staff|u1").await.unwrap();
    let names: Vec<&str> = view
        .authenticators
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["Passkey", "Key at home b", "Passkey"]);
    let full = visit(browser, &gateway, &add, None).await.unwrap();
    assert!(!full.offers("enrol-passkey") && !full.offers("enrol-totp"));
    let now = jiff::Timestamp::from_second(gateway.now()).unwrap();
    let code = before.key().code(now);
    let late = send(browser, &gateway, &before, ("enrol-totp", "code", &code)).await;
    assert_eq!(late.map(drop), Err(Refusal::MalformedBody));
}
