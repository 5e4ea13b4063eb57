//! The parts of a situation as policy sees them, and as much of them as an answer can depend on.

use std::borrow::Cow;
use std::sync::Arc;

use cedar_policy::RestrictedExpression as Value;

use super::attribute::{Attribute, Attributes};
use super::decide::Active;
use crate::request::situation::{DeviceKind, NOTHING_KNOWN, Situation, UNKNOWN_AGE, Words, age_of};

/// As much of a situation as policies that read `attributes` can tell apart. What they do not read must not split their
/// answers in memory: there are as many patients' wards as patients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AsRead<'s> {
    attributes: Attributes,
    shifts: Cow<'s, Words>,
    wards: Cow<'s, Words>,
    patient_ward: Option<Cow<'s, Arc<str>>>,
    device: DeviceKind,
    /// Whether there was a second factor at all is compared anyway.
    phishing_resistant: bool,
    auth_age: Option<u32>,
    information_types: Cow<'s, Words>,
}

impl<'s> AsRead<'s> {
    pub(super) fn new(situation: &'s Situation, attributes: Attributes) -> Self {
        let read = |one| {
            if attributes.has(one) {
                situation
            } else {
                &NOTHING_KNOWN
            }
        };
        let ward = read(Attribute::PatientWard).patient_ward.as_ref();
        Self {
            attributes,
            shifts: Cow::Borrowed(&read(Attribute::Shifts).shifts),
            wards: Cow::Borrowed(&read(Attribute::Wards).wards),
            patient_ward: ward.map(Cow::Borrowed),
            device: read(Attribute::Device).device,
            phishing_resistant: read(Attribute::MfaStrength).phishing_resistant,
            auth_age: read(Attribute::AuthAge).auth_age,
            information_types: Cow::Borrowed(&read(Attribute::InformationTypes).information_types),
        }
    }

    /// The same, to be kept.
    pub(super) fn into_owned(self) -> AsRead<'static> {
        let owned = |words: Cow<'_, Words>| Cow::Owned(words.into_owned());
        AsRead {
            shifts: owned(self.shifts),
            wards: owned(self.wards),
            patient_ward: self.patient_ward.map(|ward| Cow::Owned(ward.into_owned())),
            information_types: owned(self.information_types),
            attributes: self.attributes,
            device: self.device,
            phishing_resistant: self.phishing_resistant,
            auth_age: self.auth_age,
        }
    }
}

/// Situations in which a permission may exist: an ordinary one, and, where policies of the bundle look at more, one for
/// each kind of device in which every shift is in force, the patient lies on the user's ward, and the sign-in is as
/// strong and fresh as can be.
#[must_use]
pub fn where_permissions_may_be(active: &Active) -> Vec<Situation> {
    let mut all = vec![Situation::UNKNOWN];
    if active.compiled().attributes() == Attributes::NONE {
        return all;
    }
    let calendars = active.bundle().calendars().all().iter();
    let shifts: Words = calendars.map(|one| Arc::clone(&one.name)).collect();
    let ward: Arc<str> = Arc::from("any");
    all.extend(DeviceKind::ALL.iter().map(|device| Situation {
        shifts: shifts.clone(),
        wards: Words::from([Arc::clone(&ward)]),
        patient_ward: Some(Arc::clone(&ward)),
        device: *device,
        phishing_resistant: true,
        auth_age: Some(age_of(0)),
        information_types: Words::new(),
    }));
    all
}

/// What `situation` gives the context of a schema that has `known`.
pub(super) fn context(
    situation: &Situation,
    mfa: bool,
    known: Attributes,
) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::new_string(text.to_owned());
    let set = |words: &Words| Value::new_set(words.iter().map(|word| text(word)));
    let mut pairs = Vec::new();
    for one in Attribute::ALL.iter().copied().filter(|one| known.has(*one)) {
        let value = match one {
            Attribute::Shifts => Some(set(&situation.shifts)),
            Attribute::Wards => Some(set(&situation.wards)),
            Attribute::PatientWard => situation.patient_ward.as_deref().map(text),
            Attribute::Device => Some(text(situation.device.word())),
            Attribute::MfaStrength => Some(text(situation.mfa_strength(mfa))),
            Attribute::AuthAge => Some(Value::new_long(i64::from(
                situation.auth_age.unwrap_or(UNKNOWN_AGE),
            ))),
            Attribute::InformationTypes => Some(set(&situation.information_types)),
        };
        pairs.extend(value.map(|value| (one.name(), value)));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::bundle::Bundle;
    use crate::policy::compile::Compiled;
    use crate::policy::question::Question;
    use crate::policy::tests::{SHIPPED, SMALL, load, question, roles, shipped_directory};
    use crate::request::Action;
    use crate::request::facts::Verdict;

    fn verdict(bundle: &Bundle, situation: &Situation) -> Verdict {
        let nurse = roles(&["nurse"]);
        let asked = Question {
            situation,
            ..question(&nurse, Action::Read, "notes")
        };
        let compiled = Compiled::new(bundle);
        compiled.ask(&compiled.slice(&asked), &asked).verdict
    }

    #[test]
    fn a_schema_of_before_these_attributes_goes_on_to_fit_and_one_that_has_some_wrongly_does_not() {
        let shipped =
            std::fs::read_to_string(shipped_directory().join("schema.cedarschema")).unwrap();
        let (before, after) = shipped.split_once("  // The shifts and booked").unwrap();
        let (_, rest) = after.split_once("};").unwrap();
        let old = [before, "};", rest].concat();
        let bundle = load(&[("schema.cedarschema", &old), ("small.cedar", SMALL)]).unwrap();
        let rich = Situation {
            device: DeviceKind::Shared,
            auth_age: Some(60),
            ..Situation::UNKNOWN
        };
        assert_eq!(verdict(&bundle, &rich), Verdict::Allow);
        let active = Active::new(SHIPPED.clone());
        assert_eq!(where_permissions_may_be(&active), [Situation::UNKNOWN]);
        let wrong = shipped.replace("shifts: Set<String>", "shifts: String");
        assert!(load(&[("schema.cedarschema", &wrong), ("small.cedar", SMALL)]).is_err());
    }

    #[test]
    fn every_attribute_has_the_type_that_the_shipped_schema_gives_it() {
        let policy = |condition: &str| {
            format!(
                "@id(\"a\") @doc(\"x\") permit (principal, action, resource) when {{ {condition} }};"
            )
        };
        let full = Situation {
            shifts: Words::from([Arc::from("day")]),
            wards: Words::from([Arc::from("icu")]),
            patient_ward: Some(Arc::from("icu")),
            device: DeviceKind::Shared,
            phishing_resistant: true,
            auth_age: Some(300),
            information_types: Words::from([Arc::from("PSY")]),
        };
        let calendar = "[[window]]\nname = \"day\"\nstart = 2026-01-01T00:00:00Z\nend = 2026-01-02T00:00:00Z\n";
        for condition in [
            "context.shifts.contains(\"day\")",
            "context has patient_ward && context.wards.contains(context.patient_ward)",
            "context.device == \"shared\"",
            "context.mfa_strength == \"phishing-resistant\"",
            "context.auth_age <= 300",
            "context.information_types.containsAny([\"PSY\", \"HIV\"])",
        ] {
            let files = [
                ("a.cedar", policy(condition)),
                ("calendars.toml", calendar.to_owned()),
            ];
            let files: Vec<_> = files
                .iter()
                .map(|(name, text)| (*name, text.as_str()))
                .collect();
            let bundle = load(&files).unwrap();
            assert_eq!(verdict(&bundle, &full), Verdict::Allow, "{condition}");
            assert_eq!(
                verdict(&bundle, &Situation::UNKNOWN),
                Verdict::Deny,
                "{condition}"
            );
        }
        let absent = load(&[("a.cedar", &policy("context.shifts.contains(\"dya\")"))]).unwrap_err();
        let problems = absent.problems();
        assert!(
            problems.len() == 1 && problems[0].message.contains("dya"),
            "{absent}"
        );
    }
}
