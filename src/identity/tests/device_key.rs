//! Sessions that are bound to a key of their device.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

use crate::config;
use crate::config::sessions::BindTo;
use crate::identity::device_key::{Asks, Given};
use crate::identity::test_device::Device;
use crate::identity::test_gateway::{Browser, Gateway, Seen, received};
use crate::limit::screen::Screened;
use crate::refusal::Refusal;
use crate::request::{Event, Handled};

const COOKIE: &str = "__Host-chartgate-device";

fn bound(config: &mut config::Identity) {
    config.sessions.binding.on = vec![BindTo::DeviceKey];
}

async fn gateway() -> Gateway {
    Gateway::start_with(bound).await
}

/// The challenge that an answer offers registration with.
fn offered(seen: &Seen) -> Option<String> {
    let offer = seen.response.headers().get("secure-session-registration")?;
    let offer = offer.to_str().unwrap();
    let rest = offer
        .strip_prefix(r#"(ES256 RS256);path="/.chartgate/device-key";challenge=""#)
        .unwrap();
    Some(rest.strip_suffix('"').unwrap().to_owned())
}

/// The session of a challenge, and the rest of it.
fn halves(challenge: &str) -> (&str, &str) {
    challenge.split_once('.').unwrap()
}

/// What became of a request of the browser's own.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
    record: Option<(Event, std::collections::BTreeMap<String, String>)>,
}

impl Answer {
    /// The challenge, and the session that it is for.
    fn challenge(&self) -> (String, String) {
        assert_eq!(self.status, StatusCode::FORBIDDEN);
        let field = self.headers["secure-session-challenge"].to_str().unwrap();
        let (challenge, id) = field.split_once(";id=").unwrap();
        (
            challenge.trim_matches('"').to_owned(),
            id.trim_matches('"').to_owned(),
        )
    }
}

async fn ask(
    gateway: &Gateway,
    asks: Asks,
    fields: &[(&'static str, &str)],
) -> Result<Answer, Refusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    // No cookie: browsers leave it out where another site led here.
    let request = received(&Method::POST, "/.chartgate/device-key", headers, "");
    let given = gateway
        .identity
        .device_key(asks, Screened::for_test(request))
        .await
        .map_err(|refused| refused.refusal())?;
    let (response, record) = match given {
        Given::Registered(handled) => {
            let Handled {
                event,
                detail,
                response,
                ..
            } = *handled;
            (response, Some((event, detail)))
        }
        Given::Refreshed(response) => (response, None),
    };
    let (parts, body) = response.into_parts();
    assert_eq!(parts.headers[header::CACHE_CONTROL], "no-store");
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        record,
    })
}

async fn register(gateway: &Gateway, token: &str) -> Result<Answer, Refusal> {
    ask(
        gateway,
        Asks::Register,
        &[("secure-session-response", token)],
    )
    .await
}

async fn refresh(gateway: &Gateway, id: &str, proof: Option<&str>) -> Result<Answer, Refusal> {
    let mut fields = vec![("sec-secure-session-id", id)];
    fields.extend(proof.map(|proof| ("secure-session-response", proof)));
    ask(gateway, Asks::Refresh, &fields).await
}

/// A browser whose session is bound to its device, for longer than its page was on the way.
async fn at_work(gateway: &Gateway) -> (Browser, Device, String) {
    let mut browser = Browser::default();
    let seen = browser.sign_in(gateway, |_| {}).await.unwrap();
    let device = Device::new();
    let token = device.registration(&offered(&seen).unwrap());
    let answer = register(gateway, &token).await.unwrap();
    browser.keep(&answer.headers);
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    gateway.advance(Duration::from_secs(10));
    let id = told["session_identifier"].as_str().unwrap().to_owned();
    (browser, device, id)
}

/// Asks for a challenge, answers it, and keeps the cookie.
async fn renew(gateway: &Gateway, browser: &mut Browser, device: &Device, id: &str) {
    let (challenge, _) = refresh(gateway, id, None).await.unwrap().challenge();
    let proof = device.proof(&challenge);
    let answer = refresh(gateway, id, Some(&proof)).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, ""));
    browser.keep(&answer.headers);
}

#[tokio::test]
async fn a_session_is_bound_to_the_key_that_its_browser_registers() {
    let gateway = gateway().await;
    for device in [Device::new(), Device::with_rsa()] {
        let mut browser = Browser::default();
        let seen = browser.sign_in(&gateway, |_| {}).await.unwrap();
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
        let token = device.registration(&offered(&seen).unwrap());
        let answer = register(&gateway, &format!("\"{token}\"")).await.unwrap();
        let (event, detail) = answer.record.unwrap();
        assert_eq!(event, Event::DeviceKeyRegistered);
        assert_eq!(detail["algorithm"], device.algorithm());
        assert_eq!(detail["key"].len(), 43);
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            told,
            json!({
                "session_identifier": seen.facts.session.unwrap(),
                "refresh_url": "/.chartgate/device-key/refresh",
                "scope": { "origin": "https://emr.example:8443", "include_site": false },
                "credentials": [{
                    "type": "cookie",
                    "name": COOKIE,
                    "attributes": "Path=/; Secure; HttpOnly; SameSite=Lax",
                }],
                "allowed_refresh_initiators": ["*"],
            })
        );
        let set = answer.headers[header::SET_COOKIE].to_str().unwrap();
        let (pair, attributes) = set.split_once("; ").unwrap();
        assert!(pair.starts_with("__Host-chartgate-device=") && pair.len() < 80);
        let expected = "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600";
        assert_eq!(attributes, expected);
        // What was on its way meanwhile still arrives; then nothing does without the proof.
        gateway.advance(Duration::from_secs(9));
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
        gateway.advance(Duration::from_secs(1));
        assert_eq!(
            browser.outcome(&gateway).await,
            Err(Refusal::BindingChanged)
        );
        browser.keep(&answer.headers);
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
    }
}

#[tokio::test]
async fn a_browser_that_knows_no_device_keys_goes_on_unbound() {
    let gateway = gateway().await;
    let browser = gateway.signed_in().await;
    gateway.advance(Duration::from_mins(10));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    // Where it is not configured, nothing is offered and nothing is there.
    let other = Gateway::start().await;
    let mut browser = Browser::default();
    let seen = browser.sign_in(&other, |_| {}).await.unwrap();
    assert_eq!(offered(&seen), None);
    let id = seen.facts.session.unwrap();
    let refused = refresh(&other, &id, None).await.map(|_| ());
    assert_eq!(refused, Err(Refusal::NotFound));
}

#[tokio::test]
async fn the_cookie_is_renewed_by_proofs_of_the_key_and_nothing_else() {
    let gateway = gateway().await;
    let (mut browser, device, id) = at_work(&gateway).await;
    let stolen = browser.clone();
    gateway.advance(Duration::from_secs(619));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    gateway.advance(Duration::from_secs(1));
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::BindingChanged)
    );
    let (challenge, named) = refresh(&gateway, &id, None).await.unwrap().challenge();
    assert_eq!(named, id);
    let proof = device.proof(&challenge);
    let answer = refresh(&gateway, &id, Some(&proof)).await.unwrap();
    browser.keep(&answer.headers);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    assert_eq!(stolen.outcome(&gateway).await, Err(Refusal::BindingChanged));

    // Sent again, too late, for the registration, or made up: no cookie, another challenge.
    let (late, _) = refresh(&gateway, &id, None).await.unwrap().challenge();
    gateway.advance(Duration::from_mins(2));
    for proof in [&proof, &device.proof(&late), &device.proof("made-up")] {
        let answer = refresh(&gateway, &id, Some(proof)).await.unwrap();
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
        answer.challenge();
    }
    // By another key, or one that it brings itself: refused, on record.
    let (challenge, _) = refresh(&gateway, &id, None).await.unwrap().challenge();
    for forged in [
        Device::new().proof(&challenge),
        Device::new().registration(&challenge),
        device.registration(&challenge),
        "x".repeat(20_000),
    ] {
        let refused = refresh(&gateway, &id, Some(&forged)).await.map(|_| ());
        assert_eq!(refused, Err(Refusal::BindingChanged), "{forged:.80}");
    }
    // None of that took anything from the device.
    let answer = refresh(&gateway, &id, Some(&device.proof(&challenge))).await;
    assert!(answer.unwrap().headers.contains_key(header::SET_COOKIE));
    for unknown in [
        "",
        "x",
        &"0".repeat(32),
        &id.to_uppercase(),
        &format!("{id}0"),
    ] {
        let refused = refresh(&gateway, unknown, None).await.map(|_| ());
        assert!(refused.is_err(), "{unknown}");
    }
}

#[tokio::test]
async fn a_key_is_registered_once_for_its_own_session_and_in_time() {
    let gateway = gateway().await;
    let mut browser = Browser::default();
    let seen = browser.sign_in(&gateway, |_| {}).await.unwrap();
    let challenge = offered(&seen).unwrap();
    let other = Browser::default().sign_in(&gateway, |_| {}).await.unwrap();
    let others = offered(&other).unwrap();
    let device = Device::new();
    // Its own challenge under the other session's name, and the other way round.
    let ((id, own), (other, foreign)) = (halves(&challenge), halves(&others));
    for mixed in [format!("{id}.{foreign}"), format!("{other}.{own}")] {
        let refused = register(&gateway, &device.registration(&mixed)).await;
        assert_eq!(refused.map(|_| ()), Err(Refusal::BindingChanged));
    }
    for odd in ["", "x", "x.y", &"0".repeat(32)] {
        let refused = register(&gateway, &device.registration(odd)).await;
        assert_eq!(refused.map(|_| ()), Err(Refusal::BindingChanged), "{odd}");
    }
    assert!(ask(&gateway, Asks::Register, &[]).await.is_err());
    let bare = device.proof(&challenge);
    let refused = register(&gateway, &bare).await.map(|_| ());
    assert_eq!(refused, Err(Refusal::BindingChanged));

    register(&gateway, &device.registration(&challenge))
        .await
        .unwrap();
    // Whoever comes second has another key, or repeats what was sent.
    for token in [
        Device::new().registration(&challenge),
        device.registration(&challenge),
    ] {
        let refused = register(&gateway, &token).await.map(|_| ());
        assert_eq!(refused, Err(Refusal::BindingChanged));
    }
    gateway.advance(Duration::from_mins(2));
    let refused = register(&gateway, &device.registration(&others)).await;
    assert_eq!(
        refused.map(|_| ()),
        Err(Refusal::BindingChanged),
        "too late"
    );
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let gateway = gateway().await;
    let (mut browser, device, id) = at_work(&gateway).await;
    let bare = Browser {
        cookies: [(
            "__Host-chartgate".to_owned(),
            browser.cookies["__Host-chartgate"].clone(),
        )]
        .into(),
    };
    let (challenge, _) = refresh(&gateway, &id, None).await.unwrap().challenge();
    let proof = device.proof(&challenge);
    let restarted = gateway.restarted_with(bound).await;
    assert_eq!(browser.outcome(&restarted).await, Ok(()));
    assert_eq!(bare.outcome(&restarted).await, Err(Refusal::BindingChanged));
    let answer = refresh(&restarted, &id, Some(&proof)).await.unwrap();
    browser.keep(&answer.headers);
    // What was answered before a restart is not answered after it again.
    let again = restarted.restarted_with(bound).await;
    refresh(&again, &id, Some(&proof))
        .await
        .unwrap()
        .challenge();
    assert_eq!(browser.outcome(&again).await, Ok(()));
    // A bond that is lost takes the session with it: it does not come back unbound.
    let lost = gateway.restarted_with(bound).await;
    let session = crate::identity::session::SessionId::for_test(&id);
    let bonds = lost.identity.sessions().bonds().unwrap();
    bonds.delete(&session).await.unwrap();
    assert_eq!(browser.outcome(&lost).await, Err(Refusal::SessionUnknown));
}

#[tokio::test]
async fn the_key_is_carried_over_where_it_is_proven_and_lost_where_it_is_not() {
    let gateway = gateway().await;
    let (mut browser, device, id) = at_work(&gateway).await;
    let asked = browser.start(&gateway, "return_to=/export&step_up=1").await;
    let seen = browser.finish(&gateway, &asked, |_| {}).await.unwrap();
    assert_eq!((seen.event, offered(&seen)), (Event::StepUp, None));
    assert_eq!(seen.detail.get("rebound"), None);
    let bare = Browser {
        cookies: [(
            "__Host-chartgate".to_owned(),
            browser.cookies["__Host-chartgate"].clone(),
        )]
        .into(),
    };
    assert_eq!(bare.outcome(&gateway).await, Err(Refusal::BindingChanged));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    renew(&gateway, &mut browser, &device, &id).await;
    assert_eq!(browser.outcome(&gateway).await, Ok(()));

    // In another browser the same user confirms: the session goes on there, and the key of the first is worth nothing.
    let mut elsewhere = bare.clone();
    let asked = elsewhere
        .start(&gateway, "return_to=/export&step_up=1")
        .await;
    let seen = elsewhere.finish(&gateway, &asked, |_| {}).await.unwrap();
    assert_eq!(seen.detail["rebound"], "device-key");
    assert_eq!(seen.facts.session.as_deref(), Some(&*id));
    let challenge = offered(&seen).unwrap();
    let refused = refresh(&gateway, &id, None).await.map(|_| ());
    assert_eq!(refused, Err(Refusal::NotFound));
    let second = Device::new();
    let answer = register(&gateway, &second.registration(&challenge))
        .await
        .unwrap();
    elsewhere.keep(&answer.headers);
    gateway.advance(Duration::from_secs(10));
    assert_eq!(elsewhere.outcome(&gateway).await, Ok(()));
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionUnknown)
    );
    // Nor is its cookie, which is not over yet, in the new session.
    let mut mixed = elsewhere.clone();
    mixed
        .cookies
        .insert(COOKIE.to_owned(), browser.cookies[COOKIE].clone());
    assert_eq!(mixed.outcome(&gateway).await, Err(Refusal::BindingChanged));
    let (challenge, _) = refresh(&gateway, &id, None).await.unwrap().challenge();
    let refused = refresh(&gateway, &id, Some(&device.proof(&challenge))).await;
    assert_eq!(refused.map(|_| ()), Err(Refusal::BindingChanged));
}

#[tokio::test]
async fn a_locked_screen_is_unlocked_with_one_factor_where_the_device_is() {
    let lock = |config: &mut config::Identity| {
        bound(config);
        config.lock = Some(config::lock::Lock {
            after: Duration::from_mins(5),
        });
    };
    let gateway = Gateway::start_with(lock).await;
    let (mut browser, device, id) = at_work(&gateway).await;
    gateway.advance(Duration::from_mins(6));
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::ScreenLocked));
    // Behind the lock the cookie is renewed; that is no activity.
    renew(&gateway, &mut browser, &device, &id).await;
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::ScreenLocked));
    let mut bare = browser.clone();
    bare.cookies.remove(COOKIE);
    let one_factor = |claims: &mut Value| claims["amr"] = json!(["pwd"]);
    let asked = bare.start(&gateway, "return_to=/chart/4").await;
    let refused = bare.finish(&gateway, &asked, one_factor).await.map(|_| ());
    assert_eq!(refused, Err(Refusal::MfaRequired), "from elsewhere");
    let asked = browser.start(&gateway, "return_to=/chart/4").await;
    let seen = browser.finish(&gateway, &asked, one_factor).await.unwrap();
    assert_eq!((seen.event, offered(&seen)), (Event::ScreenUnlocked, None));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    renew(&gateway, &mut browser, &device, &id).await;
}

#[tokio::test]
async fn a_session_that_ended_is_proven_no_more() {
    let gateway = gateway().await;
    let (mut browser, device, id) = at_work(&gateway).await;
    let (challenge, _) = refresh(&gateway, &id, None).await.unwrap().challenge();
    let same = [("sec-fetch-site", "same-origin")];
    let left = browser.ask(&gateway, Method::POST, "/.chartgate/logout", &same);
    left.await.unwrap();
    let refused = refresh(&gateway, &id, Some(&device.proof(&challenge))).await;
    assert_eq!(refused.map(|_| ()), Err(Refusal::NotFound));
}
