//! API clients at a gateway with a fake authorization server: tokens, introspection, certificates.

mod certificates;
mod introspection;
mod revocation;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::oidc::test_provider::TestProvider;
use super::super::test_gateway::{self, Browser, Gateway};
use super::super::{Identity, RoleMap, Roles};
use crate::clock::{Clock, ManualClock, SharedClock};
use crate::config;
use crate::config::api::{Api, ApiClaims, ApiKind, IntrospectionApi, JwtApi, Reach};
use crate::identity::cookie::SESSION_COOKIE;
use crate::identity::identify::Identified;
use crate::limit::screen::Screened;
use crate::refusal::Refusal;
use crate::request::principal::Service;
use crate::request::{ClientCertificate, Principal, Received, Role};
use crate::secret::Secret;
use crate::store::{MemoryStore, Store};

const AUDIENCE: &str = "https://emr.example";
const HOST: &str = "emr.example";

/// A value is a role, for the API `interfaces` and for certificates.
#[derive(Debug)]
struct AsNamed;

impl RoleMap for AsNamed {
    fn generation(&self) -> u64 {
        1
    }

    fn roles(&self, issuer: &str, values: &[String], _now: Timestamp) -> Roles {
        let known = ["interfaces", "asked", "certificates"].contains(&issuer);
        let roles = values
            .iter()
            .filter(|_| known)
            .map(|value| Role::new(value));
        Roles {
            roles: roles.collect(),
            until: None,
            generation: 1,
        }
    }
}

/// An introspection endpoint that says what a test told it to.
#[derive(Debug, Clone, Default)]
struct Endpoint(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    answers: BTreeMap<String, Value>,
    asked: Vec<String>,
    is_down: bool,
    authorization: String,
}

impl Endpoint {
    async fn start() -> (Self, url::Url) {
        let endpoint = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap());
        let served = endpoint.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let served = served.clone();
                        async move { served.answer(request).await }
                    });
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        (endpoint, url.parse().unwrap())
    }

    async fn answer(
        &self,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
        let authorization = request.headers()[header::AUTHORIZATION].clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let form: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        assert_eq!(form["token_type_hint"], "access_token");
        // Long enough for requests to meet.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let mut said = self.0.lock().unwrap();
        said.authorization = authorization.to_str().unwrap().to_owned();
        said.asked.push(form["token"].clone());
        let inactive = json!({ "active": false });
        let answer = said.answers.get(&form["token"]).unwrap_or(&inactive);
        let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
        if said.is_down {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(response)
    }

    fn say(&self, token: &str, claims: Value) {
        self.0
            .lock()
            .unwrap()
            .answers
            .insert(token.to_owned(), claims);
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }

    fn set_down(&self, is_down: bool) {
        self.0.lock().unwrap().is_down = is_down;
    }
}

struct Rig {
    provider: TestProvider,
    endpoint: Endpoint,
    clock: Arc<ManualClock>,
    identity: Arc<Identity>,
}

fn settings(name: &str, kind: ApiKind) -> Api {
    Api {
        name: name.to_owned(),
        kind,
        audience: AUDIENCE.to_owned(),
        ca: None,
        reach: Reach {
            hosts: vec![HOST.to_owned()],
            paths: vec!["/fhir".to_owned(), "/chart".to_owned()],
        },
        scopes: BTreeMap::from([("system/*.read".to_owned(), "reader".to_owned())]),
        clients: BTreeSet::new(),
        accounts: BTreeMap::from([("mirth".to_owned(), "hl7".to_owned())]),
        claims: ApiClaims {
            client: "/client_id".to_owned(),
            scope: "/scope".to_owned(),
            id: "/jti".to_owned(),
        },
        require_bound: false,
        max_token_bytes: 8192,
    }
}

impl Rig {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// `interfaces` judges JWTs of the provider, `asked` asks the endpoint.
    async fn start_with(change: impl FnOnce(&mut config::Identity)) -> Self {
        let provider = TestProvider::start().await;
        let (endpoint, at) = Endpoint::start().await;
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
        let master = Secret::new(vec![1; 32]);
        let home = Box::new(MemoryStore::new());
        let store = Store::open(home, &master, Arc::clone(&shared))
            .await
            .unwrap();
        let jwt = JwtApi {
            issuer: provider.url().parse().unwrap(),
            jwks: None,
            algorithms: vec!["ES256".to_owned()],
            accept_plain_typ: false,
            max_age: Duration::from_hours(1),
        };
        let introspection = IntrospectionApi {
            endpoint: at,
            issuer: None,
            client_id: "gate way".to_owned(),
            client_secret: Secret::new("s:3".to_owned()),
            cache_ttl: Duration::from_secs(10),
            cache_entries: 100,
            timeout: Duration::from_secs(3),
        };
        let mut config = config::Identity {
            idle_timeout: Duration::from_mins(15),
            absolute_timeout: Duration::from_hours(12),
            login_timeout: Duration::from_mins(10),
            clock_leeway: Duration::from_mins(1),
            issuers: vec![provider.issuer()],
            api: vec![
                settings("interfaces", ApiKind::Jwt(jwt)),
                settings("asked", ApiKind::Introspection(introspection)),
            ],
            client_certificates: None,
            second_factor: None,
            sessions: config::sessions::Sessions::default(),
            lock: None,
            held_posts: None,
            emergency: None,
        };
        change(&mut config);
        let identity = Identity::new(&config, store, shared, Arc::new(AsNamed), None).unwrap();
        Self {
            provider,
            endpoint,
            clock,
            identity,
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    /// What RFC 9068 demands.
    fn claims(&self) -> Value {
        let now = self.now();
        json!({
            "iss": self.provider.url(), "aud": AUDIENCE, "sub": "mirth", "client_id": "mirth",
            "iat": now, "exp": now.saturating_add(300), "jti": "t1", "scope": "openid system/*.read",
        })
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        self.provider.sign(&claims, "at+jwt")
    }

    async fn call(&self, call: Call) -> Result<Identified, Refusal> {
        let received = call.received();
        let identified = self.identity.identify(Screened::for_test(received)).await;
        identified.map_err(|refused| refused.refusal())
    }

    async fn bearer(&self, token: &str) -> Result<Service, Refusal> {
        self.call(Call::bearer(token)).await.map(service)
    }
}

fn service(identified: Identified) -> Service {
    let (_, principal, _) = identified.into_parts();
    match &*principal {
        Principal::Service(service) => service.clone(),
        Principal::User(user) => panic!("{user:?}"),
    }
}

/// A request of an API client.
#[derive(Debug, Clone)]
struct Call {
    target: String,
    host: String,
    headers: HeaderMap,
    upgrade: bool,
    certificate: Option<Arc<ClientCertificate>>,
}

impl Call {
    fn new() -> Self {
        Self {
            target: "/fhir/Observation?patient=4".to_owned(),
            host: HOST.to_owned(),
            headers: HeaderMap::new(),
            upgrade: false,
            certificate: None,
        }
    }

    fn bearer(token: &str) -> Self {
        Self::new().with("authorization", &format!("Bearer {token}"))
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    fn at(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    fn of_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    fn upgrading(mut self) -> Self {
        self.upgrade = true;
        self
    }

    fn over(mut self, certificate: Option<Arc<ClientCertificate>>) -> Self {
        self.certificate = certificate;
        self
    }

    fn received(self) -> Received {
        let received = test_gateway::received(&Method::GET, &self.target, self.headers, "");
        let (mut parts, body, _, _) = received.into_parts();
        parts.host = self.host;
        parts.upgrade_to = self.upgrade.then(|| "websocket".to_owned());
        parts.connection.certificate = self.certificate;
        Received::new(parts, body, None, 1)
    }
}
