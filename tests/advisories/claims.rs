//! What a provider says of a person, and restrictions that rest on it.

use std::sync::Arc;
use std::time::Duration;

use chartgate::audit::entry::Phase;
use chartgate::clock::{ManualClock, SystemClock};
use chartgate::demo::issuer::Misbehave;

use crate::harness::{Browser, House, Page, echoed, rate, without_limits};

/// Signs in a browser that nobody used, at a provider that states these claims in place of its own.
async fn stated(house: &House, user: &str, claims: &'static str) -> (Browser, Page) {
    house.clinic.issuer().misbehave(Misbehave::Claims(claims));
    let mut browser = house.browser();
    let page = house.sign_in(&mut browser, user, &house.url("/echo")).await;
    house.clinic.issuer().misbehave(Misbehave::Nothing);
    (browser, page)
}

/// Group claims that some comparison takes for `emr-physicians`.
const GROUPS: &[&str] = &[
    r#"{"groups":"emr-physicians@evil.example"}"#,
    r#"{"groups":"evil@emr-physicians"}"#,
    r#"{"groups":"emr-others emr-physicians"}"#,
    r#"{"groups":"emr-others,emr-physicians"}"#,
    r#"{"groups":"EMR-PHYSICIANS"}"#,
    r#"{"groups":["emr-physicians "]}"#,
    r#"{"groups":["\temr-physicians"]}"#,
    r#"{"groups":["emr-physicians\u0000"]}"#,
    r#"{"groups":["emr-physicians\u200b"]}"#,
    r#"{"groups":["emr\u2010physicians"]}"#,
    r#"{"groups":["e\u043cr-physicians"]}"#,
    r#"{"groups":["emr-physic\u0131ans"]}"#,
    r#"{"groups":["emr-physician"]}"#,
    r#"{"groups":["emr-*"]}"#,
    r#"{"groups":["*"]}"#,
    r#"{"groups":["physician"]}"#,
    r#"{"groups":[["emr-physicians"]]}"#,
    r#"{"groups":[null,"emr-physicians"]}"#,
    r#"{"groups":{"emr-physicians":true}}"#,
    r#"{"groups":[]}"#,
    r#"{"groups":""}"#,
    r#"{"groups":null}"#,
    r#"{"groups":true}"#,
    r#"{"groups":0}"#,
    r#"{"groups":null,"Groups":["emr-physicians"]}"#,
    r#"{"groups":null,"roles":["emr-physicians"],"role":"emr-physicians"}"#,
];

/// User names that some comparison takes for `dr.okafor`, or for nobody.
const NAMES: &[&str] = &[
    r#"{"preferred_username":"dr.okafor@evil.example@hospital.example"}"#,
    r#"{"preferred_username":"evil@dr.okafor"}"#,
    r#"{"preferred_username":"dr.okafor@hospital.example"}"#,
    r#"{"preferred_username":"DR.OKAFOR"}"#,
    r#"{"preferred_username":" dr.okafor"}"#,
    r#"{"preferred_username":"dr.okafor\u0000"}"#,
    r#"{"preferred_username":"dr.okafor\r\nX-Remote-User: dr.okafor"}"#,
    r#"{"preferred_username":"dr.okafor\u200b"}"#,
    r#"{"preferred_username":"\u202edr.okafor"}"#,
    r#"{"preferred_username":"dr.\u043ekafor"}"#,
    r#"{"preferred_username":"\uff44r.okafor"}"#,
    r#"{"preferred_username":"dr%2eokafor"}"#,
    r#"{"preferred_username":["dr.okafor"]}"#,
    r#"{"preferred_username":{"name":"dr.okafor"}}"#,
    r#"{"preferred_username":""}"#,
    r#"{"preferred_username":null}"#,
    r#"{"preferred_username":7}"#,
];

// `a@evil@hospital.example` passed the check of the address's domain.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_40574_no_spelling_of_a_claim_is_a_role_or_another_persons_name() {
    let house = House::open_unlimited().await;
    for claims in GROUPS {
        let (mut browser, page) = stated(&house, "lab.reyes", claims).await;
        assert_eq!(page.refusal(), Some("CG-2009"), "{claims}");
        let page = browser.get(&house.url("/chart")).await;
        assert_eq!(page.refusal(), Some("CG-2009"), "{claims}");
    }
    assert!(house.reached().is_empty());
    let before = house.trail().len();
    for claims in NAMES {
        let (_, page) = stated(&house, "lab.reyes", claims).await;
        let echo = page.json();
        let names = echoed(&echo, "x-remote-user");
        assert_eq!(names.len(), 1, "{claims}");
        assert!(
            names[0] != "dr.okafor" && !names[0].is_empty(),
            "{claims}: {names:?}"
        );
        assert_eq!(echoed(&echo, "x-remote-roles"), ["lab-technician"]);
    }
    // Whatever she is called, the record knows her by what the provider never changes.
    let (_, page) = stated(&house, "lab.reyes", "{}").await;
    assert_eq!(echoed(&page.json(), "x-remote-user"), ["lab.reyes"]);
    let mut ids: Vec<String> = house
        .trail()
        .split_off(before)
        .into_iter()
        .filter(|entry| entry.phase == Phase::Admit)
        .map(|entry| entry.facts.unwrap().principal.unwrap().id())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

/// The clinic where the grant of the role `physician` says this in place of `claim = "emr-physicians"`.
async fn with_grant(text: &'static str) -> Result<House, String> {
    let rewrite = move |config: &mut chartgate::config::Config| {
        without_limits(config);
        let roles = config.policy.directory.join("roles.toml");
        let before = std::fs::read_to_string(&roles).unwrap();
        let after = before.replace("claim = \"emr-physicians\"", text);
        assert_ne!(before, after);
        std::fs::write(&roles, after).unwrap();
    };
    House::try_open(SystemClock::shared(), rewrite)
        .await
        .map_err(|error| error.to_string())
}

// The restriction to groups did nothing any more after an upgrade, and nobody was told.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_21411_each_restriction_restricts_or_nothing_starts() {
    let house = House::open_unlimited().await;
    house.signed_in("dr.okafor").await;
    let mut weber = house.browser();
    let page = house
        .sign_in(&mut weber, "dr.weber", &house.url("/echo"))
        .await;
    assert_eq!(page.refusal(), Some("CG-2003"), "mfa");

    let mut restricting = 0;
    for restricted in [
        "claim = \"emr-nobody\"",
        "claim = \"emr-physicians\"\nissuer = \"another\"",
        "claim = \"emr-physicians\"\nexpires = 2020-01-01T00:00:00Z",
    ] {
        let opened = with_grant(restricted).await;
        let Ok(house) = opened else {
            // A restriction that cannot be met is a mistake, and said to be one.
            continue;
        };
        let mut browser = house.browser();
        let page = house
            .sign_in(&mut browser, "dr.okafor", &house.url("/echo"))
            .await;
        assert_eq!(page.refusal(), Some("CG-2009"), "{restricted}");
        assert!(house.reached().is_empty(), "{restricted}");
        restricting += 1;
    }
    assert!(restricting > 0, "no restricted house was opened");
    for unknown in [
        "claims = \"emr-physicians\"",
        "claim = \"emr-physicians\"\nissuers = [\"riverside\"]",
        "claim = \"emr-physicians\"\nallowed_groups = [\"x\"]",
        "claim = \"emr-physicians\"\nexpire = 2020-01-01T00:00:00Z",
        "claim = 7",
    ] {
        assert!(with_grant(unknown).await.is_err(), "{unknown}");
    }
    // The same in an EMR's profile.
    for unknown in ["patient_requird = true", "allow_groups = [\"x\"]"] {
        let started = House::try_open(SystemClock::shared(), move |config| {
            let profile = &config.emrs[0].profile;
            let text = std::fs::read_to_string(profile).unwrap();
            let text = text.replacen("[[route]]", &format!("[[route]]\n{unknown}"), 1);
            std::fs::write(profile, text).unwrap();
        })
        .await;
        assert!(started.is_err(), "{unknown}");
    }
}

// Who had left a group kept its permissions for as long as the session was used.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_41230_and_ghsa_x883_2vmg_xwf7_a_lost_group_counts_within_the_sessions_bound() {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let house = House::try_open(clock.clone(), without_limits)
        .await
        .unwrap();
    let absolute = house.clinic.config().identity.absolute_timeout;
    let idle = house.clinic.config().identity.idle_timeout;
    let mut browser = house.signed_in("dr.okafor").await;
    house
        .clinic
        .issuer()
        .misbehave(Misbehave::Claims(r#"{"groups":[]}"#));
    // However busy the session is, it ends when it must, and what follows it has what the provider says then.
    let step = idle / 2;
    let mut passed = Duration::ZERO;
    while passed + step < absolute {
        clock.advance(step);
        passed += step;
        let page = browser.get(&house.url("/echo")).await;
        assert_eq!(page.status, 200, "after {passed:?}");
    }
    clock.advance(step);
    let page = browser.get(&house.url("/echo")).await;
    assert_eq!(page.refusal(), Some("CG-2002"));

    // The provider need not wait for that: it ends the session when it takes the group away.
    house.clinic.issuer().misbehave(Misbehave::Nothing);
    let house = House::open_unlimited().await;
    let mut browser = house.signed_in("dr.okafor").await;
    house
        .clinic
        .issuer()
        .misbehave(Misbehave::Claims(r#"{"groups":[]}"#));
    house.clinic.issuer().end_sessions_of("dr.okafor").await;
    let before = house.reached().len();
    let page = browser.get(&house.url("/echo")).await;
    assert!(page.refusal().is_some(), "the session is over");
    let page = house
        .sign_in(&mut browser, "dr.okafor", &house.url("/echo"))
        .await;
    assert_eq!(page.refusal(), Some("CG-2009"));
    assert_eq!(house.reached().len(), before);
}

// Each spelling of a user name had a counter of its own.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_24806_and_cve_2026_47203_every_spelling_of_a_name_counts_for_one_account() {
    let house = House::open_with(|config| {
        without_limits(config);
        config.limits.login_account = rate(3);
    })
    .await;
    let spellings = [
        r#"{"preferred_username":"lab.reyes"}"#,
        r#"{"preferred_username":"LAB.REYES"}"#,
        r#"{"preferred_username":"lab.reyes@hospital.example"}"#,
        r#"{"preferred_username":"c.reyes","email":"other@hospital.example"}"#,
    ];
    for (index, claims) in spellings.into_iter().enumerate() {
        let (browser, page) = stated(&house, "lab.reyes", claims).await;
        let has_session = browser.cookie("__Host-chartgate").is_some();
        if index < 3 {
            assert!(page.status == 200 && has_session, "{claims}");
        } else {
            assert_eq!(page.refusal(), Some("CG-4004"), "{claims}");
            assert!(!has_session);
        }
    }
    // It is hers alone.
    house.signed_in("nurse.lind").await;
}
