//! A gateway with a second factor of its own, and people who visit its pages.

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

/// Sends the answer of a passkey.
pub(super) async fn answered(
    browser: &mut Browser,
    gateway: &Gateway,
    page: &Page,
    answer: &str,
) -> Result<Page, Refusal> {
    send(browser, gateway, page, ("passkey", "credential", answer)).await
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
