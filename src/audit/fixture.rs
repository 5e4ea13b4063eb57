//! Records of an invented clinic, for the tests of what reads them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::entry::{Entry, Phase};
use super::log::{MasterKey, Observer, Payload, Recovered, SigningKey};
use super::outcome::{End, Outcome};
use super::query::join::{Ended, Joined};
use crate::clock::SharedClock;
use crate::config;
use crate::request::facts::{Decision, Mapping, PatientSource, Verdict};
use crate::request::principal::{Proof, User};
use crate::request::{Action, Event, Facts, PatientRef, Principal, Role};
use crate::secret::Secret;
use crate::store::{MemoryStore, Store};

/// A trail to be kept in `dir`, with keys made once.
pub(crate) fn configured(dir: &Path) -> config::Audit {
    let (master_key, signing_key) = (dir.join("master.key"), dir.join("signing.key"));
    if !master_key.exists() {
        MasterKey::generate().unwrap().write(&master_key).unwrap();
        SigningKey::generate("gw1")
            .unwrap()
            .write(&signing_key, &dir.join("signing.pub"))
            .unwrap();
    }
    config::Audit {
        directory: dir.join("audit"),
        master_key: master_key.into(),
        signing_key,
        witnesses: vec![config::witness::Witness::File(dir.join("witness"))],
        node: "gw1".to_owned(),
        segment_bytes: 1 << 20,
        checkpoint_records: 1_000,
        checkpoint_interval: Duration::from_secs(10),
        reserve_bytes: 0,
        retention_years: 6,
        stall_after: Duration::from_mins(1),
        archive: None,
        review_interval: Duration::from_hours(7 * 24),
        sinks: Vec::new(),
    }
}

/// Limits that are reached at once.
pub(crate) fn limits() -> config::Limits {
    let rate = config::Rate {
        requests: NonZeroU32::MIN,
        per: Duration::from_mins(1),
        burst: NonZeroU32::MIN,
    };
    config::Limits {
        address: rate,
        user: rate,
        actions: BTreeMap::new(),
        login_address: rate,
        login_account: rate,
        anonymous_records: rate,
        max_keys: 10,
    }
}

/// A store that nobody else has.
pub(crate) async fn store(clock: SharedClock) -> Store {
    let master = Secret::new(vec![7; 32]);
    let home = Box::new(MemoryStore::new());
    Store::open(home, &master, clock).await.unwrap()
}

/// When everything here happened.
pub(crate) fn time() -> Timestamp {
    "2026-03-02T07:15:27.123Z".parse().unwrap()
}

pub(crate) fn patient(id: &str) -> PatientRef {
    PatientRef {
        system: "urn:example:pid".to_owned(),
        id: id.to_owned(),
        source: PatientSource::Request,
    }
}

pub(crate) fn physician() -> Principal {
    Principal::User(User {
        issuer: "hospital".to_owned(),
        subject: "f3c1".to_owned(),
        name: "dr.okafor".to_owned(),
        roles: [Role::new("physician")].into(),
        proof: Proof {
            acr: None,
            amr: vec!["pwd".to_owned(), "otp".to_owned()],
            mfa: true,
            auth_time: None,
            phishing_resistant: false,
        },
        department: None,
    })
}

/// What is known of a request for this action.
pub(crate) fn facts(action: Action, patients: &[&str]) -> Facts {
    Facts {
        request: "01K-request".to_owned(),
        trace: None,
        client: "10.20.4.17".to_owned(),
        peer: None,
        tls: None,
        emr: Some("clinic".to_owned()),
        method: "GET".to_owned(),
        path: "/chart/notes".to_owned(),
        principal: Some(Arc::new(physician())),
        session: Some("s-8f0c".to_owned()),
        mapping: Some(Arc::new(Mapping {
            route: "notes".to_owned(),
            action,
            section: "notes".to_owned(),
            sensitivity: "R".to_owned(),
            information_types: crate::request::situation::Words::new(),
            patients: patients.iter().map(|id| patient(id)).collect(),
            fields: BTreeMap::from([("q".to_owned(), "smith & co".to_owned())]),
            poll: false,
            emr_user: None,
            inspected: crate::request::facts::Inspected::default(),
            demand: crate::request::Demand::NONE,
            disclosure: None,
        })),
        decision: Some(Decision {
            verdict: Verdict::Allow,
            policies: vec!["care.read-chart".to_owned()],
            errors: Vec::new(),
            care_relation: "assigned".to_owned(),
            purpose: "TREAT".to_owned(),
            lockdown: 0,
            zone: "on-site".to_owned(),
            training: String::new(),
            grant: None,
            obligations: Vec::new(),
            considered: Vec::new(),
            reasons: Vec::new(),
            shadow: None,
            stated: Vec::new(),
        }),
        generation: 7,
        bundle: None,
    }
}

/// The admission of a reading.
pub(crate) fn admission(patients: &[&str]) -> Entry {
    Entry::admit(&"gw1".into(), time(), &facts(Action::Read, patients)).read_back()
}

/// A request for this action that ended well.
pub(crate) fn done(action: Action, patients: &[&str]) -> Joined {
    ended(action, patients, End::Complete, Some(200))
}

/// A request that ended so.
pub(crate) fn ended(action: Action, patients: &[&str], end: End, status: Option<u16>) -> Joined {
    let outcome = Outcome {
        end,
        status,
        refusal: None,
        bytes_out: 1234,
        bytes_in: 0,
        millis: 42,
        patients: Vec::new(),
        watermark: None,
        appeared: Vec::new(),
        appeared_more: 0,
        appeared_unknown: None,
    };
    let mut entry = Entry::admit(&"gw1".into(), time(), &facts(action, patients)).read_back();
    entry.id = Uuid::from_u128(0x0195_5a3c_0000_7000_8000_0000_0000_0001);
    Joined {
        seq: 11,
        entry,
        end: Some(Ended {
            seq: 12,
            time: "2026-03-02T07:15:27.165Z".parse().unwrap(),
            outcome,
        }),
    }
}

/// A request for this action that ended well, and whose answer listed these.
pub(crate) fn listed(action: Action, charts: &[&str], ids: &[&str]) -> Joined {
    let mut joined = done(action, charts);
    if let Some(end) = &mut joined.end {
        let appeared = ids.iter().map(|id| PatientRef {
            source: PatientSource::Appeared,
            ..patient(id)
        });
        end.outcome.appeared = appeared.collect();
    }
    joined
}

/// A refusal of a reading.
pub(crate) fn refused(code: &str, patients: &[&str]) -> Joined {
    let mut joined = done(Action::Read, patients);
    joined.end = None;
    joined.entry.phase = Phase::Refuse;
    joined.entry.refusal = Some(code.to_owned());
    if let Some(decision) = joined
        .entry
        .facts
        .as_mut()
        .and_then(|f| f.decision.as_mut())
    {
        decision.verdict = Verdict::Deny;
    }
    joined
}

/// An event; with a principal where `facts` says so.
pub(crate) fn event(event: Event, facts: Option<Facts>, detail: &[(&str, &str)]) -> Joined {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let detail = detail.iter().map(pair).collect();
    let mut entry = Entry::event(&"gw1".into(), time(), event, facts, detail);
    entry.id = Uuid::from_u128(0x0195_5a3c_0000_7000_8000_0000_0000_0002);
    Joined {
        seq: 21,
        entry,
        end: None,
    }
}

/// Hears nothing of what befalls a log.
#[derive(Debug)]
pub(crate) struct Deaf;

impl Observer for Deaf {
    fn failed(&mut self, _: &str) {}

    fn recovered(&mut self, _: &Recovered) -> Vec<Payload> {
        Vec::new()
    }
}
