//! Any question, and a bundle that reads everything that can be read.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use cedar_policy::PolicySet;
use proptest::prelude::*;

use super::{SHIPPED, load, patient, shipped_directory};
use crate::policy::bundle::Bundle;
use crate::policy::compile::{Compiled, Outcome};
use crate::policy::question::{CareRelation, PrincipalKind, Purpose, Question, Training};
use crate::request::situation::{DeviceKind, UNKNOWN_AGE, Words};
use crate::request::{Action, PatientRef, Role, Situation};

/// Policies that read what the shipped ones do not: identities, patients, and a sum that overflows.
const WILD: &str = r#"
@id("wild-user")
@doc("One person reads the log.")
permit (principal == User::"main|2", action == Action::"Read", resource == Section::"log");
@id("wild-user-condition")
@doc("One person administers.")
@stepup("60s")
permit (principal, action == Action::"Administer", resource)
when { principal == User::"main|1" };
@id("wild-celebrity")
@doc("One chart is closed to all but one.")
forbid (principal, action, resource)
when { context has patient && context.patient == Patient::"urn:mrn|1" }
unless { principal == User::"main|2" };
@id("wild-patient")
@doc("Nurses disclose only of a named patient.")
permit (principal in Role::"nurse", action == Action::"Disclose", resource)
when { context has patient };
@id("wild-emr")
@doc("The archive is not written.")
forbid (principal, action in [Action::"Create", Action::"Update"], resource)
when { context.emr == Emr::"archive" };
@id("wild-overflow")
@doc("A forbid that fails from lockdown level 1 on.")
forbid (principal, action == Action::"Sign", resource)
when { context.lockdown + 9223372036854775807 < 0 };
@id("wild-service")
@doc("Programs search.")
permit (principal is Service, action == Action::"Search", resource)
when { context.purpose == "TREAT" };
@id("wild-shift")
@doc("Students write by day, on their ward, with a fresh sign-in at a device that is known.")
permit (principal in Role::"student", action == Action::"Update", resource)
when { context.shifts.contains("day") && context.auth_age <= 300 && context.device == "certified" }
when { context has patient_ward && context.wards.contains(context.patient_ward) };
@id("wild-kind")
@doc("What is marked is for those with a strong sign-in.")
forbid (principal, action == Action::"Print", resource)
when { context.information_types.contains("VIP") }
unless { context.mfa_strength == "phishing-resistant" };
@id("wild-action")
@doc("Administrators see unmapped pages.")
permit (principal is User in Role::"it-admin", action == Action::"Unmapped", resource);
"#;

/// The shipped bundle and the wild policies.
/// The calendar of the shift that [`WILD`] speaks of.
pub(super) const WILD_SHIFT: &str =
    "[[shift]]\nname = \"day\"\ntime_zone = \"UTC\"\nfrom = \"06:00\"\nto = \"14:00\"\n";
pub(super) static WILD_BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let texts: Vec<_> = std::fs::read_dir(shipped_directory())
        .expect("policies/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "cedar"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_str().expect("text");
            (
                name.to_owned(),
                std::fs::read_to_string(&path).expect("text"),
            )
        })
        .collect();
    let mut files: Vec<_> = texts
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    files.push(("wild.cedar", WILD));
    files.push(("calendars.toml", WILD_SHIFT));
    match load(&files) {
        Ok(bundle) => bundle,
        Err(error) => panic!("{error}"),
    }
});
pub(super) static WILD_COMPILED: LazyLock<Compiled> = LazyLock::new(|| Compiled::new(&WILD_BUNDLE));
pub(super) static WILD_SET: LazyLock<PolicySet> = LazyLock::new(|| {
    PolicySet::from_policies(WILD_BUNDLE.policies().map(|rule| rule.policy().clone()))
        .expect("distinct ids")
});

/// A question that owns its parts.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) kind: PrincipalKind,
    pub(super) principal: String,
    pub(super) roles: BTreeSet<Role>,
    pub(super) action: Action,
    pub(super) section: String,
    pub(super) sensitivity: String,
    pub(super) emr: String,
    pub(super) patient: Option<PatientRef>,
    pub(super) care_relation: CareRelation,
    pub(super) purpose: Purpose,
    pub(super) lockdown: u8,
    pub(super) zone: String,
    pub(super) training: Training,
    pub(super) flags: (bool, bool),
    pub(super) situation: Situation,
}

impl Asked {
    pub(super) fn question(&self) -> Question<'_> {
        Question {
            kind: self.kind,
            principal: &self.principal,
            roles: &self.roles,
            mfa: self.flags.0,
            action: self.action,
            section: &self.section,
            sensitivity: &self.sensitivity,
            emr: &self.emr,
            patient: self.patient.as_ref(),
            care_relation: self.care_relation,
            purpose: self.purpose,
            lockdown: self.lockdown,
            zone: &self.zone,
            training: self.training,
            break_glass: self.flags.1,
            department: None,
            situation: &self.situation,
        }
    }
}

fn one_of(names: &[&str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::select(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
}

fn some_of(names: &'static [&'static str]) -> impl Strategy<Value = Words> {
    prop::sample::subsequence(names, 0..=names.len())
        .prop_map(|names| names.into_iter().map(Arc::from).collect())
}

fn situation() -> impl Strategy<Value = Situation> {
    (
        some_of(&["day", "night"]),
        some_of(&["3-west", "icu"]),
        prop::option::of(one_of(&["3-west", "icu"])),
        prop::sample::select(DeviceKind::ALL),
        any::<bool>(),
        prop::option::of(prop::sample::select(vec![60, 300, UNKNOWN_AGE])),
        some_of(&["PSY", "VIP"]),
    )
        .prop_map(|parts| Situation {
            shifts: parts.0,
            wards: parts.1,
            patient_ward: parts.2.map(Arc::from),
            device: parts.3,
            phishing_resistant: parts.4,
            auth_age: parts.5,
            information_types: parts.6,
        })
}

pub(super) fn asked() -> impl Strategy<Value = Asked> {
    let role_names: Vec<_> = SHIPPED.vocabulary().roles().iter().cloned().collect();
    let mut section_names: Vec<_> = SHIPPED.vocabulary().sections().iter().cloned().collect();
    section_names.push("unheard-of".to_owned());
    let who = (
        prop::sample::select(PrincipalKind::ALL),
        one_of(&["main|1", "main|2", "main|3", "anyone", "a \"quoted\" one"]),
        prop::collection::btree_set(prop::sample::select(role_names), 0..4)
            .prop_map(|names| names.iter().map(|name| Role::new(name)).collect()),
    );
    let what = (
        prop::sample::select(Action::ALL),
        prop::sample::select(section_names),
        one_of(&["N", "R", "V", ""]),
        one_of(&["main", "archive"]),
        prop::option::of(one_of(&["1", "2"]).prop_map(|id| patient(&id))),
    );
    let when = (
        prop::sample::select(CareRelation::ALL),
        prop::sample::select(Purpose::ALL),
        prop_oneof![3 => Just(0_u8), 1 => 1..=4_u8],
        (prop::bool::weighted(0.9), any::<bool>()),
        one_of(&["unknown", "on-site", "outside"]),
        prop::sample::select(Training::ALL),
        situation(),
    );
    (who, what, when).prop_map(|(who, what, when)| Asked {
        kind: who.0,
        principal: who.1,
        roles: who.2,
        action: what.0,
        section: what.1,
        sensitivity: what.2,
        emr: what.3,
        patient: what.4,
        care_relation: when.0,
        purpose: when.1,
        lockdown: when.2,
        flags: when.3,
        zone: when.4,
        training: when.5,
        situation: when.6,
    })
}

pub(super) fn fresh(compiled: &Compiled, question: &Question<'_>) -> Outcome {
    compiled.ask(&compiled.slice(question), question)
}
