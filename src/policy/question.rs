//! What policy is asked: one principal, one action, one section, at most one patient, and the circumstances.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Context, RestrictedExpression};
use jiff::Timestamp;

use super::attribute::Attributes;
use super::care::Care;
use super::situation;
use super::vocabulary::Names;
use crate::request::situation::DeviceKind;
use crate::request::{Action, PatientRef, Principal, Reach, Role, Situation};

/// What kind of principal acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalKind {
    /// A person who signed in.
    User,
    /// A program that proved itself by an access token or a certificate.
    Service,
}

impl PrincipalKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::User, Self::Service];

    /// The kind of a principal.
    #[must_use]
    pub const fn of(principal: &Principal) -> Self {
        match principal {
            Principal::User(_) => Self::User,
            Principal::Service(_) => Self::Service,
        }
    }
}

/// How user and patient are related by care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum CareRelation {
    /// No feed says.
    #[default]
    Unknown,
    /// The user treats the patient.
    Assigned,
    /// It is known that the user does not treat the patient.
    Unrelated,
    /// The user is the patient.
    Patient,
}

impl CareRelation {
    /// Every relation.
    pub const ALL: &'static [Self] = &[
        Self::Unknown,
        Self::Assigned,
        Self::Unrelated,
        Self::Patient,
    ];

    /// The word in policies and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Assigned => "assigned",
            Self::Unrelated => "none",
            Self::Patient => "self",
        }
    }

    /// The one of this word.
    #[must_use]
    pub fn by_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.word() == word)
    }
}

/// What the access is for: HL7 v3 `PurposeOfUse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Purpose {
    /// Nobody stated one.
    #[default]
    Unknown,
    /// Treatment.
    Treatment,
    /// Emergency treatment.
    Emergency,
    /// Payment.
    Payment,
    /// Operations.
    Operations,
    /// On the patient's request.
    PatientRequest,
    /// Public health.
    PublicHealth,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: &'static [Self] = &[
        Self::Unknown,
        Self::Treatment,
        Self::Emergency,
        Self::Payment,
        Self::Operations,
        Self::PatientRequest,
        Self::PublicHealth,
    ];

    /// The code in policies and records.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Treatment => "TREAT",
            Self::Emergency => "ETREAT",
            Self::Payment => "HPAYMT",
            Self::Operations => "HOPERAT",
            Self::PatientRequest => "PATRQT",
            Self::PublicHealth => "PUBHLTH",
        }
    }

    /// The one of this code.
    #[must_use]
    pub fn by_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.code() == code)
    }
}

/// How the user stands with the security training that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Training {
    /// No course is required, or nothing is known.
    #[default]
    Unknown,
    /// Every required course is attested.
    Current,
    /// A course is due within thirty days.
    Due,
    /// A course is due within seven days.
    Urgent,
    /// A course is overdue.
    Lapsed,
}

impl Training {
    /// Every standing.
    pub const ALL: &'static [Self] = &[
        Self::Unknown,
        Self::Current,
        Self::Due,
        Self::Urgent,
        Self::Lapsed,
    ];

    /// The word in policies and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Current => "current",
            Self::Due => "due",
            Self::Urgent => "urgent",
            Self::Lapsed => "lapsed",
        }
    }

    /// The one of this word.
    #[must_use]
    pub fn by_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.word() == word)
    }
}

/// The zone of an address where no zones are defined.
pub const UNKNOWN_ZONE: &str = "unknown";

/// A broken glass: one user may read one patient's chart, or those of a ward, until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id, for the record.
    pub id: String,
    /// Whose charts it opens.
    pub reach: Reach,
    /// When it ends.
    pub expires: Timestamp,
}

impl Grant {
    /// Whether it opens `patient`'s chart at `now`, when the patient lies on `ward`.
    #[must_use]
    pub fn opens(&self, patient: &PatientRef, ward: Option<&str>, now: Timestamp) -> bool {
        now < self.expires && self.reach.holds(patient, ward)
    }
}

/// What the gateway knows of the situation beyond principal and route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// Care relation of user and patient.
    pub care_relation: CareRelation,
    /// What the access is for.
    pub purpose: Purpose,
    /// The lockdown level, 0 to 4.
    pub lockdown: u8,
    /// The network zone that the client is in (`networks.toml`).
    pub zone: Arc<str>,
    /// How the user stands with training.
    pub training: Training,
    /// When the user's first course is due, where one is required.
    pub training_due: Option<Timestamp>,
    /// The user's open break-glass grants.
    pub grants: Arc<[Grant]>,
    /// What is known beyond that and is the same for every patient.
    pub situation: Situation,
    /// When a shift or booked window begins or ends next.
    pub turns_at: Option<Timestamp>,
    /// Who treats whom, as feeds say. Where no feed is configured, `care_relation` counts.
    pub care: Care,
}

impl Default for Circumstances {
    fn default() -> Self {
        Self {
            care_relation: CareRelation::default(),
            purpose: Purpose::default(),
            lockdown: 0,
            zone: Arc::from(UNKNOWN_ZONE),
            training: Training::default(),
            training_due: None,
            grants: Arc::default(),
            situation: Situation::UNKNOWN,
            turns_at: None,
            care: Care::default(),
        }
    }
}

impl Circumstances {
    /// The same at this kind of device.
    #[must_use]
    pub const fn at(mut self, device: DeviceKind) -> Self {
        self.situation.device = device;
        self
    }

    /// The grant that opens `patient`'s chart at `now`, when the patient lies on `ward`: one for the patient, before
    /// one for the ward.
    #[must_use]
    pub fn grant_for(
        &self,
        patient: &PatientRef,
        ward: Option<&str>,
        now: Timestamp,
    ) -> Option<&Grant> {
        self.grants
            .iter()
            .filter(|grant| grant.opens(patient, ward, now))
            .max_by_key(|grant| (grant.reach.is_one_chart(), grant.expires))
    }
}

/// One question to policy, with every input that its answer can depend on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What kind of principal acts.
    pub kind: PrincipalKind,
    /// The principal's stable identifier.
    pub principal: &'a str,
    /// The principal's roles.
    pub roles: &'a BTreeSet<Role>,
    /// Whether the sign-in was multi-factor.
    pub mfa: bool,
    /// The clinical action.
    pub action: Action,
    /// The section.
    pub section: &'a str,
    /// HL7 v3 Confidentiality.
    pub sensitivity: &'a str,
    /// The EMR's name in the configuration.
    pub emr: &'a str,
    /// The patient concerned.
    pub patient: Option<&'a PatientRef>,
    /// Care relation of user and patient.
    pub care_relation: CareRelation,
    /// What the access is for.
    pub purpose: Purpose,
    /// The lockdown level, 0 to 4.
    pub lockdown: u8,
    /// The network zone that the client is in.
    pub zone: &'a str,
    /// How the user stands with training.
    pub training: Training,
    /// Whether a break-glass grant opens this patient's chart.
    pub break_glass: bool,
    /// The department of the user, where their provider states one.
    pub department: Option<&'a str>,
    /// What is known beyond that.
    pub situation: &'a Situation,
}

impl Question<'_> {
    /// The Cedar context: `Circumstances` in the schema, with as much of its newer attributes as is `read`.
    pub(super) fn context(
        &self,
        names: &Names,
        read: Attributes,
    ) -> Result<Context, Box<cedar_policy::ContextCreationError>> {
        use RestrictedExpression as Value;
        let text = |value: &str| Value::new_string(value.to_owned());
        let always = [
            ("emr", Value::new_entity_uid(names.emr(self.emr))),
            ("mfa", Value::new_bool(self.mfa)),
            ("sensitivity", text(self.sensitivity)),
            ("care_relation", text(self.care_relation.word())),
            ("purpose", text(self.purpose.code())),
            ("lockdown", Value::new_long(i64::from(self.lockdown))),
            ("zone", text(self.zone)),
            ("training", text(self.training.word())),
            ("break_glass", Value::new_bool(self.break_glass)),
        ];
        let patient = self
            .patient
            .map(|patient| ("patient", Value::new_entity_uid(names.patient(patient))));
        // A schema that was written before there were departments goes on to fit.
        let department = self
            .department
            .filter(|_| names.knows_department())
            .map(|department| ("department", text(department)));
        Context::from_pairs(
            always
                .into_iter()
                .chain(patient)
                .chain(department)
                .chain(situation::context(
                    self.situation,
                    self.mfa,
                    names.attributes().and(read),
                ))
                .map(|(name, value)| (name.to_owned(), value)),
        )
        .map_err(Box::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::patient;
    use proptest::prelude::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn grant() -> impl Strategy<Value = Grant> {
        let number = prop::sample::select(vec!["1", "2"]);
        let ward = prop::sample::select(vec!["ed", "icu"]);
        let reach = prop_oneof![
            number.prop_map(|number| Reach::of(&patient(number))),
            ward.prop_map(|ward| Reach::Ward(ward.into())),
        ];
        (reach, 0..4_i64).prop_map(|(reach, end)| Grant {
            id: format!("{reach:?} {end}"),
            reach,
            expires: second(end),
        })
    }

    proptest! {
        /// A chart is open exactly where a grant in its time is for its patient, or for the ward that is known to be theirs.
        #[test]
        fn a_grant_opens_its_patient_or_its_ward_and_nothing_else(
            grants in prop::collection::vec(grant(), 0..4),
            number in prop::sample::select(vec!["1", "2", "3"]),
            ward in prop::option::of(prop::sample::select(vec!["ed", "icu", "ED", ""])),
            now in 0..4_i64,
        ) {
            let circumstances = Circumstances { grants: grants.clone().into(), ..Circumstances::default() };
            let whom = patient(number);
            let found = circumstances.grant_for(&whom, ward, second(now));
            let in_time = grants.iter().filter(|grant| second(now) < grant.expires);
            let own: Vec<_> = in_time.clone().filter(|grant| grant.reach == Reach::of(&whom)).collect();
            let of_ward: Vec<_> = in_time
                .filter(|grant| ward.is_some_and(|ward| grant.reach == Reach::Ward(ward.into())))
                .collect();
            prop_assert_eq!(found.is_some(), !own.is_empty() || !of_ward.is_empty());
            if let Some(found) = found {
                prop_assert_eq!(found.reach.is_one_chart(), !own.is_empty());
            }
            let elsewhere = PatientRef { system: "urn:other".to_owned(), ..whom };
            let found = circumstances.grant_for(&elsewhere, None, second(now));
            prop_assert!(found.is_none(), "another numbering system, and on no ward");
        }
    }
}
