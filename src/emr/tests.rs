//! Drives requests through the mapping and answers through the classification, with the shipped profiles.

mod appears;
mod caching;
mod disclosure;
mod fields;
mod inspection;
mod links;
mod patches;
mod problems;
mod selection;
mod sessions;
mod shipped;

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;

use super::bindings::{BindingStore, Bindings, StoreFuture};
use super::classify::{Answer, Classified, Exchange, Held, classify};
use super::emrs::Emrs;
use super::listeners::Listeners;
use super::map::Mapped;
use super::profile::Profile;
use super::sessions::OwnSessions;
use crate::audit::outcome::{Outcome, OutcomeGuard, OutcomeSink};
use crate::clock::{ManualClock, SharedClock};
use crate::identity::identify::Identified;
use crate::identity::session::SessionId;
use crate::limit::screen::Screened;
use crate::refusal::Refusal;
use crate::request::principal::{Proof, User};
use crate::request::received::{Connection, Parts};
use crate::request::{
    Body, BodyError, ClientAddr, PeerAddr, Principal, Received, Refused, RequestId, Target,
};
use crate::store::StoreError;

const SAMPLE: &str = include_str!("../../policies/emr/sample-clinic.toml");
const OPAL: &str = include_str!("../../policies/emr/opal.toml");
const OPENEMR: &str = include_str!("../../policies/emr/openemr.toml");
const OPENMRS: &str = include_str!("../../policies/emr/openmrs.toml");
const OSCAR: &str = include_str!("../../policies/emr/oscar.toml");
const ORTHANC: &str = include_str!("../../policies/emr/orthanc.toml");

/// A store in memory that can be made unreachable.
#[derive(Debug, Default)]
struct MemoryStore {
    values: Mutex<HashMap<String, Vec<u8>>>,
    down: std::sync::atomic::AtomicBool,
}

impl MemoryStore {
    fn set_down(&self, down: bool) {
        self.down.store(down, std::sync::atomic::Ordering::SeqCst);
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&mut HashMap<String, Vec<u8>>) -> T,
    ) -> Result<T, StoreError> {
        if self.down.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(StoreError::Unavailable("down".into()));
        }
        Ok(act(&mut self.values.lock().unwrap()))
    }
}

impl BindingStore for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { self.with(|values| values.get(key).cloned()) })
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, _expires: Timestamp) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.with(|values| drop(values.insert(key.to_owned(), value))) })
    }

    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.with(|values| drop(values.remove(key))) })
    }
}

fn start() -> Timestamp {
    "2026-03-01T08:00:00Z".parse().unwrap()
}

fn clock() -> SharedClock {
    Arc::new(ManualClock::new(start()))
}

fn emrs_with(profile: &str, store: &Arc<MemoryStore>) -> Emrs {
    let profile = Profile::parse(profile, "test.toml").unwrap();
    let store: Arc<dyn BindingStore> = Arc::clone(store) as _;
    let list = vec![("clinic".to_owned(), vec!["emr.test".to_owned()], profile)];
    let mut emrs = Emrs::new(
        list,
        Duration::from_secs(5),
        Arc::new(Bindings::new(store)),
        clock(),
    );
    emrs.selection_wait = Duration::ZERO;
    emrs
}

fn emrs(profile: &str) -> Emrs {
    emrs_with(profile, &Arc::default())
}

/// A request to be mapped.
#[derive(Clone)]
struct Call {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    user: &'static str,
    session: &'static str,
    upgrade_to: Option<String>,
}

impl Call {
    fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.parse().unwrap(),
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            user: "adams",
            session: "s1",
            upgrade_to: None,
        }
    }

    fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn body(self, content_type: &str, body: &str) -> Self {
        let mut call = self.header("content-type", content_type);
        call.body = Bytes::copy_from_slice(body.as_bytes());
        call
    }

    fn form(self, body: &str) -> Self {
        self.body("application/x-www-form-urlencoded", body)
    }

    fn json(self, body: &str) -> Self {
        self.body("application/json", body)
    }

    fn cookie(self, value: &str) -> Self {
        self.header("cookie", value)
    }

    fn by(mut self, user: &'static str, session: &'static str) -> Self {
        (self.user, self.session) = (user, session);
        self
    }

    fn upgrade(mut self, protocol: &str) -> Self {
        self.upgrade_to = Some(protocol.to_owned());
        self
    }

    fn identified(self) -> Identified {
        let peer = PeerAddr::new("192.0.2.7:50000".parse().unwrap());
        let parts = Parts {
            id: RequestId::new(),
            at: start(),
            method: self.method,
            version: Version::HTTP_11,
            host: "emr.test".into(),
            authority: "emr.test".into(),
            target: Target::parse_str(&self.target).unwrap(),
            client: ClientAddr::find(peer, &self.headers, &[]),
            headers: self.headers,
            connection: Connection {
                peer,
                sni: None,
                tls: None,
                certificate: None,
            },
            upgrade_to: self.upgrade_to,
        };
        let body = if self.body.is_empty() {
            Body::empty()
        } else {
            let never = |never: Infallible| -> BodyError { match never {} };
            Body::streaming(Full::new(self.body).map_err(never))
        };
        let principal = Principal::User(User {
            issuer: "test".into(),
            subject: format!("sub-{}", self.user),
            name: self.user.into(),
            roles: BTreeSet::new(),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: None,
                phishing_resistant: false,
            },
            department: None,
        });
        let received = Received::new(parts, body, None, 1);
        let screened = Screened::for_test(received);
        let expires = start()
            .checked_add(jiff::SignedDuration::from_hours(12))
            .unwrap();
        Identified::for_test(
            screened,
            principal,
            SessionId::for_test(self.session),
            expires,
        )
    }

    async fn map(self, emrs: &Emrs) -> Result<Mapped, Refused> {
        emrs.map(self.identified()).await
    }

    /// Why the request is refused.
    async fn refusal(self, emrs: &Emrs) -> Option<Refusal> {
        self.map(emrs).await.err().map(|refused| refused.refusal())
    }

    /// Forwards the request and answers it with `answer`; returns the patients of the outcome.
    async fn exchange(self, emrs: &Emrs, answer: http::response::Builder) -> Exchanged {
        let mapped = self.map(emrs).await.unwrap();
        let (_, _, exchange) = mapped.into_parts();
        answered(exchange, answer).await
    }
}

/// What an exchange came to.
struct Exchanged {
    classified: Classified<Answered>,
    outcome: Arc<Mutex<Option<Outcome>>>,
}

impl Exchanged {
    fn outcome(self) -> Outcome {
        drop(self.classified);
        self.outcome.lock().unwrap().take().unwrap()
    }
}

#[derive(Debug)]
struct Answered {
    head: http::response::Parts,
    outcome: OutcomeGuard,
    listeners: Option<Listeners>,
}

impl Answer for Answered {
    fn head(&mut self) -> (&http::response::Parts, Option<&mut OutcomeGuard>) {
        (&self.head, Some(&mut self.outcome))
    }

    fn listen(&mut self, listeners: Listeners) {
        self.listeners = Some(listeners);
    }
}

struct Sink(Arc<Mutex<Option<Outcome>>>);

impl OutcomeSink for Sink {
    fn write(self: Box<Self>, outcome: Outcome) {
        *self.0.lock().unwrap() = Some(outcome);
    }
}

async fn answered(exchange: Exchange, answer: http::response::Builder) -> Exchanged {
    let outcome = Arc::new(Mutex::new(None));
    let guard = OutcomeGuard::new(Box::new(Sink(Arc::clone(&outcome))), clock());
    let head = answer.body(()).unwrap().into_parts().0;
    let classified = classify(
        exchange,
        Answered {
            head,
            outcome: guard,
            listeners: None,
        },
    )
    .await;
    Exchanged {
        classified,
        outcome,
    }
}

fn status(status: u16) -> http::response::Builder {
    http::Response::builder().status(status)
}

fn redirect(location: &str) -> http::response::Builder {
    status(302).header("location", location)
}

/// Signs in to the EMR: afterwards `CLINICSESSID={token}` is bound to the session.
async fn sign_in(emrs: &Emrs, user: &'static str, session: &'static str, token: &str) {
    let answer =
        redirect("http://emr.test/").header("set-cookie", format!("CLINICSESSID={token}; Path=/"));
    let form = format!("username={user}&password=x");
    let call = Call::new("POST", "/login").form(&form).by(user, session);
    let done = call.exchange(emrs, answer).await;
    assert_eq!(
        done.classified.login(),
        Some(super::classify::EmrLogin::Succeeded)
    );
}

/// Selects a patient with success.
async fn select(emrs: &Emrs, token: &str, id: &str) {
    let call = Call::get(&format!("/patients/select?set_pid={id}"))
        .cookie(&format!("CLINICSESSID={token}"));
    let outcome = call
        .exchange(emrs, redirect("http://emr.test/chart"))
        .await
        .outcome();
    assert_eq!(outcome.patients.len(), 1);
    assert_eq!(outcome.patients[0].id, id);
}

/// The patients that a request is about.
async fn patients(call: Call, emrs: &Emrs) -> Result<Vec<String>, Refusal> {
    call.map(emrs)
        .await
        .map(|mapped| {
            mapped
                .mapping()
                .patients
                .iter()
                .map(|p| p.id.clone())
                .collect()
        })
        .map_err(|refused| refused.refusal())
}

/// An exchange for tests of other stages.
pub(super) fn exchange(identified: &Identified, index: usize) -> Exchange {
    const TRIVIAL: &str = "version = 1\nname = \"x\"\n[[route]]\nid = \"r\"\nmethods = [\"*\"]\npath = \"/**\"\naction = \"Navigate\"\nsection = \"shell\"\n";
    let list = (0..=index)
        .map(|n| {
            (
                format!("emr{n}"),
                vec![format!("emr{n}.test")],
                Profile::parse(TRIVIAL, "x").unwrap(),
            )
        })
        .collect();
    let store: Arc<dyn BindingStore> = Arc::new(MemoryStore::default());
    let emrs = Emrs::new(
        list,
        Duration::from_secs(5),
        Arc::new(Bindings::new(store)),
        clock(),
    );
    let emr = emrs.emr(index).unwrap();
    Exchange::new(
        &emrs,
        emr,
        None,
        identified,
        OwnSessions::default(),
        Held::Nothing,
        None,
        None,
    )
}
