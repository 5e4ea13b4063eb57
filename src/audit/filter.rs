//! What narrows a question to the trail down.
//!
//! [`Filter::selects`] and [`Filter::wants`] say what matches; the [index](super::index) only spares looking at what
//! cannot.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Phase};
use super::outcome::{End, Outcome};
use crate::request::Event;
use crate::request::facts::{Action, Verdict};

/// What is asked for. Everything that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// A patient's identifier, in any system; or `system|identifier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// A user's name or stable id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A request id, or the id of an entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Nothing older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Nothing newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Admitted requests, or refused ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Verdict>,
    /// The code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// A clinical action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// A section of the chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// Further identifiers of the patient: a record about any of them matches. Without a patient they say nothing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<String>,
    /// Only the identifier itself, not those that the link feed says are the same patient's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
    /// A client's address, or a network (`10.20.0.0/16`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpNet>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// How an admitted request ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Ending>,
}

/// How an admitted request ended, or that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// There is no outcome yet.
    Open,
    /// It ended so.
    #[serde(untagged)]
    Ended(End),
}

impl Filter {
    /// Whether the entry itself matches.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        self.selects(entry)
            && self.concerns(entry)
            && self.ended(entry.outcome.as_ref(), entry.phase)
    }

    /// Whether the entry concerns the patient asked for, if one is.
    #[must_use]
    pub fn concerns(&self, entry: &Entry) -> bool {
        self.patient.is_none() || entry.is_about(self.identifiers())
    }

    /// Whether an admission and what became of it match in what an outcome can say: the patient, and how it ended.
    #[must_use]
    pub fn wants(&self, entry: &Entry, outcome: Option<&Outcome>) -> bool {
        let named = || outcome.into_iter().flat_map(Outcome::named);
        let is_named = |sought: &str| named().any(|named| named.is(sought));
        let concerns = self.concerns(entry) || self.identifiers().any(is_named);
        concerns && self.ended(outcome, entry.phase)
    }

    /// The identifiers of the patient asked for; none where nobody is.
    pub fn identifiers(&self) -> impl Iterator<Item = &str> + Clone {
        let aliases = self.aliases.iter().filter(|_| self.patient.is_some());
        self.patient.iter().chain(aliases).map(String::as_str)
    }

    /// Whether everything matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn ended(&self, outcome: Option<&Outcome>, phase: Phase) -> bool {
        match (self.outcome, outcome) {
            (None, _) => true,
            (Some(Ending::Open), None) => phase == Phase::Admit,
            (Some(Ending::Ended(end)), Some(outcome)) => outcome.end == end,
            (Some(_), _) => false,
        }
    }

    /// Whether the entry matches in everything but the patient, whom only the outcome may name.
    #[must_use]
    pub fn selects(&self, entry: &Entry) -> bool {
        let mapping = || entry.facts.as_ref().and_then(|f| f.mapping.as_ref());
        self.user.as_ref().is_none_or(|name| is_by(entry, name))
            && self.request.as_ref().is_none_or(|id| is_of(entry, id))
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time <= until)
            && self
                .decision
                .is_none_or(|decision| entry.verdict() == Some(decision))
            && self
                .refusal
                .as_ref()
                .is_none_or(|code| entry.refusal.as_ref() == Some(code))
            && self
                .action
                .is_none_or(|action| mapping().is_some_and(|m| m.action == action))
            && self
                .section
                .as_ref()
                .is_none_or(|section| mapping().is_some_and(|m| m.section == *section))
            && self.event.is_none_or(|event| entry.event == Some(event))
            && self
                .address
                .is_none_or(|network| client_of(entry).is_some_and(|at| network.contains(&at)))
    }
}

fn is_by(entry: &Entry, name: &str) -> bool {
    entry.people().any(|person| person == name)
}

/// Where the request came from; of summed refusals, where they did.
pub(super) fn client_of(entry: &Entry) -> Option<IpAddr> {
    let facts = entry.facts.as_ref().map(|facts| &facts.client);
    let client = facts.or_else(|| entry.detail.get("client"))?;
    Some(client.parse::<IpAddr>().ok()?.to_canonical())
}

fn is_of(entry: &Entry, id: &str) -> bool {
    entry.id.to_string() == *id || entry.facts.as_ref().is_some_and(|f| f.request == id)
}
