//! Sessions that are bound to a key of their device (Device Bound Session Credentials), on the full path.

use std::sync::Arc;
use std::time::Duration;

use chartgate::clock::{ManualClock, SystemClock};
use chartgate::config::sessions::BindTo;
use chartgate::request::Event;
use http::StatusCode;

use crate::harness::device::{COOKIE, Device};
use crate::harness::{Browser, House, live, without_limits};

const LIFETIME: Duration = Duration::from_mins(5);

async fn house() -> (Arc<ManualClock>, House) {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let house = House::try_open(clock.clone(), |config| {
        without_limits(config);
        let binding = &mut config.identity.sessions.binding;
        binding.on = vec![BindTo::DeviceKey];
        binding.device_proof_lifetime = LIFETIME;
    });
    let house = house.await.unwrap_or_else(|error| panic!("{error}"));
    (clock, house)
}

/// A browser at work whose session is bound, for longer than its page was on the way.
async fn bound(clock: &ManualClock, house: &House) -> (Browser, Device) {
    let mut browser = house.at_work("nurse.lind").await;
    let device = Device::register(house, &mut browser).await;
    clock.advance(Duration::from_secs(10));
    (browser, device)
}

fn without_proof(browser: &Browser) -> Browser {
    let mut copy = browser.clone();
    copy.cookies.retain(|(_, name), _| name != COOKIE);
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_jar_opens_nothing_once_its_proof_is_over() {
    let (clock, house) = house().await;
    let (mut browser, device) = bound(&clock, &house).await;
    let echo = house.url("/echo");
    let page = browser.get(&echo).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text().contains("__Host-"), "the EMR sees none of it");
    let registered = house.particulars(Event::DeviceKeyRegistered);
    assert_eq!(registered.len(), 1);
    assert_eq!(registered[0]["algorithm"], "ES256");

    let mut copied = browser.clone();
    clock.advance(LIFETIME);
    device.refresh(&house, &mut browser).await;
    clock.advance(Duration::from_secs(30));
    assert_eq!(browser.get(&echo).await.status, StatusCode::OK);
    let page = copied.get(&echo).await;
    assert_eq!(page.refusal(), Some("CG-2027"));
    assert!(page.header("location").unwrap().contains("step_up=1"));
    copied.scripted = true;
    let page = copied.get(&echo).await;
    assert_eq!(
        (page.status, page.refusal()),
        (StatusCode::UNAUTHORIZED, Some("CG-2027"))
    );
    // It cannot get another proof, nor register a key of its own.
    let mut stolen = without_proof(&browser);
    assert_eq!(stolen.get(&echo).await.refusal(), Some("CG-2027"));
    assert_eq!(stolen.offer, None);
    let challenge = device.challenged(&house, &mut stolen).await;
    let other = bound(&clock, &house).await.1;
    let forged = other.proof(&challenge);
    let page = device.ask(&house, &mut stolen, Some(&forged)).await;
    assert_eq!(page.refusal(), Some("CG-2027"));
    assert!(stolen.cookie(COOKIE).is_none());

    let refused: Vec<_> = house
        .trail()
        .into_iter()
        .filter(|entry| entry.refusal.as_deref() == Some("CG-2027"))
        .map(|entry| entry.facts.unwrap())
        .map(|facts| (facts.principal.unwrap().display().to_owned(), facts.path))
        .collect();
    let lind = |path: &str| ("nurse.lind".to_owned(), path.to_owned());
    let refresh = "/.chartgate/device-key/refresh";
    assert_eq!(
        refused,
        [lind("/echo"), lind("/echo"), lind("/echo"), lind(refresh)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_confirms_elsewhere_goes_on_there_under_another_key() {
    let (clock, house) = house().await;
    let (mut browser, device) = bound(&clock, &house).await;
    let mut elsewhere = without_proof(&browser);
    clock.advance(Duration::from_secs(30));
    let page = elsewhere.get(&house.url("/echo")).await;
    let page = elsewhere.follow(page).await;
    let page = house.sign_in_from(&mut elsewhere, "nurse.lind", page).await;
    assert_eq!((page.status, page.url.path()), (StatusCode::OK, "/echo"));
    assert_eq!(house.particulars(Event::StepUp)[0]["rebound"], "device-key");
    let second = Device::register(&house, &mut elsewhere).await;
    assert_eq!(second.session, device.session, "the session is the same");
    clock.advance(Duration::from_secs(10));
    assert_eq!(
        elsewhere.get(&house.url("/echo")).await.status,
        StatusCode::OK
    );
    assert_eq!(
        without_proof(&elsewhere)
            .get(&house.url("/echo"))
            .await
            .refusal(),
        Some("CG-2027")
    );
    assert_eq!(
        browser.get(&house.url("/echo")).await.refusal(),
        Some("CG-2013")
    );
    let page = device
        .ask(&house, &mut browser, Some(&device.proof("x")))
        .await;
    assert_eq!(page.refusal(), Some("CG-2027"), "the key of before");
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_streams_and_sign_out_go_their_way() {
    let (clock, house) = house().await;
    let (browser, device) = bound(&clock, &house).await;
    // Of two tabs that send the same proof one gets the cookie, the other is asked again.
    let (mut one, mut other) = (browser.clone(), browser.clone());
    let challenge = device.challenged(&house, &mut one).await;
    let proof = device.proof(&challenge);
    let (a, b) = tokio::join!(
        device.ask(&house, &mut one, Some(&proof)),
        device.ask(&house, &mut other, Some(&proof)),
    );
    let mut both = [a.status, b.status];
    both.sort_unstable();
    assert_eq!(both, [StatusCode::OK, StatusCode::FORBIDDEN]);

    // A live connection goes on; who has the session's cookie alone opens none.
    let mut socket = live::socket(&house, &one).await;
    let stolen = without_proof(&one);
    let upgrade = live::upgrade(&house, &stolen, &house.url(""));
    let stream = stolen.connect("localhost").await.unwrap();
    let refused = tokio_tungstenite::client_async(upgrade, stream).await;
    assert!(refused.unwrap_err().to_string().contains("401"));
    clock.advance(LIFETIME + Duration::from_secs(30));
    assert_eq!(
        one.get(&house.url("/echo")).await.refusal(),
        Some("CG-2027")
    );
    device.refresh(&house, &mut one).await;
    assert_eq!(one.get(&house.url("/echo")).await.status, StatusCode::OK);

    // Whoever leaves takes the key with them: the browser is told to forget it.
    one.post_form(&house.url("/.chartgate/logout"), &[]).await;
    let page = device.ask(&house, &mut one, None).await;
    assert_eq!(
        (page.status, page.refusal()),
        (StatusCode::NOT_FOUND, Some("CG-1014"))
    );
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        use futures_util::StreamExt;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
        }
    });
    ended.await.unwrap();
    let mut next = house.signed_in("dr.okafor").await;
    assert!(next.offer.is_some());
    let page = next.get(&house.url("/.chartgate/device-key")).await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
}
