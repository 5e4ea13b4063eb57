//! Admitted requests, recorded outcomes and a configured EMR for the tests of this module.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::streams::{LiveStream, StreamObserver, Streams};
use super::{Answered, Upstream};
use crate::audit::admit::Admitted;
use crate::audit::outcome::{Outcome, OutcomeGuard, OutcomeSink};
use crate::clock::{SharedClock, SystemClock};
use crate::config;
use crate::emr::classify::{Classified, classify};
use crate::emr::map::Mapped;
use crate::emr::profile::RouteTraits;
use crate::identity::identify::Identified;
use crate::identity::session::SessionId;
use crate::limit::charge::Limited;
use crate::limit::screen::Screened;
use crate::policy::decide::{Authorized, Obligations};
use crate::request::facts::{Action, Mapping};
use crate::request::principal::{Proof, User};
use crate::request::received::{Connection, Parts};
use crate::request::{
    Body, ClientAddr, Facts, Notice, PeerAddr, Principal, Received, Refused, RequestId, Role,
    Target,
};

/// The outcomes that were written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes(Arc<Mutex<Vec<Outcome>>>);

impl Outcomes {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn only(&self) -> Outcome {
        let outcomes = self.0.lock().unwrap();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes[0].clone()
    }

    pub(crate) fn last(&self) -> Option<Outcome> {
        self.0.lock().unwrap().last().cloned()
    }
}

struct Sink(Outcomes);

impl OutcomeSink for Sink {
    fn write(self: Box<Self>, outcome: Outcome) {
        self.0.0.lock().unwrap().push(outcome);
    }
}

pub(crate) fn guard(outcomes: &Outcomes) -> OutcomeGuard {
    OutcomeGuard::new(Box::new(Sink(outcomes.clone())), SystemClock::shared())
}

pub(crate) fn user(name: &str) -> Principal {
    Principal::User(User {
        issuer: "clinic".to_owned(),
        subject: format!("sub-{name}"),
        name: name.to_owned(),
        roles: BTreeSet::from([Role::new("physician"), Role::new("ward 3, nurse")]),
        proof: Proof {
            acr: Some("mfa".to_owned()),
            amr: vec!["pwd".to_owned(), "otp".to_owned()],
            mfa: true,
            auth_time: None,
            phishing_resistant: false,
        },
        department: None,
    })
}

pub(crate) fn facts() -> Facts {
    request("GET", "/", &[]).build().facts().clone()
}

/// A request in the making.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) user: String,
    pub(crate) action: Action,
    pub(crate) traits: RouteTraits,
    pub(crate) upgrade: Option<hyper::upgrade::OnUpgrade>,
    pub(crate) notices: Vec<Notice>,
}

pub(crate) fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    Request {
        method: method.parse().unwrap(),
        target: target.to_owned(),
        headers,
        body: Body::empty(),
        user: "dr.house".to_owned(),
        action: Action::Read,
        traits: RouteTraits {
            websocket: false,
            pass_authorization: false,
            body_limit: 1024 * 1024,
            no_store: true,
        },
        upgrade: None,
        notices: Vec::new(),
    }
}

impl Request {
    pub(crate) fn build(self) -> Received {
        let parts = Parts {
            id: RequestId::new(),
            at: SystemClock::shared().now(),
            method: self.method,
            version: Version::HTTP_11,
            host: "emr.example".to_owned(),
            authority: "emr.example:8443".to_owned(),
            target: Target::parse_str(&self.target).unwrap(),
            headers: self.headers,
            connection: Connection {
                peer: PeerAddr::new("192.0.2.9:1".parse().unwrap()),
                sni: None,
                tls: None,
                certificate: None,
            },
            client: ClientAddr::from("192.0.2.9".parse::<std::net::IpAddr>().unwrap()),
            upgrade_to: self.upgrade.as_ref().map(|_| "websocket".to_owned()),
        };
        Received::new(parts, self.body, self.upgrade, 1)
    }

    pub(crate) fn limited(self) -> Limited {
        let (user, action, traits) = (self.user.clone(), self.action, self.traits.clone());
        let notices = self.notices.clone();
        let limited = limited(self.build(), &user, action, traits);
        Limited::for_test(limited.into_authorized().noticed(notices))
    }

    pub(crate) fn admitted(self, outcomes: &Outcomes) -> Admitted {
        Admitted::for_test(self.limited(), guard(outcomes))
    }
}

/// What the stages make of `received` when all goes well.
pub(crate) fn limited(
    received: Received,
    name: &str,
    action: Action,
    traits: RouteTraits,
) -> Limited {
    let until = SystemClock::shared()
        .now()
        .checked_add(Duration::from_hours(1))
        .unwrap();
    let identified = Identified::for_test(
        Screened::for_test(received),
        user(name),
        SessionId::for_test(&format!("session of {name}")),
        until,
    );
    let mapping = Mapping {
        route: "chart".to_owned(),
        action,
        section: "notes".to_owned(),
        sensitivity: "N".to_owned(),
        information_types: crate::request::situation::Words::new(),
        patients: Vec::new(),
        fields: std::collections::BTreeMap::new(),
        poll: false,
        emr_user: None,
        inspected: crate::request::facts::Inspected::default(),
        demand: crate::request::Demand::NONE,
        disclosure: None,
    };
    let mapped = Mapped::for_test(identified, 0, traits, mapping);
    Limited::for_test(Authorized::for_test(mapped, Obligations::default(), until))
}

/// An EMR at `url` with every way to pass identity but the assertion.
pub(crate) fn emr(url: &str) -> config::Emr {
    config::Emr {
        name: "legacy".to_owned(),
        hosts: vec!["emr.example".to_owned()],
        profile: std::path::PathBuf::new(),
        backend: config::Backend {
            url: url.parse().unwrap(),
            protocol: config::BackendProtocol::Http1,
            host: config::HostHeader::Public,
            ca: None,
            client_certificate: None,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(10),
            max_idle: 4,
            max_connections: 8,
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(5),
        },
        identity: config::PassIdentity {
            user_header: Some(HeaderName::from_static("x-emr-user")),
            roles_header: Some(HeaderName::from_static("x-emr-roles")),
            assertion: None,
            basic: None,
        },
        error_pages: config::ErrorPages::Pass,
    }
}

#[derive(Debug)]
pub(crate) struct Silent;

impl StreamObserver for Silent {
    fn interval(&self, _: &LiveStream) {}
}

pub(crate) fn streams() -> Arc<Streams> {
    Streams::new(
        SystemClock::shared(),
        Arc::new(Silent),
        Duration::from_mins(1),
    )
}

pub(crate) fn upstream(emr: config::Emr) -> Upstream {
    let clock: SharedClock = SystemClock::shared();
    let hsts = Duration::from_mins(10);
    Upstream::new(super::Backends::load(&[emr], hsts, streams(), clock).unwrap())
}

impl Upstream {
    /// Forwards and classifies, as the request path does.
    pub(crate) async fn exchanged(
        &self,
        admitted: Admitted,
    ) -> Result<Classified<Answered>, Refused> {
        let (exchange, answered) = self.forward(admitted).await?;
        Ok(classify(exchange, answered).await)
    }
}
