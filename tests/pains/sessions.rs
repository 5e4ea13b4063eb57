//! Sessions that end, and roles that change, while work is going on.

use std::time::Duration;

use bytes::Bytes;
use chartgate::admin::protocol::AdminRequest;
use chartgate::audit::entry::{Entry, Phase};
use chartgate::audit::outcome::End;
use chartgate::config::refresh::Refresh;
use chartgate::operate::containment::{Ask, Whose};
use chartgate::request::Event;
use futures_util::StreamExt;
use futures_util::future::join_all;
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::live::{Socket, request, socket};
use crate::harness::practice::eventually;
use crate::harness::{Browser, House, Page, without_limits};

/// What ends within a second is waited for as long as this, on a machine that does other things.
const PATIENCE: Duration = Duration::from_mins(1);

/// Three things that go on for as long as they are let.
struct Work {
    browser: Browser,
    socket: Socket,
    poll: JoinHandle<Page>,
    download: JoinHandle<Result<u64, hyper::Error>>,
}

/// Reads without end; tells when the first bytes are there.
async fn download(house: &House, browser: &Browser) -> JoinHandle<Result<u64, hyper::Error>> {
    let path = format!("/download?bytes={}", 1_u64 << 34);
    let request = request(house, browser, (&path, &house.url("")))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let stream = browser.connect("localhost").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let (began, begins) = oneshot::channel();
    let mut began = Some(began);
    let read = tokio::spawn(async move {
        let _sender = sender;
        let (mut body, mut bytes) = (answer.into_body(), 0);
        while let Some(frame) = body.frame().await {
            bytes += frame?.into_data().map_or(0, |data| data.len() as u64);
            if let Some(began) = began.take() {
                began.send(()).unwrap();
            }
            // The machine is for the gateway.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        Ok(bytes)
    });
    begins.await.unwrap();
    read
}

async fn poll(house: &House, browser: &Browser) -> JoinHandle<Page> {
    let mut browser = browser.clone();
    browser.scripted = true;
    let now = browser.get(&house.url("/api/poll?wait=0")).await.json();
    let id = uuid::Uuid::now_v7();
    let target = format!("/api/poll?since={}&wait=25000&id={id}", now["version"]);
    let url = house.url(&target);
    let poll = tokio::spawn(async move { browser.get(&url).await });
    let line = format!("GET {target}");
    eventually("the poll at the EMR", async || {
        house.reached().contains(&line).then_some(())
    })
    .await;
    poll
}

async fn work(house: &House, user: &str) -> Work {
    let browser = house.at_work(user).await;
    Work {
        socket: socket(house, &browser).await,
        download: download(house, &browser).await,
        poll: poll(house, &browser).await,
        browser,
    }
}

impl Work {
    /// Waits until all of it was cut. None of it ends by itself in the meantime.
    async fn must_be_cut(mut self, house: &House, what: &str) -> Browser {
        let cut = async {
            let end = self.socket.next().await;
            let talks = matches!(end, Some(Ok(Message::Text(_) | Message::Binary(_))));
            assert!(!talks, "{what}: {end:?}");
            let answer = self.poll.await.unwrap();
            assert_eq!(
                (answer.status, answer.refusal()),
                (StatusCode::UNAUTHORIZED, Some("CG-2002")),
                "{what}: {}",
                answer.text()
            );
            self.download.await.unwrap().unwrap_err();
        };
        tokio::time::timeout(PATIENCE, cut)
            .await
            .unwrap_or_else(|_| panic!("{what}: not cut"));
        // Every outcome says so.
        for path in ["/ws/notifications", "/api/poll", "/download"] {
            let admission = admitted(house, path);
            let outcome = house.outcome_of(admission.id).await.outcome.unwrap();
            assert_eq!(outcome.end, End::Cut, "{what}: {path}");
        }
        self.browser
    }
}

/// The newest admission of this path.
fn admitted(house: &House, path: &str) -> Entry {
    let admissions = house.trail().into_iter().rev();
    admissions
        .filter(|entry| entry.phase == Phase::Admit)
        .find(|entry| entry.facts.as_ref().unwrap().path == path)
        .unwrap()
}

async fn recorded(house: &House, event: Event, key: &str, value: &str) -> Entry {
    eventually(&format!("{event:?} with {key} {value}"), async || {
        let entries = house.trail().into_iter().rev();
        entries
            .filter(|entry| entry.event == Some(event))
            .find(|entry| entry.detail.get(key).is_some_and(|found| found == value))
    })
    .await
}

/// pomerium#1279, #1327; warpgate#2106: a socket outlives its session. pomerium#6024: the cache accepts it.
#[tokio::test(flavor = "multi_thread")]
async fn pain_09_and_11_what_is_running_ends_with_its_session_whatever_ended_it() {
    let house = House::open_unlimited().await;
    let user = "nurse.lind";
    for cause in [
        "signed_out",
        "back_channel",
        "front_channel",
        "revoked",
        "locked",
    ] {
        let work = work(&house, user).await;
        match cause {
            "signed_out" => {
                let mut browser = work.browser.clone();
                let page = browser
                    .post_form(&house.url("/.chartgate/logout"), &[])
                    .await;
                assert!(page.status.is_redirection(), "{}", page.text());
            }
            "back_channel" => house.clinic.issuer().end_sessions_of(user).await,
            "front_channel" => {
                // The newest of the user's sessions at the provider is one of these; none of the others is open.
                for sid in house.clinic.issuer().sids_of(user) {
                    let query = form_urlencoded::Serializer::new(String::new())
                        .append_pair("iss", &house.clinic.facts().issuer)
                        .append_pair("sid", &sid)
                        .finish();
                    let path = format!("/.chartgate/frontchannel-logout?{query}");
                    let page = house.browser().get(&house.url(&path)).await;
                    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
                }
            }
            "revoked" => {
                let whose = Whose::User(user.to_owned());
                let reason = "a drill".to_owned();
                house
                    .ask(AdminRequest::Contain(Ask::End { whose, reason }))
                    .await
                    .unwrap();
            }
            "locked" => {
                let lock = Ask::Lock {
                    user: user.to_owned(),
                    reason: "a drill".to_owned(),
                    seconds: None,
                };
                house.ask(AdminRequest::Contain(lock)).await.unwrap();
            }
            other => panic!("{other}"),
        }
        // No request finds it from now on, in whichever worker.
        for _ in 0..4 {
            let page = work.browser.clone().get(&house.url("/echo")).await;
            assert_ne!(page.status, StatusCode::OK, "{cause}");
        }
        work.must_be_cut(&house, cause).await;
        match cause {
            "revoked" | "locked" => {
                recorded(&house, Event::SessionRevoked, "name", user).await;
            }
            cause => {
                let entry = recorded(&house, Event::SessionEnded, "cause", cause).await;
                assert_eq!(entry.detail["name"], user);
            }
        }
    }
    house.clinic.stop().await.unwrap();
}

/// oauth2-proxy#1156: no idle timeout. The longest duration ends what is running as well.
#[tokio::test(flavor = "multi_thread")]
async fn pain_13_what_is_running_ends_when_its_session_has_lasted_long_enough() {
    for (cause, idle, absolute) in [("absolute", 600, 12), ("idle", 8, 600)] {
        let house = House::open_with(move |config| {
            without_limits(config);
            config.identity.idle_timeout = Duration::from_secs(idle);
            config.identity.absolute_timeout = Duration::from_secs(absolute);
        })
        .await;
        let work = work(&house, "nurse.lind").await;
        work.must_be_cut(&house, cause).await;
        let entry = recorded(&house, Event::SessionExpired, "cause", cause).await;
        assert_eq!(entry.detail["name"], "nurse.lind");
        house.clinic.stop().await.unwrap();
    }
}

/// A house that reads roles again every second.
async fn reading_every_second() -> House {
    House::open_with(|config| {
        without_limits(config);
        config.identity.issuers[0].refresh = Some(Refresh {
            every: Duration::from_secs(1),
            grace: Duration::from_mins(30),
        });
    })
    .await
}

/// teleport#4559: an expired deep link ends on an error page.
#[tokio::test(flavor = "multi_thread")]
async fn pain_24_a_denied_refresh_cuts_what_is_running_and_the_deep_link_comes_back() {
    let house = reading_every_second().await;
    let work = work(&house, "nurse.lind").await;
    house.clinic.issuer().revoke_refresh_tokens_of("nurse.lind");
    let mut browser = work.must_be_cut(&house, "renewal_denied").await;
    recorded(&house, Event::SessionEnded, "cause", "renewal_denied").await;
    let mut script = browser.clone();
    script.scripted = true;
    let answer = script.get(&house.url("/api/poll?wait=0")).await;
    assert_eq!(
        (answer.status, answer.refusal()),
        (StatusCode::UNAUTHORIZED, Some("CG-2017"))
    );
    let link = house.url("/echo?deep=link");
    let page = browser.get(&link).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text());
    let page = house.sign_in_from(&mut browser, "nurse.lind", page).await;
    assert_eq!((page.status, page.url.as_str()), (StatusCode::OK, &*link));
    assert_eq!(
        house.clinic.issuer().refreshes().1,
        0,
        "no token came twice"
    );
    house.clinic.stop().await.unwrap();
}

/// oauth2-proxy#1992, against a provider that rotates and takes reuse for theft.
#[tokio::test(flavor = "multi_thread")]
async fn pain_05_a_refresh_race_of_many_tabs_keeps_the_session() {
    let house = reading_every_second().await;
    let browser = house.at_work("nurse.lind").await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let url = house.url("/echo");
        let tabs = (0..16).map(|_| {
            let mut tab = browser.clone();
            let url = url.clone();
            async move { tab.get(&url).await.status }
        });
        for status in join_all(tabs).await {
            assert_eq!(status, StatusCode::OK);
        }
    }
    let (redeemed, reused) = house.clinic.issuer().refreshes();
    assert!(redeemed >= 3, "{redeemed}");
    assert_eq!(reused, 0);
    house.clinic.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_taken_away_ends_what_it_permitted_and_is_on_record() {
    let house = reading_every_second().await;
    let browser = house.at_work("nurse.lind").await;
    let mut socket = socket(&house, &browser).await;
    house
        .clinic
        .issuer()
        .change_groups("nurse.lind", &["canteen"]);
    eventually("the refusal", async || {
        let page = browser.clone().get(&house.url("/echo")).await;
        (page.refusal() == Some("CG-2009")).then_some(())
    })
    .await;
    let changed = recorded(&house, Event::RolesChanged, "name", "nurse.lind").await;
    assert_eq!(changed.detail["before"], "nurse");
    assert_eq!(changed.detail["after"], "");
    let end = tokio::time::timeout(PATIENCE, socket.next())
        .await
        .expect("the socket is decided again, and cut");
    let talks = matches!(end, Some(Ok(Message::Text(_) | Message::Binary(_))));
    assert!(!talks, "{end:?}");
    house.clinic.stop().await.unwrap();
}

/// pomerium#3270: a shared browser shows one user's page under another's name.
#[tokio::test(flavor = "multi_thread")]
async fn pain_12_the_next_user_of_a_browser_has_nothing_of_the_one_before() {
    let house = House::open_unlimited().await;
    let mut shared = house.at_work("nurse.lind").await;
    let before = shared.clone();
    let page = shared
        .post_form(&house.url("/.chartgate/logout"), &[])
        .await;
    let cleared = page.header("clear-site-data").unwrap();
    assert!(cleared.contains("\"cache\""), "{cleared}");
    // The provider asks whether to sign out there as well; the next user just takes another account.
    let issuer = house.clinic.facts().issuer.clone();
    shared
        .cookies
        .retain(|(host, _), _| !issuer.ends_with(host.as_str()));
    let page = house
        .sign_in(&mut shared, "dr.okafor", &house.url("/echo"))
        .await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert!(page.text().contains("dr.okafor") && !page.text().contains("nurse.lind"));
    let page = before.clone().get(&house.url("/echo")).await;
    assert_ne!(page.status, StatusCode::OK, "the old cookie is dead");
    house.clinic.stop().await.unwrap();
}
