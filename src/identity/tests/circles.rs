//! Sign-ins that go round in circles, and tabs that only look as if they did.

use std::time::Duration;

use crate::identity::test_gateway::{Browser, Gateway, location, query};
use crate::refusal::Refusal;
use crate::request::Event;
use crate::request::onward::Back;

const LOGIN: &str = "/.chartgate/login?return_to=/chart/4";

/// A browser that keeps the cookie of sign-ins and no session.
async fn once_round(gateway: &Gateway, browser: &mut Browser) -> Result<(), Refusal> {
    let page = browser.get(gateway, LOGIN).await?;
    let asked = location(&page).parse().unwrap();
    browser.finish(gateway, &asked, |_| {}).await?;
    browser.cookies.remove("__Host-chartgate");
    Ok(())
}

#[tokio::test]
async fn the_third_turn_is_refused_and_a_person_can_try_again() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    assert_eq!(once_round(&gateway, &mut browser).await, Ok(()));
    gateway.advance(Duration::from_secs(10));
    assert_eq!(once_round(&gateway, &mut browser).await, Ok(()));
    gateway.advance(Duration::from_secs(10));
    let third = once_round(&gateway, &mut browser).await;
    assert_eq!(third, Err(Refusal::SignInCircle));
    let again = browser.get(&gateway, &format!("{LOGIN}&again=1")).await;
    assert_eq!(again.map(|seen| seen.event), Ok(Event::LoginStarted));
    gateway.advance(Duration::from_secs(31));
    assert_eq!(once_round(&gateway, &mut browser).await, Ok(()));
}

#[tokio::test]
async fn one_session_that_holds_is_no_circle_and_signing_out_neither() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    for _ in 0..5 {
        browser.sign_in(&gateway, |_| {}).await.unwrap();
        let out = [("sec-fetch-site", "same-origin")];
        browser
            .ask(&gateway, http::Method::POST, "/.chartgate/logout", &out)
            .await
            .unwrap();
    }
}

/// Every tab of a restored window starts before any comes back, and each is given a cookie, of which the last stays.
#[tokio::test]
async fn twenty_restored_tabs_all_arrive() {
    let gateway = Gateway::start().await;
    let mut jar = Browser::default();
    let mut tabs = Vec::new();
    for tab in 0..20 {
        let mut fresh = Browser::default();
        let path = format!("/chart/{tab}");
        let asked = fresh.start(&gateway, &format!("return_to={path}")).await;
        jar.cookies.extend(fresh.cookies);
        tabs.push((path, asked));
    }
    let mut arrived = 0;
    for (path, asked) in &tabs {
        // Bounded: a tab that is sent to sign in again does so once.
        let seen = match jar.finish(&gateway, asked, |_| {}).await {
            Ok(seen) => seen,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::LoginStateUnknown);
                let target = format!("/.chartgate/login?return_to={path}");
                let seen = jar.get(&gateway, &target).await.unwrap();
                if location(&seen) == path {
                    seen
                } else {
                    let asked = location(&seen).parse().unwrap();
                    jar.finish(&gateway, &asked, |_| {}).await.unwrap()
                }
            }
        };
        assert_eq!(location(&seen), path);
        assert_eq!(jar.outcome(&gateway).await, Ok(()), "{path}");
        arrived += 1;
    }
    assert_eq!(arrived, 20);
}

async fn back_of(gateway: &Gateway, browser: &Browser, target: &str) -> (Refusal, Option<Back>) {
    let request =
        crate::identity::test_gateway::received(&http::Method::GET, target, browser.headers(), "");
    let route = crate::identity::OwnRoute::Callback;
    let refused = gateway.handle(route, request).await.map(drop).unwrap_err();
    (refused.refusal(), refused.onward().back.clone())
}

/// teleport#4559: the way back is known although the sign-in is not.
#[tokio::test]
async fn teleport_4559_a_sign_in_that_is_lost_still_leads_to_its_page() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "return_to=/chart/9?tab=x").await;
    let target = format!(
        "/.chartgate/callback?code=x&state={}",
        query(&asked, "state")
    );
    let page = "/chart/9?tab=x".to_owned();
    let lost = Refusal::LoginStateUnknown;
    // Under another cookie it begins once more by itself; without any it would not get on by that.
    let mut other = Browser::default();
    other.start(&gateway, "").await;
    let back = back_of(&gateway, &other, &target).await;
    assert_eq!(back, (lost, Some(Back::AtOnce(page.clone()))));
    let back = back_of(&gateway, &Browser::default(), &target).await;
    assert_eq!(back, (lost, Some(Back::Link(page.clone()))));
    gateway.advance(Duration::from_mins(11));
    let back = back_of(&gateway, &browser, &target).await;
    assert_eq!(back, (lost, Some(Back::Link(page))));
    gateway.advance(Duration::from_mins(30));
    assert_eq!(back_of(&gateway, &browser, &target).await, (lost, None));
    // Nobody learns anything by a state that was never given out, or on another host.
    let made_up = format!("/.chartgate/callback?code=x&state={}", "A".repeat(43));
    assert_eq!(back_of(&gateway, &browser, &made_up).await, (lost, None));
}

#[tokio::test]
async fn a_browser_without_cookies_is_told_at_the_third_time() {
    let gateway = Gateway::start().await;
    let start = async || {
        let page = Browser::default().get(&gateway, LOGIN).await?;
        Ok(location(&page).parse::<url::Url>().unwrap())
    };
    for _ in 0..2 {
        let asked = start().await.unwrap();
        let finished = Browser::default().finish(&gateway, &asked, |_| {}).await;
        assert_eq!(finished.map(drop), Err(Refusal::LoginStateUnknown));
        gateway.advance(Duration::from_secs(5));
    }
    let third: Result<_, Refusal> = start().await;
    assert_eq!(third.map(drop), Err(Refusal::SignInCircle));
    // Others behind the same address get on by the link of the page.
    let mut other = Browser::default();
    let again = format!("{LOGIN}&again=1");
    let page = other.get(&gateway, &again).await.unwrap();
    let asked = location(&page).parse().unwrap();
    assert!(other.finish(&gateway, &asked, |_| {}).await.is_ok());
}
