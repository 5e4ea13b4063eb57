//! A gateway's sign-in with everything around it, and browsers to use it, for unit tests.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, Version, header};
use http_body_util::Full;
use jiff::Timestamp;
use serde_json::Value;

use super::identify::Identified;
use super::oidc::test_provider::TestProvider;
use super::{Identity, OwnRoute, RoleMap, Roles};
use crate::clock::{Clock, ManualClock, SharedClock};
use crate::config;
use crate::limit::screen::Screened;
use crate::refusal::Refusal;
use crate::request::Throttle;
use crate::request::received::{Connection, Parts};
use crate::request::{
    Body, ClientAddr, Event, Facts, Handled, PeerAddr, Received, Refused, RequestId, Role, Target,
};
use crate::secret::Secret;
use crate::store::{MemoryStore, Store};

/// `emr-physicians` is a physician.
#[derive(Debug)]
struct Physicians;

impl RoleMap for Physicians {
    fn generation(&self) -> u64 {
        1
    }

    fn roles(&self, issuer: &str, values: &[String], _now: Timestamp) -> Roles {
        let is_one = issuer == "staff" && values.iter().any(|v| v == "emr-physicians");
        Roles {
            roles: is_one.then(|| Role::new("physician")).into_iter().collect(),
            until: None,
            generation: 1,
        }
    }
}

pub(super) struct Gateway {
    pub(super) identity: Arc<Identity>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) home: MemoryStore,
    pub(super) provider: TestProvider,
    /// Accounts sign in too often.
    pub(super) throttled: bool,
}

impl Gateway {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut config::Identity)) -> Self {
        let provider = TestProvider::start().await;
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let home = MemoryStore::new();
        let identity = identity(&provider, &clock, &home, change).await;
        Self {
            identity,
            clock,
            home,
            provider,
            throttled: false,
        }
    }

    /// The same gateway after its process was started again.
    pub(super) async fn restarted(&self) -> Self {
        self.restarted_with(|_| {}).await
    }

    /// The same with another configuration.
    pub(super) async fn restarted_with(&self, change: impl FnOnce(&mut config::Identity)) -> Self {
        Self {
            identity: identity(&self.provider, &self.clock, &self.home, change).await,
            clock: Arc::clone(&self.clock),
            home: self.home.clone(),
            provider: self.provider.clone(),
            throttled: self.throttled,
        }
    }

    pub(super) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    /// Hands a request to the stage.
    pub(super) async fn handle(
        &self,
        route: OwnRoute,
        received: Received,
    ) -> Result<Handled, Refused> {
        let throttle = Throttle {
            name: "account",
            quota: 1,
            window: Duration::from_mins(1),
            retry: Duration::from_mins(1),
        };
        let limit = |_: &str| {
            if self.throttled {
                Err(throttle)
            } else {
                Ok(())
            }
        };
        self.identity.handle(route, received, &limit).await
    }

    /// A browser whose user signed in.
    pub(super) async fn signed_in(&self) -> Browser {
        let mut browser = Browser::default();
        browser.sign_in(self, |_| {}).await.unwrap();
        browser
    }
}

async fn identity(
    provider: &TestProvider,
    clock: &Arc<ManualClock>,
    home: &MemoryStore,
    change: impl FnOnce(&mut config::Identity),
) -> Arc<Identity> {
    let shared: SharedClock = Arc::<ManualClock>::clone(clock);
    let master = Secret::new(vec![1; 32]);
    let store = Store::open(Box::new(home.clone()), &master, Arc::clone(&shared))
        .await
        .unwrap();
    let mut config = config::Identity {
        idle_timeout: Duration::from_mins(15),
        absolute_timeout: Duration::from_hours(12),
        login_timeout: Duration::from_mins(10),
        clock_leeway: Duration::from_mins(1),
        sessions: config::sessions::Sessions::default(),
        issuers: vec![provider.issuer()],
        second_factor: None,
        api: Vec::new(),
        client_certificates: None,
        lock: None,
        held_posts: None,
        emergency: None,
    };
    change(&mut config);
    Identity::new(&config, store, shared, Arc::new(Physicians), None).unwrap()
}

/// A request as the stages before this one leave it.
pub(super) fn received(method: &Method, target: &str, headers: HeaderMap, body: &str) -> Received {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let parts = Parts {
        id: RequestId::new(),
        at: Timestamp::UNIX_EPOCH,
        method: method.clone(),
        version: Version::HTTP_11,
        host: "emr.example".to_owned(),
        authority: "emr.example:8443".to_owned(),
        target: Target::parse_str(target).unwrap(),
        headers,
        connection: Connection {
            peer: PeerAddr::new(SocketAddr::new(loopback, 1)),
            sni: None,
            tls: None,
            certificate: None,
        },
        client: ClientAddr::from(loopback),
        upgrade_to: None,
    };
    let body = Body::streaming(Full::new(Bytes::from(body.to_owned())));
    Received::new(parts, body, None, 1)
}

/// What a browser got, and what went on record.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) facts: Facts,
    pub(super) event: Event,
    pub(super) detail: BTreeMap<String, String>,
    pub(super) response: Response<Bytes>,
}

/// A browser: it keeps cookies and follows nothing by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Browser {
    pub(super) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let pairs: Vec<_> = self
            .cookies
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        if !pairs.is_empty() {
            let line = HeaderValue::from_bytes(pairs.join("; ").as_bytes()).unwrap();
            headers.insert(header::COOKIE, line);
        }
        headers
    }

    pub(super) fn keep(&mut self, answer: &HeaderMap) {
        for set in answer.get_all(header::SET_COOKIE) {
            let (pair, attributes) = set.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Asks for one of the gateway's own paths.
    pub(super) async fn ask(
        &mut self,
        gateway: &Gateway,
        method: Method,
        target: &str,
        more: &[(&'static str, &str)],
    ) -> Result<Seen, Refusal> {
        let mut headers = self.headers();
        for (name, value) in more {
            headers.append(*name, value.parse().unwrap());
        }
        let received = received(&method, target, headers, "");
        let route = OwnRoute::of(&received.parts().target).unwrap();
        let handled = gateway.handle(route, received).await;
        let handled = handled.map_err(|refused| refused.refusal())?;
        assert_eq!(
            handled.response.headers()[header::CACHE_CONTROL],
            "no-store"
        );
        self.keep(handled.response.headers());
        let Handled {
            facts,
            event,
            detail,
            response,
        } = handled;
        Ok(Seen {
            facts,
            event,
            detail,
            response,
        })
    }

    pub(super) async fn get(&mut self, gateway: &Gateway, target: &str) -> Result<Seen, Refusal> {
        self.ask(gateway, Method::GET, target, &[]).await
    }

    /// Starts a sign-in; returns where the provider is asked.
    pub(super) async fn start(&mut self, gateway: &Gateway, query: &str) -> url::Url {
        let target = format!("/.chartgate/login?{query}");
        let handled = self.get(gateway, &target).await.unwrap();
        location(&handled).parse().unwrap()
    }

    /// Finishes a sign-in with an ID token whose claims were changed.
    pub(super) async fn finish(
        &mut self,
        gateway: &Gateway,
        asked: &url::Url,
        change: impl FnOnce(&mut Value),
    ) -> Result<Seen, Refusal> {
        let mut claims = gateway
            .provider
            .id_claims(&query(asked, "nonce"), gateway.now());
        change(&mut claims);
        let code = gateway.provider.grant(asked, &claims);
        let state = query(asked, "state");
        let target = format!("/.chartgate/callback?code={code}&state={state}");
        self.get(gateway, &target).await
    }

    /// Signs in with an ID token whose claims were changed.
    pub(super) async fn sign_in(
        &mut self,
        gateway: &Gateway,
        change: impl FnOnce(&mut Value),
    ) -> Result<Seen, Refusal> {
        let asked = self.start(gateway, "return_to=/chart/4").await;
        self.finish(gateway, &asked, change).await
    }

    /// Asks for a page of the EMR.
    pub(super) async fn open(&self, gateway: &Gateway) -> Result<Identified, Refused> {
        let received = received(&Method::GET, "/chart/4", self.headers(), "");
        gateway
            .identity
            .identify(Screened::for_test(received))
            .await
    }

    /// This browser's session.
    pub(super) async fn live(&self, gateway: &Gateway) -> Arc<super::session::Live> {
        let headers = self.headers();
        let presented = super::cookie::presented(&headers, super::cookie::SESSION_COOKIE);
        let super::cookie::Presented::One(token) = presented else {
            panic!("no session")
        };
        let found = gateway.identity.sessions().find(&token).await.unwrap();
        let super::sessions::Found::Live(live) = found else {
            panic!("{found:?}")
        };
        live
    }

    /// The key under which the store has this browser's session.
    pub(super) async fn open_key(&self, gateway: &Gateway) -> String {
        self.live(gateway).await.key().to_owned()
    }

    /// As [`Self::open`]; only whether it was refused.
    pub(super) async fn outcome(&self, gateway: &Gateway) -> Result<(), Refusal> {
        self.open(gateway).await.map(drop).map_err(|r| r.refusal())
    }
}

pub(super) fn location(handled: &Seen) -> &str {
    handled.response.headers()[header::LOCATION]
        .to_str()
        .unwrap()
}

pub(super) fn query(url: &url::Url, name: &str) -> String {
    let mut found = url.query_pairs().filter(|(n, _)| n == name);
    let value = found.next().map(|(_, v)| v.into_owned());
    assert!(found.next().is_none());
    value.unwrap_or_default()
}
