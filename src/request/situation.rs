//! What is known of a situation beyond who asks for what: shift, ward, device, age of the sign-in, kinds of information.
//!
//! Filled in where policy is asked, and recorded as it was then, so that `explain` and `replay` can ask again.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Names that policies compare: of shifts, wards, information types.
pub type Words = BTreeSet<Arc<str>>;

/// The ages of a sign-in, in seconds, that policies can tell apart. An age counts as the next of these.
const AGES: &[u32] = &[
    60, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400,
];
/// The age of a sign-in that is older than that, or of which nobody knows when it was: a year.
pub const UNKNOWN_AGE: u32 = 31_536_000;

/// How far clocks may differ, in seconds.
const CLOCK_LEEWAY: i64 = 60;

/// What a client works at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// Nobody knows: a program, or a record of before this was known.
    #[default]
    Unknown,
    /// A device that shows no certificate, outside the networks of shared workstations.
    Personal,
    /// A workstation that several people use.
    Shared,
    /// A device that proved itself by a client certificate.
    Certified,
}

impl DeviceKind {
    /// Every kind.
    pub const ALL: &'static [Self] =
        &[Self::Unknown, Self::Personal, Self::Shared, Self::Certified];

    /// The word in policies and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Personal => "personal",
            Self::Shared => "shared",
            Self::Certified => "certified",
        }
    }

    /// The one of this word.
    #[must_use]
    pub fn by_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.word() == word)
    }
}

/// What is known of a situation. A default one knows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Situation {
    /// The shifts and booked windows in force for this user.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub shifts: Words,
    /// The wards on which the user works.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub wards: Words,
    /// The ward on which the patient lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient_ward: Option<Arc<str>>,
    /// What the client works at.
    #[serde(skip_serializing_if = "is_unknown")]
    pub device: DeviceKind,
    /// Whether the sign-in had a factor that cannot be phished. The record has it with the principal.
    #[serde(skip)]
    pub phishing_resistant: bool,
    /// How old the sign-in was, in seconds, rounded up to an age that policies can tell apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_age: Option<u32>,
    /// HL7 `InformationSensitivityPolicy` codes of page and patient.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub information_types: Words,
}

/// A situation of which nothing is known, to be borrowed.
pub static NOTHING_KNOWN: Situation = Situation::UNKNOWN;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_unknown(device: &DeviceKind) -> bool {
    *device == DeviceKind::Unknown
}

impl Situation {
    /// A situation of which nothing is known.
    pub const UNKNOWN: Self = Self {
        shifts: BTreeSet::new(),
        wards: BTreeSet::new(),
        patient_ward: None,
        device: DeviceKind::Unknown,
        phishing_resistant: false,
        auth_age: None,
        information_types: BTreeSet::new(),
    };

    /// How strong the sign-in was: `none`, `mfa` or `phishing-resistant`.
    #[must_use]
    pub const fn mfa_strength(&self, mfa: bool) -> &'static str {
        match (self.phishing_resistant, mfa) {
            (true, _) => "phishing-resistant",
            (false, true) => "mfa",
            (false, false) => "none",
        }
    }
}

/// Whether `code` can be a code of HL7 `InformationSensitivityPolicy`, or one that a hospital adds: capitals, digits,
/// `_` and `-`. The code system is open, so it is the form that is held to.
#[must_use]
pub fn is_kind(code: &str) -> bool {
    (1..=32).contains(&code.len())
        && code
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

/// The age that a sign-in of so many seconds ago counts as.
///
/// INVARIANT: rounded up, so that `context.auth_age <= 300` never holds for an older sign-in; one that is said to lie
/// ahead, by more than clocks differ, has no age that counts.
#[must_use]
pub fn age_of(seconds: i64) -> u32 {
    if seconds < -CLOCK_LEEWAY {
        return UNKNOWN_AGE;
    }
    AGES.iter()
        .copied()
        .find(|age| seconds <= i64::from(*age))
        .unwrap_or(UNKNOWN_AGE)
}

/// The ages of a sign-in that policies can tell apart, from the youngest, but for [`UNKNOWN_AGE`].
pub fn ages() -> impl Iterator<Item = u32> {
    AGES.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_as_the_next_one_that_can_be_told_apart() {
        for (seconds, age) in [
            (-61, UNKNOWN_AGE),
            (-60, 60),
            (0, 60),
            (60, 60),
            (61, 300),
            (601, 900),
            (86_400, 86_400),
            (86_401, UNKNOWN_AGE),
            (i64::MAX, UNKNOWN_AGE),
        ] {
            assert_eq!(age_of(seconds), age, "{seconds}");
        }
        assert!(AGES.is_sorted());
    }

    #[test]
    fn a_situation_is_written_as_short_as_it_is_and_read_again() {
        assert_eq!(serde_json::to_string(&Situation::UNKNOWN).unwrap(), "{}");
        let full = Situation {
            shifts: Words::from([Arc::from("day")]),
            patient_ward: Some(Arc::from("3-west")),
            device: DeviceKind::Certified,
            auth_age: Some(300),
            ..Situation::default()
        };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<Situation>(&text).unwrap(), full);
        for device in DeviceKind::ALL {
            assert_eq!(DeviceKind::by_word(device.word()), Some(*device));
        }
    }
}
