//! A thousand users, four at each of 250 workstations, all at once: nothing of one ever reaches another.
//!
//! At random moments people switch, sign out, take over a browser that is signed in, or find one that has lost its
//! cookie; requests of the one before are still under way then, and some hang up. Every run follows its seed
//! (`INTERLEAVED_SEED`); `INTERLEAVED_USERS` makes a longer or a shorter one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartgate::audit::entry::Phase;
use chartgate::clock::SystemClock;
use chartgate::demo::clinic::EMR_PASSWORD;
use chartgate::demo::users::{DemoUser, SecondFactor};
use chartgate::request::Event;
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode};

use crate::harness::{Browser, House, Page, without_limits};

const USERS_PER_BROWSER: usize = 4;
const AT_ONCE: usize = 24;

#[expect(
    clippy::disallowed_methods,
    reason = "how long a run is and what it follows is asked of whoever starts it"
)]
fn set(name: &str, usual: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(usual, |text| text.parse().unwrap())
}

/// Numbers that follow from a seed (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }
}

/// Which user a cookie was given to first.
#[derive(Clone, Default)]
struct Given(Arc<Mutex<HashMap<String, String>>>);

impl Given {
    fn note(&self, browser: &Browser, user: &str) {
        for cookie in ["__Host-chartgate", "CLINICSESSID"] {
            let Some(value) = browser.cookie(cookie) else {
                continue;
            };
            let mut given = self.0.lock().unwrap();
            let owner = given
                .entry(value.to_owned())
                .or_insert_with(|| user.to_owned());
            assert_eq!(owner, user, "{cookie} of {owner} is in the hands of {user}");
        }
    }
}

fn name_of(number: usize) -> String {
    format!("user-{number:05}")
}

/// The users that a text names.
fn named(text: &str) -> Vec<&str> {
    text.match_indices("user-")
        .filter_map(|(at, _)| text.get(at..at + 10))
        .filter(|name| name[5..].bytes().all(|b| b.is_ascii_digit()))
        .collect()
}

/// Holds that a page speaks of nobody but `user`.
fn assert_own(page: &Page, user: &str) {
    let text = page.text();
    for name in named(&text).into_iter().chain(
        page.headers
            .values()
            .filter_map(|value| value.to_str().ok())
            .flat_map(named),
    ) {
        assert_eq!(name, user, "{} shows {name} to {user}", page.url);
    }
}

/// Makes the browser ready for the next one, in one of the ways of a ward.
async fn change(house: &House, browser: &mut Browser, chance: &mut Chance) -> Page {
    match chance.below(4) {
        0 => {
            let switch = house.url("/.chartgate/switch");
            let page = browser.post_form(&switch, &[]).await;
            browser.follow(page).await
        }
        1 => {
            let out = house.url("/.chartgate/logout");
            browser.post_form(&out, &[]).await;
            browser.visit(&house.url("/echo")).await
        }
        2 => {
            let over = house.url("/.chartgate/login?fresh=1&return_to=%2Fecho");
            browser.visit(&over).await
        }
        _ => {
            let authority = house.authority();
            browser
                .cookies
                .remove(&(authority, "__Host-chartgate".to_owned()));
            browser.visit(&house.url("/echo")).await
        }
    }
}

async fn work(
    house: &House,
    browser: &mut Browser,
    user: &str,
    chance: &mut Chance,
    given: &Given,
) {
    let page = browser.get(&house.url("/echo")).await;
    assert_eq!(page.status, StatusCode::OK, "{user}: {}", page.text());
    let echo = page.json();
    assert_eq!(crate::harness::echoed(&echo, "x-remote-user"), [user]);
    assert_own(&page, user);
    // Nothing is selected, and nobody is signed in at the EMR, before this user does.
    let page = browser.get(&house.url("/chart")).await;
    assert_ne!(page.status, StatusCode::OK, "{user} finds a chart open");
    let fields = [("username", user), ("password", EMR_PASSWORD)];
    let page = browser.post_form(&house.url("/login"), &fields).await;
    assert_eq!(page.status, StatusCode::FOUND, "{user}: {}", page.text());
    given.note(browser, user);
    let page = browser.get(&house.url("/")).await;
    assert_eq!(page.status, StatusCode::OK, "{user}: {}", page.text());
    assert_own(&page, user);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    if chance.below(3) == 0 {
        let patient = chance.below(4) + 1;
        let select = format!("/patients/select?set_pid={patient}");
        browser.visit(&house.url(&select)).await;
        assert_own(&browser.get(&house.url("/chart")).await, user);
    }
    if chance.below(3) == 0 {
        // A client that hangs up in the middle.
        let mut gone = browser.clone();
        let slow = house.url("/slow?ms=400");
        let wait = Duration::from_millis(chance.below(60));
        let _ = tokio::time::timeout(wait, gone.get(&slow)).await;
    }
}

/// One workstation, and its users one after the other.
async fn workstation(house: &House, users: &[DemoUser], seed: u64, given: &Given) {
    let mut chance = Chance(seed);
    let people = house.people();
    let mut browser = house.browser();
    let mut before: Option<(String, Browser)> = None;
    for person in users {
        let user = person.name();
        let page = match &before {
            None => browser.visit(&house.url("/echo")).await,
            Some((last, old)) => {
                // A request of the one before is under way while the next one signs in.
                let (mut late, last) = (old.clone(), last.clone());
                late.scripted = true;
                let slow = house.url(&format!("/slow?ms={}", 50 + chance.below(300)));
                let late = tokio::spawn(async move {
                    // It is answered to whoever asked, or cut with the session that asked.
                    let answer = late.attempt(Method::GET, &slow, None, HeaderMap::new());
                    if let Ok(page) = answer.await {
                        assert_own(&page, &last);
                    }
                });
                let page = change(house, &mut browser, &mut chance).await;
                late.await.unwrap();
                page
            }
        };
        let issuer = &house.clinic.facts().issuer;
        let at = page.url.as_str();
        assert!(at.starts_with(issuer), "{user} is let in unasked: {at}");
        let page = people.sign_in_as(&mut browser, person, page).await;
        assert_ne!(
            page.status,
            StatusCode::FORBIDDEN,
            "{user}: {}",
            page.text()
        );
        assert_own(&page, user);
        given.note(&browser, user);
        assert!(
            browser.cookie("CLINICSESSID").is_none(),
            "{user} has the EMR session of the one before"
        );
        if let Some((last, old)) = &mut before {
            // The cookies of the one before open nothing any more, in whoever's hands.
            let page = old.get(&house.url("/chart")).await;
            assert_ne!(page.status, StatusCode::OK, "{last} goes on beside {user}");
        }
        work(house, &mut browser, user, &mut chance, given).await;
        before = Some((user.to_owned(), browser.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_interleaved_users_never_see_each_other() {
    let count = usize::try_from(set("INTERLEAVED_USERS", 1_000)).unwrap();
    let seed = set("INTERLEAVED_SEED", 20_261_130);
    let users: Vec<DemoUser> = (0..count)
        .map(|number| {
            let name = name_of(number);
            let group = ["emr-nurses", "emr-physicians"][number % 2];
            DemoUser::new(
                &name,
                &name,
                &format!("Quay-{number}"),
                SecondFactor::Totp,
                &[group],
            )
        })
        .collect();
    let house = House::try_open_for(users.clone(), SystemClock::shared(), |config| {
        without_limits(config);
        let shared = vec!["127.0.0.0/8".parse().unwrap()];
        config.identity.sessions.workstations.shared = shared;
        config.server.max_connections_per_address = 10_000;
    })
    .await
    .unwrap();
    let given = Given::default();
    let (house, given) = (&house, &given);
    let stations = users.chunks(USERS_PER_BROWSER).enumerate();
    futures_util::stream::iter(stations)
        .for_each_concurrent(AT_ONCE, |(number, users)| async move {
            let own = seed.wrapping_add(u64::try_from(number).unwrap());
            workstation(house, users, own, given).await;
        })
        .await;

    // On record: a session is one user's from its first request to its last.
    let mut whose: HashMap<String, String> = HashMap::new();
    let mut signed_in = 0;
    for entry in house.trail() {
        let Some(facts) = entry.facts else { continue };
        signed_in += usize::from(entry.event == Some(Event::Login));
        let (Some(session), Some(principal)) = (facts.session, facts.principal) else {
            continue;
        };
        let user = principal.id();
        let owner = whose.entry(session).or_insert_with(|| user.clone());
        assert_eq!(*owner, user, "{:?} {}", entry.phase, facts.path);
        assert!(entry.phase != Phase::Admit || facts.emr.is_some());
    }
    assert_eq!(signed_in, count);
    assert_eq!(whose.len(), count);
}
