//! The gateway's own second factor, from the provider's answer to the session.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::config::second_factor::{Enrolment, FactorMethod, SecondFactor};
use crate::identity::OwnRoute;
use crate::identity::factor::TotpKey;
use crate::identity::test_authenticator::SoftPasskey;
use crate::identity::test_gateway::{Browser, Gateway, received};
use crate::refusal::Refusal;
use crate::request::{Event, Handled};

pub(super) const PAGE: &str = "/.chartgate/second-factor";
pub(super) const MANAGE: &str = "/.chartgate/second-factor/manage";
pub(super) const ORIGIN: &str = "https://emr.example:8443";

pub(super) fn settings(enrolment: Enrolment) -> SecondFactor {
    SecondFactor {
        issuers: vec!["staff".to_owned()],
        methods: vec![FactorMethod::Passkey, FactorMethod::Totp],
        rp_name: "Riverside Clinic".to_owned(),
        rp_id: None,
        enrolment,
        invitation: Duration::from_hours(72),
        max_failures: 3,
        lockout: Duration::from_mins(15),
        max_authenticators: 3,
    }
}

pub(super) async fn gateway(enrolment: Enrolment) -> Gateway {
    Gateway::start_with(|config| config.second_factor = Some(settings(enrolment))).await
}

pub(super) async fn restarted(gateway: &Gateway, enrolment: Enrolment) -> Gateway {
    let change = |config: &mut crate::config::Identity| {
        config.second_factor = Some(settings(enrolment));
    };
    gateway.restarted_with(change).await
}

/// What a visit came to.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) event: Event,
    pub(super) detail: BTreeMap<String, String>,
    pub(super) status: StatusCode,
    pub(super) location: Option<String>,
    pub(super) html: String,
}

impl Page {
    /// The fields of the form of a step, and what its script is told.
    pub(super) fn form(&self, step: &str) -> (BTreeMap<String, String>, String) {
        let mark = format!("name=\"do\" value=\"{step}\"");
        let mut forms = self.html.split("<form").skip(1);
        let form = forms.find(|form| form.contains(&mark));
        let form = form.unwrap_or_else(|| panic!("no form for {step}: {}", self.html));
        let form = form.split("</form>").next().unwrap();
        let mut fields = BTreeMap::new();
        for input in form.split("<input").skip(1) {
            let input = input.split('>').next().unwrap();
            let of = |key: &str| {
                let (_, rest) = input.split_once(&format!(" {key}=\""))?;
                Some(unescaped(rest.split('"').next()?))
            };
            if let Some(name) = of("name") {
                fields.insert(name, of("value").unwrap_or_default());
            }
        }
        let options = form.split_once("data-options=\"");
        let options = options.map_or_else(String::new, |(_, rest)| {
            unescaped(rest.split('"').next().unwrap())
        });
        (fields, options)
    }

    pub(super) fn offers(&self, step: &str) -> bool {
        self.html.contains(&format!("name=\"do\" value=\"{step}\""))
    }

    pub(super) fn codes(&self) -> Vec<String> {
        let codes = self.html.split("<li><code>").skip(1);
        codes
            .map(|rest| rest.split('<').next().unwrap().to_owned())
            .collect()
    }

    /// Where "continue" leads.
    pub(super) fn next(&self) -> String {
        let (_, rest) = self.html.split_once("id=\"continue\" href=\"").unwrap();
        unescaped(rest.split('"').next().unwrap())
    }

    pub(super) fn key(&self) -> TotpKey {
        let (_, rest) = self.html.split_once("id=\"totp-key\">").unwrap();
        TotpKey::parse(rest.split('<').next().unwrap())
    }
}

fn unescaped(text: &str) -> String {
    text.replace("&#34;", "\"").replace("&#38;", "&")
}

/// Asks for a page of the second factor; a form is sent with `fields`.
pub(super) async fn visit(
    browser: &mut Browser,
    gateway: &Gateway,
    target: &str,
    fields: Option<&BTreeMap<String, String>>,
) -> Result<Page, Refusal> {
    let body = fields.map(|fields| {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields).finish()
    });
    let method = if body.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    let request = received(
        &method,
        target,
        browser.headers(),
        &body.unwrap_or_default(),
    );
    let route = OwnRoute::of(&request.parts().target).unwrap();
    let handled = gateway.handle(route, request).await;
    let Handled {
        event,
        detail,
        response,
        ..
    } = handled.map_err(|refused| refused.refusal())?;
    browser.keep(response.headers());
    let location = response.headers().get(http::header::LOCATION);
    Ok(Page {
        event,
        detail,
        status: response.status(),
        location: location.map(|value| value.to_str().unwrap().to_owned()),
        html: String::from_utf8(response.body().to_vec()).unwrap(),
    })
}

/// The provider's answer with one factor; where the browser is sent.
pub(super) async fn first_factor(browser: &mut Browser, gateway: &Gateway) -> String {
    let asked = browser.start(gateway, "return_to=/chart/4").await;
    one_factor(browser, gateway, &asked).await
}

pub(super) async fn one_factor(
    browser: &mut Browser,
    gateway: &Gateway,
    asked: &url::Url,
) -> String {
    let change = |claims: &mut Value| claims["amr"] = json!(["pwd"]);
    let seen = browser.finish(gateway, asked, change).await.unwrap();
    assert_eq!(seen.event, Event::PageShown);
    assert!(
        !browser.cookies.contains_key("__Host-chartgate")
            || asked.query().unwrap().contains("max_age")
    );
    let at = crate::identity::test_gateway::location(&seen).to_owned();
    assert!(at.starts_with(PAGE), "{at}");
    at
}

/// Sends the form of a step, changed.
pub(super) async fn send(
    browser: &mut Browser,
    gateway: &Gateway,
    page: &Page,
    (step, field, value): (&str, &str, &str),
) -> Result<Page, Refusal> {
    let (mut fields, _) = page.form(step);
    fields.insert(field.to_owned(), value.to_owned());
    visit(browser, gateway, PAGE, Some(&fields)).await
}

/// Someone with a browser and what they enrolled.
pub(super) struct Person {
    pub(super) browser: Browser,
    pub(super) passkey: SoftPasskey,
    pub(super) codes: Vec<String>,
}

/// Enrols a passkey at a first sign-in, and is signed in.
pub(super) async fn enrolled(gateway: &Gateway) -> Person {
    let mut browser = Browser::default();
    let at = first_factor(&mut browser, gateway).await;
    let page = visit(&mut browser, gateway, &at, None).await.unwrap();
    let (_, options) = page.form("enrol-passkey");
    let (passkey, answer) = SoftPasskey::create(&options, ORIGIN);
    let answer = answer.to_string();
    let sent = send(
        &mut browser,
        gateway,
        &page,
        ("enrol-passkey", "credential", &answer),
    );
    let done = sent.await.unwrap();
    assert_eq!(done.event, Event::SecondFactorEnrolled);
    let codes = done.codes();
    assert_eq!(codes.len(), 10);
    let signed_in = visit(&mut browser, gateway, &done.next(), None).await;
    let signed_in = signed_in.unwrap();
    assert_eq!(signed_in.event, Event::Login);
    assert_eq!(signed_in.location.as_deref(), Some("/chart/4"));
    Person {
        browser,
        passkey,
        codes,
    }
}

/// The page of the second factor, in a fresh browser.
pub(super) async fn asked(gateway: &Gateway) -> (Browser, String, Page) {
    let mut browser = Browser::default();
    let at = first_factor(&mut browser, gateway).await;
    let page = visit(&mut browser, gateway, &at, None).await.unwrap();
    (browser, at, page)
}

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
    // Now the first may go; the codes are made anew.
    let page = visit(browser, &gateway, &list, None).await.unwrap();
    let removed = visit(browser, &gateway, PAGE, Some(&page.form("remove").0)).await;
    assert_eq!(removed.unwrap().event, Event::SecondFactorRemoved);
    let page = visit(browser, &gateway, &list, None).await.unwrap();
    let renewed = visit(browser, &gateway, PAGE, Some(&page.form("renew").0)).await;
    let renewed = renewed.unwrap();
    assert_eq!(renewed.event, Event::RecoveryCodesRenewed);
    assert_ne!(renewed.codes(), person.codes);
    // What was removed is not asked for; the app signs in, and the codes from before are void.
    gateway.advance(Duration::from_mins(1));
    let (mut other, at, page) = asked(&gateway).await;
    assert!(!page.offers("passkey") && page.offers("totp"));
    let void = send(
        &mut other,
        &gateway,
        &page,
        ("recovery", "code", &person.codes[0]),
    )
    .await;
    assert_eq!(void.unwrap().event, Event::SecondFactorFailed);
    let now = jiff::Timestamp::from_second(gateway.now()).unwrap();
    let used = send(
        &mut other,
        &gateway,
        &page,
        ("totp", "code", &key.code(now)),
    )
    .await;
    assert_eq!(used.unwrap().event, Event::SecondFactorUsed);
    let login = visit(&mut other, &gateway, &at, None).await.unwrap();
    assert_eq!(login.event, Event::Login);
    // The page of one session is not another's.
    let strange = visit(&mut other, &gateway, &list, None).await.unwrap();
    assert!(strange.location.is_some());
}
