//! The gateway's own second factor through the whole gateway: a user whose provider asks for a password only, an
//! operator at the admin socket, and what is on the trail and on the disk afterwards.

use std::time::Duration;

use chartgate::admin::protocol::AdminRequest;
use chartgate::clock::SystemClock;
use chartgate::config::Config;
use chartgate::config::second_factor::{Enrolment, FactorMethod, SecondFactor};
use chartgate::config::sessions::SignInNotice;
use chartgate::operate::factors::Ask;
use chartgate::request::Event;
use serde_json::Value;
use totp_rs::{Builder, Secret};

use crate::harness::{Browser, House, Page, hidden, without_limits};
use crate::workstations::{contain_all, shared_house};

const USER: &str = "dr.weber";

pub(crate) fn own(config: &mut Config) {
    without_limits(config);
    config.identity.second_factor = Some(SecondFactor {
        issuers: vec![config.identity.issuers[0].name.clone()],
        methods: vec![FactorMethod::Passkey, FactorMethod::Totp],
        rp_name: "Riverside Clinic".to_owned(),
        rp_id: None,
        enrolment: Enrolment::Invited,
        invitation: Duration::from_hours(72),
        max_failures: 3,
        lockout: Duration::from_mins(15),
        max_authenticators: 10,
    });
}

async fn ask(house: &House, ask: Ask) -> Result<Vec<Value>, String> {
    let answer = house.ask(AdminRequest::Factor(ask)).await;
    answer.map_err(|error| error.to_string())
}

fn of_user(make: impl FnOnce(String, String) -> Ask) -> Ask {
    make(USER.to_owned(), "seen in person".to_owned())
}

async fn invited(house: &House) -> String {
    let made = ask(house, of_user(|user, reason| Ask::Invite { user, reason }));
    made.await.unwrap()[0]["code"].as_str().unwrap().to_owned()
}

/// The form of a step, filled in.
async fn send(house: &House, browser: &mut Browser, page: &Page, fields: &[(&str, &str)]) -> Page {
    let flow = hidden(page, "flow");
    let mut fields = fields.to_vec();
    fields.push(("flow", &flow));
    let sent = browser
        .post_form(&house.url("/.chartgate/second-factor"), &fields)
        .await;
    browser.follow(sent).await
}

/// The code of an authenticator app.
async fn totp(house: &House, browser: &mut Browser, page: &Page, code: &str) -> Page {
    send(house, browser, page, &[("do", "totp"), ("code", code)]).await
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split(after).next().unwrap()
}

fn code(key: &str, steps: u64) -> String {
    let now = u64::try_from(SystemClock::shared().now().as_second()).unwrap();
    let secret = Secret::try_from_base32(key).unwrap();
    let totp = Builder::new().with_secret(secret).build_noncompliant();
    totp.generate(now + steps * 30).to_string()
}

/// Of the form with this step, the ceremony.
fn ceremony(page: &Page, step: &str) -> String {
    let text = page.text();
    let form = text
        .split("<form")
        .find(|form| form.contains(&format!("value=\"{step}\"")));
    between(form.unwrap(), "name=\"ceremony\" value=\"", "\"").to_owned()
}

/// Enrols an app with an enrolment code; its key and the recovery codes.
async fn enrol(house: &House, browser: &mut Browser) -> (String, Vec<String>) {
    let invitation = invited(house).await;
    let page = house.sign_in(browser, USER, &house.url("/echo")).await;
    assert!(page.text().contains("enrolment code"), "{}", page.text());
    let fields = [("do", "invitation"), ("code", invitation.as_str())];
    let page = send(house, browser, &page, &fields).await;
    let key = between(&page.text(), "id=\"totp-key\">", "<").replace(' ', "");
    let (first, ceremony) = (code(&key, 0), ceremony(&page, "enrol-totp"));
    let fields = [
        ("do", "enrol-totp"),
        ("ceremony", &*ceremony),
        ("code", &*first),
        ("name", "Phone"),
    ];
    let page = send(house, browser, &page, &fields).await;
    let text = page.text();
    let list = text.split("<li><code>").skip(1);
    let codes: Vec<String> = list.map(|rest| rest[..19].to_owned()).collect();
    assert_eq!(codes.len(), 10, "{text}");
    let next = between(&text, "id=\"continue\" href=\"", "\"");
    let page = browser.visit(&house.url(next)).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!(page.url.path(), "/echo");
    (key, codes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_second_factor_enrols_one_and_an_operator_helps() {
    let house = House::open_with(own).await;
    let mut browser = house.browser();
    let (key, codes) = enrol(&house, &mut browser).await;

    // Again, in another browser, with the app.
    let mut other = house.browser();
    let page = house.sign_in(&mut other, USER, &house.url("/echo")).await;
    assert!(
        page.text().contains("Confirm that it is you"),
        "{}",
        page.text()
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let wrong = totp(&house, &mut other, &page, "000000").await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.refusal()),
        (403, Some("CG-2022")),
        "{}",
        wrong.text()
    );
    let next = code(&key, 1);
    let page = totp(&house, &mut other, &wrong, &next).await;
    assert_eq!(
        (page.status.as_u16(), page.url.path()),
        (200, "/echo"),
        "{}",
        page.text()
    );

    what_is_on_record(&house).await;
    after_a_reset(&house, &mut other).await;
    nothing_stands_in_clear(&house, &key, &codes);
}

/// One more way to a session: what the one before left goes first, and one user's sessions are limited and told of.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_gets_in_by_it_finds_nothing_of_the_one_before_and_keeps_to_the_limit() {
    let house = shared_house(|config| {
        own(config);
        config.identity.sessions.per_user = 1;
        config.identity.sessions.sign_in_notice = SignInNotice::On;
    })
    .await;
    let mut browser = house.at_work("nurse.lind").await;
    contain_all(&house, "a drill").await;
    assert!(browser.cookie("CLINICSESSID").is_some(), "the nurse's");
    let page = house
        .sign_in(&mut browser, USER, &house.url("/login"))
        .await;
    assert!(page.text().contains("enrolment code"), "{}", page.text());
    // Before anything of the next one is shown, that of the second factor included.
    assert!(browser.cookie("CLINICSESSID").is_none());
    assert!(house.reached().contains(&"GET /logout".to_owned()));
    let (key, codes) = enrol(&house, &mut browser).await;

    let mut other = house.browser();
    let page = house.sign_in(&mut other, USER, &house.url("/login")).await;
    let full = totp(&house, &mut other, &page, &code(&key, 1)).await;
    assert_eq!(full.refusal(), Some("CG-2026"), "{}", full.text());
    assert!(other.cookie("__Host-chartgate").is_none());
    browser
        .post_form(&house.url("/.chartgate/logout"), &[])
        .await;
    let page = house.sign_in(&mut other, USER, &house.url("/login")).await;
    let wrong = [("do", "recovery"), ("code", "0000-0000-0000-0000")];
    let page = send(&house, &mut other, &page, &wrong).await;
    let right = [("do", "recovery"), ("code", codes[0].as_str())];
    let page = send(&house, &mut other, &page, &right).await;
    assert_eq!(page.url.path(), "/login", "{}", page.text());
    let told = page.text();
    assert!(told.contains("2 attempts failed since."), "{told}");
}

/// Two sign-ins, each with what was used for it; and what an operator sees.
async fn what_is_on_record(house: &House) {
    let logins = house.particulars(Event::Login);
    assert_eq!(logins.len(), 2);
    assert!(logins.iter().all(|login| login["second_factor"] == "totp"));
    let entries = house.trail();
    let failed = entries
        .iter()
        .find(|entry| entry.event == Some(Event::SecondFactorFailed));
    let failed = failed.unwrap();
    let who = failed.facts.as_ref().unwrap().principal.clone().unwrap();
    assert_eq!(
        (who.display(), failed.detail["failures"].as_str()),
        (USER, "1")
    );
    assert_eq!(house.particulars(Event::SecondFactorUsed).len(), 1);
    let invited = house.particulars(Event::SecondFactorInvited);
    assert!(!invited[0]["operator"].is_empty() && invited[0]["reason"] == "seen in person");
    assert_eq!(
        house.particulars(Event::SecondFactorEnrolled)[0]["invited"],
        "yes"
    );

    // Listed; not invited again while something is enrolled.
    let listed = ask(house, Ask::List { user: None }).await.unwrap();
    assert_eq!(
        (
            listed.len(),
            listed[0]["authenticators"][0]["name"].as_str()
        ),
        (1, Some("Phone"))
    );
    let again = ask(house, of_user(|user, reason| Ask::Invite { user, reason })).await;
    assert!(again.unwrap_err().contains("factor reset"));
}

/// A reset ends the sessions, and what follows is an enrolment with a new code.
async fn after_a_reset(house: &House, other: &mut Browser) {
    let reset = ask(house, of_user(|user, reason| Ask::Reset { user, reason })).await;
    let reset = reset.unwrap();
    assert_eq!(
        (
            reset[0]["authenticators"].as_u64(),
            reset[0]["ended"].as_u64()
        ),
        (Some(1), Some(2))
    );
    assert_eq!(house.particulars(Event::SecondFactorReset)[0]["name"], USER);
    let page = other.get(&house.url("/echo")).await;
    assert_ne!(page.status, 200);
    let mut third = house.browser();
    let page = house.sign_in(&mut third, USER, &house.url("/echo")).await;
    assert!(page.text().contains("enrolment code"));
    let nobody = Ask::Reset {
        user: "nobody".to_owned(),
        reason: "x".to_owned(),
    };
    assert!(ask(house, nobody).await.unwrap_err().contains("nobody"));
}

/// Nothing of it stands in clear on the disk.
fn nothing_stands_in_clear(house: &House, key: &str, codes: &[String]) {
    let mut paths = vec![house.data_dir().to_owned()];
    let mut read = 0;
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        } else if let Ok(bytes) = std::fs::read(&path) {
            read += 1;
            for secret in codes.iter().map(String::as_str).chain([key]) {
                let mut windows = bytes.windows(secret.len());
                let found = windows.any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} in {}", path.display());
            }
        }
    }
    assert!(read > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_wrong_tries_lock_the_account_everywhere_and_an_operator_lifts_it() {
    let house = House::open_with(own).await;
    let (key, codes) = enrol(&house, &mut house.browser()).await;
    let mut browser = house.browser();
    let page = house.sign_in(&mut browser, USER, &house.url("/echo")).await;
    for fields in [
        [("do", "totp"), ("code", "1")],
        [("do", "recovery"), ("code", "x")],
    ] {
        let wrong = send(&house, &mut browser, &page, &fields).await;
        assert_eq!(wrong.refusal(), Some("CG-2022"));
    }
    let locked = totp(&house, &mut browser, &page, "2").await;
    assert_eq!(
        (locked.status.as_u16(), locked.refusal()),
        (429, Some("CG-2023")),
        "{}",
        locked.text()
    );
    let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!((800..=900).contains(&wait), "{wait}");
    // In another browser, before anything is asked.
    let mut other = house.browser();
    let page_there = house.sign_in(&mut other, USER, &house.url("/echo")).await;
    assert_eq!(page_there.refusal(), Some("CG-2023"));
    let right = code(&key, 1);
    let refused = totp(&house, &mut browser, &page, &right).await;
    assert_eq!(refused.refusal(), Some("CG-2023"));
    assert_eq!(house.particulars(Event::SecondFactorLocked).len(), 1);
    let listed = ask(
        &house,
        Ask::List {
            user: Some(USER.to_owned()),
        },
    )
    .await
    .unwrap();
    assert!(listed[0]["locked_until"].is_string());
    let unlocked = ask(&house, of_user(|user, reason| Ask::Unlock { user, reason })).await;
    unlocked.unwrap();
    assert_eq!(
        house.particulars(Event::SecondFactorUnlocked)[0]["reason"],
        "seen in person"
    );
    let page = send(
        &house,
        &mut browser,
        &page,
        &[("do", "recovery"), ("code", &codes[0])],
    )
    .await;
    assert_eq!(
        (page.status.as_u16(), page.url.path()),
        (200, "/echo"),
        "{}",
        page.text()
    );
    assert_eq!(house.particulars(Event::RecoveryCodeUsed)[0]["left"], "9");
    // A page from another site cannot send a step, whatever it knows.
    let headers = http::HeaderMap::from_iter([(
        http::header::ORIGIN,
        http::HeaderValue::from_static("https://evil.example"),
    )]);
    let url = house.url("/.chartgate/second-factor");
    let sent = browser.send(http::Method::POST, &url, Some(bytes::Bytes::new()), headers);
    assert_eq!(sent.await.refusal(), Some("CG-1012"));
}
