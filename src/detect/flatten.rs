//! Turns a record of the trail into fields, and joins outcomes to their admissions.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;
use uuid::Uuid;

use super::fields::{DETAIL, Fields, Value};
use super::recent::Recent;
use crate::audit::entry::{Entry, Phase};
use crate::request::facts::Mapping;
use crate::request::{Facts, Principal};

/// Most admissions whose outcome is waited for.
const MOST_OPEN: usize = 4_096;
/// Most patients of one record that rules see.
const MOST_PATIENTS: usize = 1_000;

/// Remembers admissions until their outcome comes.
#[derive(Debug)]
pub struct Flattener {
    open: Recent<Uuid, Fields>,
}

impl Default for Flattener {
    fn default() -> Self {
        Self {
            open: Recent::new(MOST_OPEN),
        }
    }
}

impl Flattener {
    /// The fields of a record.
    pub fn flatten(&mut self, entry: &Entry) -> Fields {
        let admitted = entry.of.and_then(|of| self.open.remove(&of));
        let mut fields = admitted.unwrap_or_default();
        fields.set("phase", Value::Text(word(&entry.phase)));
        if let Some(facts) = &entry.facts {
            facts_of(facts, &mut fields);
        }
        if let Some(event) = &entry.event {
            fields.set("event", Value::Text(word(event)));
        }
        fields.text("refusal", entry.refusal.as_deref());
        for (name, value) in &entry.detail {
            fields.set(format!("{DETAIL}{name}"), Value::Text(value.clone()));
        }
        if fields.find("client").is_none() {
            fields.text("client", entry.detail.get("client").map(String::as_str));
        }
        if let Some(outcome) = &entry.outcome {
            if let Some(status) = outcome.status {
                fields.set("status", Value::Number(status.into()));
            }
            fields.text("refusal", outcome.refusal.as_deref());
            fields.set("end", Value::Text(word(&outcome.end)));
            let bytes = i64::try_from(outcome.bytes_out).unwrap_or(i64::MAX);
            fields.set("bytes_out", Value::Number(bytes));
        }
        patients_of(entry, &mut fields);
        if entry.phase == Phase::Admit {
            *self.open.touch(&entry.id, Fields::default).0 = fields.clone();
        }
        network_of(&mut fields);
        fields
    }
}

fn facts_of(facts: &Facts, fields: &mut Fields) {
    fields.text("client", Some(&facts.client));
    fields.text("session", facts.session.as_deref());
    fields.text("emr", facts.emr.as_deref());
    fields.text("method", Some(&facts.method));
    fields.text("path", Some(&facts.path));
    if let Some(principal) = &facts.principal {
        principal_of(principal, fields);
    }
    if let Some(mapping) = &facts.mapping {
        mapping_of(mapping, fields);
    }
    if let Some(decision) = &facts.decision {
        fields.set("verdict", Value::Text(word(&decision.verdict)));
        fields.set("policy", Value::Texts(decision.policies.clone()));
        fields.text("purpose", Some(&decision.purpose));
        fields.text("care_relation", Some(&decision.care_relation));
        fields.text("zone", Some(&decision.zone));
        fields.text("training", Some(&decision.training));
        fields.set("lockdown", Value::Number(decision.lockdown.into()));
        fields.set("break_glass", Value::Truth(decision.grant.is_some()));
    }
}

fn principal_of(principal: &Principal, fields: &mut Fields) {
    fields.text("user", Some(principal.display()));
    fields.text("user_id", Some(&principal.id()));
    let roles = principal.roles().iter().map(ToString::to_string).collect();
    fields.set("roles", Value::Texts(roles));
    fields.set("mfa", Value::Truth(principal.proof().mfa));
}

fn mapping_of(mapping: &Mapping, fields: &mut Fields) {
    fields.text("route", Some(&mapping.route));
    fields.text("action", Some(mapping.action.name()));
    fields.text("section", Some(&mapping.section));
    fields.text("sensitivity", Some(&mapping.sensitivity));
    fields.set("poll", Value::Truth(mapping.poll));
    let inspected = &mapping.inspected;
    if !inspected.findings.is_empty() {
        let findings = || inspected.findings.iter();
        let rules = findings().map(|found| found.rule.clone()).collect();
        let classes = findings().map(|found| found.class.clone()).collect();
        fields.set("finding", Value::Texts(rules));
        fields.set("finding_class", Value::Texts(classes));
    }
    fields.text("patch", inspected.patch.as_deref());
}

/// Patients of an outcome are those that it adds: the admission's have been seen with the admission. Those who only
/// appeared in a list are nobody's opened chart, and rules that count charts do not count them.
fn patients_of(entry: &Entry, fields: &mut Fields) {
    let mut patients: Vec<String> = Vec::new();
    for patient in entry.charts().take(MOST_PATIENTS) {
        if !patients.contains(&patient.id) {
            patients.push(patient.id.clone());
        }
    }
    let count = i64::try_from(patients.len()).unwrap_or(i64::MAX);
    fields.set("patients", Value::Number(count));
    fields.set("patient", Value::Texts(patients));
}

/// `/24` or `/48` of the client's address.
pub(super) fn network_of(fields: &mut Fields) {
    let address = fields
        .first("client")
        .and_then(|client| client.parse::<IpAddr>().ok());
    let network = match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => Ipv4Net::new(address, 24).ok().map(IpNet::from),
        Some(IpAddr::V6(address)) => Ipv6Net::new(address, 48).ok().map(IpNet::from),
        None => None,
    };
    if let Some(network) = network {
        fields.set("network", Value::Text(network.trunc().to_string()));
    }
}

/// The word that stands for a value on the trail.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::audit::outcome::{End, Outcome};
    use crate::request::facts::PatientSource;
    use crate::request::principal::{Proof, User};
    use crate::request::{Action, Event, PatientRef, Role};

    /// An admission of `user` for `patient`.
    pub(in crate::detect) fn facts(user: &str, patient: &str) -> Facts {
        Facts {
            request: "r".to_owned(),
            trace: None,
            client: "10.20.3.4".to_owned(),
            peer: None,
            tls: None,
            emr: Some("clinic".to_owned()),
            method: "GET".to_owned(),
            path: "/chart".to_owned(),
            principal: Some(Arc::new(Principal::User(User {
                issuer: "riverside".to_owned(),
                subject: user.to_owned(),
                name: user.to_owned(),
                roles: [Role::new("nurse")].into(),
                proof: Proof {
                    acr: None,
                    amr: Vec::new(),
                    mfa: true,
                    auth_time: None,
                    phishing_resistant: false,
                },
                department: None,
            }))),
            session: Some("s1".to_owned()),
            mapping: Some(Arc::new(Mapping {
                route: "chart".to_owned(),
                action: Action::Read,
                section: "notes".to_owned(),
                sensitivity: "R".to_owned(),
                information_types: crate::request::situation::Words::new(),
                patients: vec![PatientRef {
                    system: "urn:x".to_owned(),
                    id: patient.to_owned(),
                    source: PatientSource::Request,
                }],
                fields: BTreeMap::new(),
                poll: false,
                emr_user: None,
                inspected: crate::request::facts::Inspected::default(),
                demand: crate::request::Demand::NONE,
                disclosure: None,
            })),
            decision: None,
            generation: 1,
            bundle: None,
        }
    }

    #[test]
    fn an_outcome_carries_the_fields_of_its_admission() {
        let mut flattener = Flattener::default();
        let now = Timestamp::UNIX_EPOCH;
        let admission = Entry::admit(&"gw".into(), now, &facts("a.berg", "4")).read_back();
        let fields = flattener.flatten(&admission);
        assert_eq!(fields.first("phase"), Some("admit"));
        assert_eq!(fields.first("user_id"), Some("riverside|a.berg"));
        assert_eq!(fields.first("network"), Some("10.20.3.0/24"));
        assert_eq!(fields.all("patient"), ["4"]);
        let outcome = Outcome {
            end: End::Complete,
            status: Some(404),
            refusal: None,
            bytes_out: 12,
            bytes_in: 0,
            millis: 3,
            patients: Vec::new(),
            watermark: None,
            // A list opens nobody's chart.
            appeared: vec![PatientRef {
                system: "urn:x".to_owned(),
                id: "9".to_owned(),
                source: PatientSource::Appeared,
            }],
            appeared_more: 0,
            appeared_unknown: None,
        };
        let fields = flattener.flatten(&Entry::outcome(
            &"gw".into(),
            now,
            admission.id,
            outcome.clone(),
        ));
        assert_eq!(fields.first("phase"), Some("outcome"));
        assert_eq!(fields.first("user"), Some("a.berg"));
        assert_eq!(fields.find("status"), Some(&Value::Number(404)));
        assert!(fields.all("patient").is_empty());
        let stray = flattener.flatten(&Entry::outcome(&"gw".into(), now, admission.id, outcome));
        assert_eq!(stray.first("user"), None);
    }

    #[test]
    fn an_event_shows_its_particulars() {
        let detail = BTreeMap::from([
            ("client".to_owned(), "2001:db8:1:2::3".to_owned()),
            ("reason".to_owned(), "OVRER".to_owned()),
        ]);
        let entry = Entry::event(
            &"gw".into(),
            Timestamp::UNIX_EPOCH,
            Event::BreakGlass,
            None,
            detail,
        );
        let fields = Flattener::default().flatten(&entry);
        assert_eq!(fields.first("event"), Some("break_glass"));
        assert_eq!(fields.first("detail.reason"), Some("OVRER"));
        assert_eq!(fields.first("network"), Some("2001:db8:1::/48"));
    }

    #[test]
    fn every_field_that_is_set_is_documented() {
        let mut flattener = Flattener::default();
        let entry = Entry::admit(&"gw".into(), Timestamp::UNIX_EPOCH, &facts("a", "1")).read_back();
        let fields = flattener.flatten(&entry);
        for name in [
            "phase", "user", "roles", "mfa", "session", "client", "emr", "route", "action", "poll",
            "patients",
        ] {
            assert!(
                super::super::fields::holds(name).is_some() && fields.find(name).is_some(),
                "{name}"
            );
        }
    }
}
