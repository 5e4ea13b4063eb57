//! One answer as a flat row: the columns of CSV, the keys of JSON, the fields that sorting knows.
//!
//! The columns are a format: later versions add columns at the end and rename none.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::join::Joined;
use crate::audit::disclosed::disclosed;
use crate::audit::entry::Phase;
use crate::audit::events;
use crate::audit::named::BETWEEN;
use crate::audit::outcome::End;
use crate::audit::show::listed;
use crate::request::facts::{Action, PatientRef, PatientSource, Verdict};

/// A row. Text that is not known is empty, and left out of JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// When it was admitted or refused, or happened.
    pub time: Timestamp,
    /// Sequence number.
    pub seq: u64,
    /// `request`, `refusal` or `event`.
    pub kind: &'static str,
    /// The request id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// Who: the user name, or the operator of an event.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Their stable id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_id: String,
    /// Their roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Client address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// Network zone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// The gateway session's fingerprint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// The EMR.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub emr: String,
    /// HTTP method.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Clinical action.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// Section of the chart.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub section: String,
    /// HL7 confidentiality.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sensitivity: String,
    /// Patient identifiers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<String>,
    /// The system that each is of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patient_systems: Vec<String>,
    /// `allow` (admitted) or `deny` (refused).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub decision: String,
    /// The refusal's code; of an admitted request, the code that was answered in place of the EMR.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refusal: String,
    /// Deciding policies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Care relation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub care_relation: String,
    /// Purpose of use.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// Break-glass grant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub grant: String,
    /// Generation of policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The event's name.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub event: &'static str,
    /// The event's particulars.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
    /// How it ended; `open` where it has not.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub outcome: &'static str,
    /// The EMR's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    /// Bytes sent to the EMR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// From admission to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
    /// Sequence number of the outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome_seq: Option<u64>,
    /// The node that wrote it.
    pub node: String,
    /// The record's own id.
    pub id: String,
    /// Patients who only appeared in a list, by identifier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub appeared: Vec<String>,
    /// The system that each is of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub appeared_systems: Vec<Arc<str>>,
    /// How many more appeared than the record names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appeared_more: Option<u64>,
    /// Why these may not be all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub appeared_unknown: String,
    /// The type of the action, as audit reports sort by it: `addition`, `deletion`, `change`, `query`, `print`, `copy`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub action_type: &'static str,
    /// To whom it went, of what may have gone outside.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub recipient: String,
    /// What it went outside for, as somebody stated; where nobody did, as the role has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disclosed_for: Vec<String>,
}

/// The columns of CSV, in order.
pub const COLUMNS: &[&str] = &[
    "time",
    "seq",
    "kind",
    "request",
    "user",
    "user_id",
    "roles",
    "client",
    "zone",
    "session",
    "emr",
    "method",
    "path",
    "action",
    "section",
    "sensitivity",
    "patients",
    "patient_systems",
    "decision",
    "refusal",
    "policies",
    "care_relation",
    "purpose",
    "grant",
    "generation",
    "event",
    "detail",
    "outcome",
    "status",
    "bytes_out",
    "bytes_in",
    "millis",
    "outcome_seq",
    "node",
    "id",
    "appeared",
    "appeared_systems",
    "appeared_more",
    "appeared_unknown",
    "action_type",
    "recipient",
    "disclosed_for",
];

impl Answer {
    /// The row of a joined record.
    #[must_use]
    pub fn of(joined: &Joined) -> Self {
        let entry = &joined.entry;
        let mut row = Self {
            time: entry.time,
            seq: joined.seq,
            kind: match entry.phase {
                Phase::Admit | Phase::Outcome => "request",
                Phase::Refuse => "refusal",
                Phase::Event => "event",
            },
            refusal: entry.refusal.clone().unwrap_or_default(),
            decision: decision(joined).to_owned(),
            event: entry.event.map_or("", events::name),
            detail: entry.detail.clone(),
            node: entry.node.to_string(),
            id: entry.id.to_string(),
            ..Self::default()
        };
        row.known(joined);
        row.who(joined);
        row.ended(joined);
        if let Some(found) = disclosed(joined) {
            let recipient = found.recipient.unwrap_or_default();
            recipient.clone_into(&mut row.recipient);
            let purposes = found.purposes.iter();
            row.disclosed_for = purposes.map(ToString::to_string).collect();
        }
        for patient in joined.patients() {
            if patient.source == PatientSource::Appeared {
                row.list(patient);
            } else {
                row.patients.push(patient.id.clone());
                row.patient_systems.push(patient.system.clone());
            }
        }
        if let Some(named) = entry.detail.get("patient")
            && !row.patients.contains(named)
        {
            row.patients.push(named.clone());
            row.patient_systems.push(String::new());
        }
        row
    }

    /// Somebody appeared in its list; lists of thousands share the name of their system.
    fn list(&mut self, patient: &PatientRef) {
        let same = self.appeared_systems.last();
        let same = same.filter(|last| ***last == *patient.system).cloned();
        let system = same.unwrap_or_else(|| patient.system.as_str().into());
        self.appeared.push(patient.id.clone());
        self.appeared_systems.push(system);
    }

    fn known(&mut self, joined: &Joined) {
        let Some(facts) = &joined.entry.facts else {
            return;
        };
        self.request.clone_from(&facts.request);
        self.client.clone_from(&facts.client);
        self.session = facts.session.clone().unwrap_or_default();
        self.emr = facts.emr.clone().unwrap_or_default();
        self.method.clone_from(&facts.method);
        self.path.clone_from(&facts.path);
        self.generation = Some(facts.generation);
        if let Some(mapping) = &facts.mapping {
            mapping.action.name().clone_into(&mut self.action);
            self.action_type = type_of(mapping.action);
            self.section.clone_from(&mapping.section);
            self.sensitivity.clone_from(&mapping.sensitivity);
        }
        if let Some(decision) = &facts.decision {
            self.policies.clone_from(&decision.policies);
            self.care_relation.clone_from(&decision.care_relation);
            self.purpose.clone_from(&decision.purpose);
            self.zone.clone_from(&decision.zone);
            self.grant = decision.grant.clone().unwrap_or_default();
        }
    }

    fn who(&mut self, joined: &Joined) {
        let entry = &joined.entry;
        if let Some(principal) = entry.facts.as_ref().and_then(|f| f.principal.as_ref()) {
            principal.display().clone_into(&mut self.user);
            self.user_id = principal.id();
            self.roles = principal.roles().iter().map(ToString::to_string).collect();
            return;
        }
        let detail = |key: &str| entry.detail.get(key).map(String::as_str);
        if let Some(operator) = detail("operator") {
            operator.clone_into(&mut self.user);
        } else if let Some(user) = detail("user") {
            let name = entry.stated_name();
            name.unwrap_or(user).clone_into(&mut self.user);
            let id = Some(user).filter(|user| user.contains(BETWEEN));
            let id = id.or_else(|| detail("user_id")).unwrap_or_default();
            id.clone_into(&mut self.user_id);
        } else if let Some(name) = entry.stated_name() {
            name.clone_into(&mut self.user);
        }
    }

    fn ended(&mut self, joined: &Joined) {
        let Some(end) = &joined.end else {
            if joined.entry.phase == Phase::Admit {
                self.outcome = "open";
            }
            return;
        };
        let outcome = &end.outcome;
        self.outcome = end_name(outcome.end);
        self.status = outcome.status;
        self.bytes_out = Some(outcome.bytes_out);
        self.bytes_in = Some(outcome.bytes_in);
        self.millis = Some(outcome.millis);
        self.outcome_seq = Some(end.seq);
        self.appeared_more = Some(outcome.appeared_more).filter(|more| *more > 0);
        self.appeared_unknown = outcome.appeared_unknown.clone().unwrap_or_default();
        if let Some(code) = &outcome.refusal {
            self.refusal.clone_from(code);
        }
    }

    /// The text of a column; `None` where there is no such column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<String> {
        let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        Some(match name {
            "time" => instant(self.time),
            "seq" => self.seq.to_string(),
            "kind" => self.kind.to_owned(),
            "request" => self.request.clone(),
            "user" => self.user.clone(),
            "user_id" => self.user_id.clone(),
            "roles" => self.roles.join(";"),
            "client" => self.client.clone(),
            "zone" => self.zone.clone(),
            "session" => self.session.clone(),
            "emr" => self.emr.clone(),
            "method" => self.method.clone(),
            "path" => self.path.clone(),
            "action" => self.action.clone(),
            "section" => self.section.clone(),
            "sensitivity" => self.sensitivity.clone(),
            "patients" => self.patients.join(";"),
            "patient_systems" => self.patient_systems.join(";"),
            "decision" => self.decision.clone(),
            "refusal" => self.refusal.clone(),
            "policies" => self.policies.join(";"),
            "care_relation" => self.care_relation.clone(),
            "purpose" => self.purpose.clone(),
            "grant" => self.grant.clone(),
            "generation" => number(self.generation),
            "event" => self.event.to_owned(),
            "detail" => self.detail_text(),
            "outcome" => self.outcome.to_owned(),
            "status" => number(self.status.map(u64::from)),
            "bytes_out" => number(self.bytes_out),
            "bytes_in" => number(self.bytes_in),
            "millis" => number(self.millis),
            "outcome_seq" => number(self.outcome_seq),
            "node" => self.node.clone(),
            "id" => self.id.clone(),
            "appeared" => self.appeared.join(";"),
            "appeared_systems" => self.appeared_systems.join(";"),
            "appeared_more" => number(self.appeared_more),
            "appeared_unknown" => self.appeared_unknown.clone(),
            "action_type" => self.action_type.to_owned(),
            "recipient" => self.recipient.clone(),
            "disclosed_for" => self.disclosed_for.join(";"),
            _ => return None,
        })
    }

    /// Every column.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let text = |name: &&str| self.column(name).unwrap_or_default();
        COLUMNS.iter().map(text).collect()
    }

    /// How many patients appeared in its list, and whether that is all.
    #[must_use]
    pub fn listed(&self) -> Option<String> {
        let named = u64::try_from(self.appeared.len()).unwrap_or(u64::MAX);
        let count = named.saturating_add(self.appeared_more.unwrap_or_default());
        listed(count, &self.appeared_unknown)
    }

    /// The event's particulars on one line.
    #[must_use]
    pub fn detail_text(&self) -> String {
        let pairs: Vec<String> = self
            .detail
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.join("; ")
    }
}

fn decision(joined: &Joined) -> &'static str {
    match joined.entry.verdict() {
        Some(Verdict::Allow) => "allow",
        Some(Verdict::Deny) => "deny",
        None => "",
    }
}

/// The type of an action in the words of ASTM E2147, which 45 CFR 170.210(e) refers to; nothing where it is none of these.
const fn type_of(action: Action) -> &'static str {
    match action {
        Action::Create | Action::Order => "addition",
        Action::Delete => "deletion",
        Action::Update | Action::Sign => "change",
        Action::Search | Action::Read => "query",
        Action::Print => "print",
        Action::Export | Action::Disclose => "copy",
        Action::Administer | Action::Navigate | Action::Unmapped => "",
    }
}

/// A time to the millisecond, UTC.
#[must_use]
pub fn instant(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The name of an end.
#[must_use]
pub const fn end_name(end: End) -> &'static str {
    match end {
        End::Complete => "complete",
        End::Abandoned => "abandoned",
        End::UpstreamFailed => "upstream_failed",
        End::Cut => "cut",
        End::Unknown => "unknown",
    }
}
