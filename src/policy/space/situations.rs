//! The values of shift, ward, device, sign-in and kind of information that policies tell apart.

use std::collections::BTreeSet;

use super::axes::{Domain, Value, Words};
use crate::policy::attribute::Attribute;
use crate::policy::bundle::Bundle;
use crate::policy::question::PrincipalKind;
use crate::request::situation::{DeviceKind, UNKNOWN_AGE, ages};

/// Most words of which every combination is a value of its own: 32 combinations.
const MOST_WORDS: usize = 5;
/// A ward that no policy names.
const SOME_WARD: &str = "some ward";
/// Another one that no policy names.
const ANOTHER_WARD: &str = "another ward";
/// A shift, or a kind of information, that no policy names.
const ANOTHER: &str = "another";
/// How strong a sign-in is, from an ordinary one on.
const STRENGTHS: &[&str] = &["mfa", "none", "phishing-resistant"];

/// The attributes without which it is not known whether a situation with this one can be.
pub(super) const fn known_by(attribute: Attribute) -> Option<&'static str> {
    match attribute {
        Attribute::MfaStrength => Some("mfa"),
        Attribute::PatientWard => Some("patient"),
        Attribute::Shifts
        | Attribute::Wards
        | Attribute::Device
        | Attribute::AuthAge
        | Attribute::InformationTypes => None,
    }
}

/// What policies tell apart of `attribute`, the usual value first; nothing where a few values do not cover it.
pub(super) fn domain(
    attribute: Attribute,
    bundles: &[&Bundle],
    words: &Words<'_>,
) -> Option<Domain> {
    let listed = |all: &[&str]| Domain::Texts(all.iter().map(|one| (*one).to_owned()).collect());
    match attribute {
        Attribute::Device => {
            let kinds: Vec<_> = DeviceKind::ALL.iter().map(|kind| kind.word()).collect();
            Some(listed(&kinds))
        }
        Attribute::MfaStrength => Some(listed(STRENGTHS)),
        Attribute::AuthAge => Some(Domain::Closed(told_apart(words))),
        Attribute::Shifts => {
            let calendars = bundles.iter().flat_map(|bundle| bundle.calendars().all());
            let all: BTreeSet<&str> = calendars.map(|one| &*one.name).collect();
            let (mut named, others): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|name| words.holds(name));
            named.extend((!others.is_empty()).then_some(ANOTHER));
            every_set(&named, words)
        }
        Attribute::InformationTypes => {
            let mut named: Vec<&str> = words.held().collect();
            named.push(ANOTHER);
            every_set(&named, words)
        }
        Attribute::Wards => {
            let mut named = vec![SOME_WARD, ANOTHER_WARD];
            named.extend(words.held());
            every_set(&named, words)
        }
        Attribute::PatientWard => {
            let mut values = vec![Value::Absent, Value::Text(SOME_WARD.to_owned())];
            values.extend(words.held().map(|ward| Value::Text(ward.to_owned())));
            (!words.entangled).then_some(Domain::Closed(values))
        }
    }
}

/// Every set of these words, the empty one first.
fn every_set(words: &[&str], read: &Words<'_>) -> Option<Domain> {
    if words.len() > MOST_WORDS || read.entangled {
        return None;
    }
    let none = vec![BTreeSet::new()];
    let sets = words
        .iter()
        .fold(none, |mut sets: Vec<BTreeSet<String>>, word| {
            let with: Vec<_> = sets
                .iter()
                .map(|set| {
                    let mut set = set.clone();
                    set.insert((*word).to_owned());
                    set
                })
                .collect();
            sets.extend(with);
            sets
        });
    Some(Domain::Closed(sets.into_iter().map(Value::Words).collect()))
}

/// An age for each stretch of ages that no number in the policies divides.
fn told_apart(words: &Words<'_>) -> Vec<Value> {
    let place = |age: i64| -> Vec<std::cmp::Ordering> {
        words
            .numbers
            .iter()
            .map(|number| age.cmp(*number))
            .collect()
    };
    let mut seen = BTreeSet::new();
    let all = [UNKNOWN_AGE].into_iter().chain(ages());
    all.map(i64::from)
        .filter(|age| words.entangled || seen.insert(place(*age)))
        .map(Value::Number)
        .collect()
}

/// Whether someone of this kind can be in a situation with these values.
pub(super) fn is_possible<'v>(
    kind: PrincipalKind,
    value_of: &impl Fn(&str) -> Option<&'v Value>,
) -> bool {
    let text = |attribute: Attribute| match value_of(attribute.name()) {
        Some(Value::Text(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    let strength = text(Attribute::MfaStrength);
    let factors_agree = match (value_of("mfa"), strength) {
        (Some(mfa), Some(strength)) => (*mfa == Value::Flag(true)) == (strength != "none"),
        (None, _) | (_, None) => true,
    };
    let nobody = value_of("patient").is_some_and(|value| *value == Value::Absent);
    let lies_nowhere = text(Attribute::PatientWard).is_none();
    let fits_kind = match kind {
        PrincipalKind::User => true,
        PrincipalKind::Service => {
            let unknown = DeviceKind::Unknown.word();
            strength.is_none_or(|one| one == "none")
                && text(Attribute::Device).is_none_or(|one| one == unknown)
        }
    };
    factors_agree && fits_kind && (!nobody || lies_nowhere)
}
