//! What is known about a request so far, in the shape in which the trail records it (schema version 1).
//!
//! Each stage adds what it found. A refusal at any stage therefore records everything that was known, and the
//! record holds every input that the decision had, so that a later `explain` or `replay` can decide again.
//!
//! *Never*: bodies, tokens, cookies, or query values outside the profile's allow-list.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::demand::Demand;
use super::disclosure::Disclosure;
use super::edition::{BundleMark, Edition};
use super::principal::Principal;
use super::situation::{Situation, Words};

/// A patient, as one system numbers them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PatientRef {
    /// The numbering system, a URI that the EMR profile names.
    pub system: String,
    /// The identifier in that system.
    pub id: String,
    /// How it was found.
    pub source: PatientSource,
}

/// Where a patient identifier came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatientSource {
    /// From the request itself.
    Request,
    /// From the EMR session, where it was selected earlier.
    Sticky,
    /// From an earlier answer of the EMR, which said whose it is that the request names.
    Linked,
    /// From the answer itself: a list that was shown.
    Appeared,
}

/// The clinical actions of the policy vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// Look for patients or lists.
    Search,
    /// Open a part of a chart.
    Read,
    /// Add to a chart.
    Create,
    /// Change what is in a chart.
    Update,
    /// Remove from a chart.
    Delete,
    /// Put a part of a chart on paper.
    Print,
    /// Take data out in bulk or as a file.
    Export,
    /// Hand data to someone outside.
    Disclose,
    /// Request a service for a patient.
    Order,
    /// Sign what was written or ordered.
    Sign,
    /// Change users, permissions or settings of the EMR.
    Administer,
    /// Use the EMR's shell: frames, styles, scripts, its own login; nothing about a patient.
    Navigate,
    /// A route that no profile maps.
    Unmapped,
}

impl Action {
    /// Every action.
    pub const ALL: &'static [Self] = &[
        Self::Search,
        Self::Read,
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Print,
        Self::Export,
        Self::Disclose,
        Self::Order,
        Self::Sign,
        Self::Administer,
        Self::Navigate,
        Self::Unmapped,
    ];

    /// The action of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.name() == name)
    }

    /// The name in the Cedar schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Search => "Search",
            Self::Read => "Read",
            Self::Create => "Create",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::Print => "Print",
            Self::Export => "Export",
            Self::Disclose => "Disclose",
            Self::Order => "Order",
            Self::Sign => "Sign",
            Self::Administer => "Administer",
            Self::Navigate => "Navigate",
            Self::Unmapped => "Unmapped",
        }
    }
}

impl Action {
    /// Whether it leaves the EMR as it was, so that doing it twice, or later, changes nothing.
    ///
    /// SECURITY: old EMRs change charts on `GET`; the method says nothing about that, the profile does.
    #[must_use]
    pub const fn only_looks(self) -> bool {
        match self {
            Self::Search | Self::Read | Self::Navigate => true,
            Self::Create
            | Self::Update
            | Self::Delete
            | Self::Print
            | Self::Export
            | Self::Disclose
            | Self::Order
            | Self::Sign
            | Self::Administer
            | Self::Unmapped => false,
        }
    }
}

/// What the profile made of the route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The route's id in the profile; `unmapped` when none matched.
    pub route: String,
    /// The clinical action.
    pub action: Action,
    /// The section of the chart (`notes`, `results`, …), or the part of the EMR (`shell`).
    pub section: String,
    /// Sensitivity: HL7 v3 Confidentiality code (`N`, `R`, `V`, …).
    pub sensitivity: String,
    /// HL7 `InformationSensitivityPolicy` codes of what is shown, where the profile states some.
    #[serde(default, skip_serializing_if = "Words::is_empty")]
    pub information_types: Words,
    /// The patients concerned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<PatientRef>,
    /// Mapped or allowed request fields, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// A background poll: does not count as activity.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub poll: bool,
    /// The user name that the EMR's own session belongs to, where the profile could learn it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emr_user: Option<String>,
    /// What inspection and virtual patches found in the request's values; empty in records of before there were any.
    #[serde(default, skip_serializing_if = "Inspected::is_empty")]
    pub inspected: Inspected,
    /// What the profile demands of the sign-in on this route; nothing in records of before it could.
    #[serde(default, skip_serializing_if = "Demand::is_none")]
    pub demand: Demand,
    /// To whom a copy goes, and what for, where the profile says where that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disclosure: Option<Box<Disclosure>>,
}

/// What was found in the values of a request. Never a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// What looks like an attack, at most [`Inspected::MOST`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// How many values were not looked at, or only at their beginning, because they were beyond the bounds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub beyond: u32,
    /// The virtual patch that refused the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// The field that the patch does not let through; none where it closes the whole page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_field: Option<String>,
}

impl Inspected {
    /// Most findings that one record holds; the first ones.
    pub const MOST: usize = 16;

    /// Whether there is nothing to say.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.findings.is_empty() && self.beyond == 0 && self.patch.is_none()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A value that looks like an attack: which rule says so, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's stable id, like `sql-union`.
    pub rule: String,
    /// The rule's class: `sql`, `xss`, `path`, `command` or `lookup`.
    pub class: String,
    /// Where: `query:q`, `form:text`, `json:note`, `path:document`, `header:referer`.
    pub field: String,
    /// What was done: `block` or `detect`.
    pub mode: String,
}

/// The inputs of a decision beyond principal and mapping, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// `allow` or `deny`.
    pub verdict: Verdict,
    /// Ids of the policies that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Evaluation errors, by policy id; any error denies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Care relation of user and patient: `unknown` until a feed says more.
    pub care_relation: String,
    /// Purpose of use, HL7 v3 `PurposeOfUse`.
    pub purpose: String,
    /// Lockdown level that applied, 0 to 4.
    pub lockdown: u8,
    /// Network zone of the client; empty in records of before zones were known.
    #[serde(default)]
    pub zone: String,
    /// How the user stood with training; empty in records of before that was known.
    #[serde(default)]
    pub training: String,
    /// Break-glass grant that applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Obligations that the permits carry (`stepup=300s`, `readonly`, `limit=20/h`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<String>,
    /// What was considered beyond that: once for each patient of the mapping in their order, or once where there is
    /// none. Empty where nothing was, and in records of before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub considered: Vec<Considered>,
    /// Ids of the reasons that were stated for it, where the permit obliges one (`reason-stated` on the trail).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What the candidate bundle in the shadow would have said, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Box<Shadowed>>,
    /// What `reasons` were stated for, each purpose once: codes of HL7 v3 `PurposeOfUse`. Empty in records of before
    /// they were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stated: Vec<String>,
}

/// What a candidate bundle would have said instead. It decided nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadowed {
    /// The candidate.
    pub bundle: BundleMark,
    /// Its verdict.
    pub verdict: Verdict,
    /// Ids of its policies that would have decided, or failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// What it would have obliged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<String>,
}

/// What was considered of one patient, or of a request that names none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Considered {
    /// Care relation of user and patient, where it is another than that of the decision as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub care_relation: Option<String>,
    /// The patient's sensitivity, where it is higher than the page's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<String>,
    /// Shifts, wards, device, age of the sign-in, information types.
    #[serde(flatten)]
    pub situation: Situation,
}

impl Decision {
    /// Care relation, sensitivity and situation as they were considered of `patient`, one of those of `mapping`, or of a
    /// request that names none.
    #[must_use]
    pub fn considered_of(
        &self,
        mapping: &Mapping,
        patient: Option<&PatientRef>,
    ) -> (String, String, Situation) {
        let at = patient.and_then(|patient| mapping.patients.iter().position(|one| one == patient));
        let found = self.considered.get(at.unwrap_or_default()).cloned();
        let (relation, sensitivity, situation) = found.map_or_else(
            || (None, None, Situation::UNKNOWN),
            |one| (one.care_relation, one.sensitivity, one.situation),
        );
        (
            relation.unwrap_or_else(|| self.care_relation.clone()),
            sensitivity.unwrap_or_else(|| mapping.sensitivity.clone()),
            situation,
        )
    }
}

/// The outcome of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// At least one permit, no forbid, no error.
    Allow,
    /// Everything else.
    Deny,
}

impl Verdict {
    /// The word in tables and on records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// Everything known about a request so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The request id that the user sees and the EMR receives.
    pub request: String,
    /// W3C trace id, if the client sent a valid `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Client address.
    pub client: String,
    /// Address of the TCP peer, if it is a proxy in front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// TLS version and cipher suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// The EMR's name in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emr: Option<String>,
    /// HTTP method.
    pub method: String,
    /// The canonical path, percent-encoded; no query.
    pub path: String,
    /// Who acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Arc<Principal>>,
    /// The gateway session, as a fingerprint that is not the cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What the profile made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Arc<Mapping>>,
    /// What policy made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The generation of policy, configuration, grants and lockdown that was in force.
    pub generation: u64,
    /// The policy bundle that was in force; nothing in records of before it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleMark>,
}

impl Facts {
    /// What was in force.
    #[must_use]
    pub const fn edition(&self) -> Edition {
        Edition {
            generation: self.generation,
            bundle: self.bundle,
        }
    }

    /// Says what is in force.
    pub const fn set_edition(&mut self, edition: Edition) {
        self.generation = edition.generation;
        self.bundle = edition.bundle;
    }
}
