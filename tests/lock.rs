//! Screens that lock, and forms that wait, on the full path.

mod held;
mod screen;

use std::sync::Arc;
use std::time::Duration;

use chartgate::audit::entry::Entry;
use chartgate::clock::{ManualClock, SystemClock};
use chartgate::config::lock::{HeldPosts, Lock};
use chartgate::request::Event;

use crate::harness::{Browser, House, Page, hidden, without_limits};

pub(crate) const MINUTE: Duration = Duration::from_mins(1);

/// A clinic whose screens lock after five minutes, and whose clock does what it is told.
pub(crate) async fn house() -> (Arc<ManualClock>, House) {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let house = House::try_open(clock.clone(), |config| {
        without_limits(config);
        config.identity.lock = Some(Lock { after: 5 * MINUTE });
        config.identity.held_posts = Some(HeldPosts::default());
    });
    let house = house.await.unwrap_or_else(|error| panic!("{error}"));
    (clock, house)
}

/// A browser in which `user` has this patient's chart open.
pub(crate) async fn at_patient(house: &House, user: &str, patient: &str) -> Browser {
    let mut browser = house.at_work(user).await;
    let select = format!("/patients/select?set_pid={patient}");
    let page = browser.visit(&house.url(&select)).await;
    assert_eq!(page.status, 200, "{}", page.text());
    browser
}

/// Where a refusal's page leads on to.
pub(crate) fn link(page: &Page) -> String {
    let text = page.text();
    let buttons: Vec<&str> = text.split("class=\"button\" href=\"").skip(1).collect();
    let first = buttons.first().unwrap_or_else(|| panic!("no link: {text}"));
    let href = first.split('"').next().unwrap().replace("&#38;", "&");
    page.url.join(&href).unwrap().to_string()
}

/// Follows the link of a refused form, as `user`.
pub(crate) async fn held_page(
    house: &House,
    browser: &mut Browser,
    user: &str,
    refused: &Page,
) -> Page {
    house.sign_in(browser, user, &link(refused)).await
}

/// Presses "Send now".
pub(crate) async fn send(browser: &mut Browser, page: &Page) -> Page {
    decide(browser, page, "send").await
}

pub(crate) async fn decide(browser: &mut Browser, page: &Page, what: &str) -> Page {
    let digest = hidden(page, "digest");
    let fields = [("digest", digest.as_str()), ("do", what)];
    browser.post_form(page.url.as_str(), &fields).await
}

/// What the EMR shows of the notes of the patient who is selected.
pub(crate) async fn notes_of(house: &House, browser: &mut Browser) -> String {
    let page = browser.visit(&house.url("/chart/notes")).await;
    assert_eq!(page.status, 200, "{}", page.text());
    page.text()
}

/// The events of this kind, oldest first.
pub(crate) fn events(house: &House, event: Event) -> Vec<Entry> {
    let mut trail = house.trail();
    trail.retain(|entry| entry.event == Some(event));
    trail
}

/// The steps that forms have gone through, oldest first.
pub(crate) fn steps(house: &House) -> Vec<String> {
    let held = events(house, Event::PostHeld);
    held.iter()
        .map(|entry| entry.detail["step"].clone())
        .collect()
}
