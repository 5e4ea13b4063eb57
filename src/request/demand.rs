//! What a request demands of the sign-in behind it (RFC 9470): how old it may be, and which factor it must have had.
//!
//! *Never*: a demand that is met by what nobody stated. An unknown time is not fresh, an unknown factor is no factor.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::principal::Proof;
use crate::language::Language;
use crate::language::phrases::StepUpWords;

/// How far a provider's clock may be ahead of ours.
const CLOCK_LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// The factor that a sign-in must have had; each includes those before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Factor {
    /// Whatever opened the session.
    #[default]
    Any,
    /// A second factor.
    Mfa,
    /// A factor that cannot be given away to a site that only looks like the right one (NIST SP 800-63B-4 §3.2.5):
    /// a passkey, a security key, a smart card. With a second factor.
    PhishingResistant,
}

impl Factor {
    /// The word in profiles, policies and addresses; [`Factor::Any`] has none that anyone may write.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Mfa => "mfa",
            Self::PhishingResistant => "phishing-resistant",
        }
    }

    /// The factor that a profile, a policy or an address demands by this word.
    #[must_use]
    pub fn demanded(word: &str) -> Option<Self> {
        [Self::Mfa, Self::PhishingResistant]
            .into_iter()
            .find(|factor| factor.word() == word)
    }

    const fn is_proven_by(self, proof: &Proof) -> bool {
        match self {
            Self::Any => true,
            Self::Mfa => proof.mfa,
            Self::PhishingResistant => proof.mfa && proof.phishing_resistant,
        }
    }
}

/// What is demanded of a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "Spelled", from = "Spelled")]
pub struct Demand {
    max_age: Option<Duration>,
    factor: Factor,
}

/// A demand on record: the age in seconds.
#[derive(Serialize, Deserialize)]
struct Spelled {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age: Option<u32>,
    #[serde(default)]
    factor: Factor,
}

impl From<Demand> for Spelled {
    fn from(demand: Demand) -> Self {
        Self {
            max_age: demand.max_age_seconds(),
            factor: demand.factor,
        }
    }
}

impl From<Spelled> for Demand {
    fn from(spelled: Spelled) -> Self {
        let age = |seconds: u32| Duration::from_secs(u64::from(seconds));
        Self::new(spelled.max_age.map(age), spelled.factor)
    }
}

/// What a sign-in lacks of what is demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortfall {
    /// Nobody said when the user authenticated (`auth_time` is absent or 0).
    TimeUnknown,
    /// The user authenticated too long ago.
    TooOld,
    /// The factor was not proven.
    Factor,
    /// No issuer's configuration says what would prove the factor.
    NotConfigured,
}

impl Shortfall {
    /// The word on records and in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TimeUnknown => "time-unknown",
            Self::TooOld => "too-old",
            Self::Factor => "factor",
            Self::NotConfigured => "not-configured",
        }
    }

    /// What to tell the person who has it.
    #[must_use]
    pub const fn told(self, language: Language) -> &'static str {
        let words = &language.phrases().step_up;
        match self {
            Self::TimeUnknown => words.time_unknown,
            Self::TooOld => words.too_old,
            Self::Factor => words.factor,
            Self::NotConfigured => words.not_configured,
        }
    }
}

impl Demand {
    /// The longest age that makes sense: a session does not last longer.
    pub const LONGEST: Duration = Duration::from_hours(24);

    /// Nothing.
    pub const NONE: Self = Self::new(None, Factor::Any);

    /// A sign-in of just now: made after it was asked for.
    pub const NOW: Self = Self::fresh(Duration::ZERO);

    /// [`Demand::NOW`], for what was stored before there was any other.
    #[must_use]
    pub const fn now() -> Self {
        Self::NOW
    }

    /// A sign-in not older than `max_age`, in whole seconds, with `factor`.
    #[must_use]
    pub const fn new(max_age: Option<Duration>, factor: Factor) -> Self {
        Self { max_age, factor }
    }

    /// A sign-in not older than `limit`.
    #[must_use]
    pub const fn fresh(limit: Duration) -> Self {
        Self::new(Some(limit), Factor::Any)
    }

    /// A sign-in with `factor`, whenever it was.
    #[must_use]
    pub const fn with(factor: Factor) -> Self {
        Self::new(None, factor)
    }

    /// How old the sign-in may be.
    #[must_use]
    pub const fn max_age(self) -> Option<Duration> {
        self.max_age
    }

    /// The same in seconds, as `max_age` is sent (OIDC Core §3.1.2.1).
    #[must_use]
    pub fn max_age_seconds(self) -> Option<u32> {
        let seconds = |age: Duration| u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        self.max_age.map(seconds)
    }

    /// The factor that it must have had.
    #[must_use]
    pub const fn factor(self) -> Factor {
        self.factor
    }

    /// Whether nothing is demanded.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.max_age.is_none() && matches!(self.factor, Factor::Any)
    }

    /// Everything that either demands; the stronger where both do.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            max_age: match (self.max_age, other.max_age) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            },
            factor: self.factor.max(other.factor),
        }
    }

    /// What `proof` lacks at `now`; nothing where the demand is met.
    #[must_use]
    pub fn shortfall(self, proof: &Proof, now: Timestamp) -> Option<Shortfall> {
        if !self.factor.is_proven_by(proof) {
            return Some(Shortfall::Factor);
        }
        let limit = self.max_age?;
        if proof.auth_time.is_none() {
            return Some(Shortfall::TimeUnknown);
        }
        fresh_until(proof.auth_time, limit, now)
            .is_none_or(|end| now > end)
            .then_some(Shortfall::TooOld)
    }

    /// Until when `proof` goes on meeting it, where that ends.
    #[must_use]
    pub fn met_until(self, proof: &Proof, now: Timestamp) -> Option<Timestamp> {
        fresh_until(proof.auth_time, self.max_age?, now)
    }

    /// As records state it: `stepup=300s`, `mfa`, `factor=phishing-resistant`.
    #[must_use]
    pub fn as_recorded(self) -> Vec<String> {
        let age = self.max_age_seconds().map(|age| format!("stepup={age}s"));
        let factor = match self.factor {
            Factor::Any => None,
            Factor::Mfa => Some("mfa".to_owned()),
            Factor::PhishingResistant => Some("factor=phishing-resistant".to_owned()),
        };
        age.into_iter().chain(factor).collect()
    }

    /// In words, for the one who has to meet it.
    #[must_use]
    pub fn told(self, language: Language) -> String {
        let words = &language.phrases().step_up;
        let factor = match self.factor {
            Factor::Any => None,
            Factor::Mfa => Some(words.with_second_factor),
            Factor::PhishingResistant => Some(words.with_phishing_resistant),
        };
        let age = self.max_age.map(|age| {
            if age.is_zero() {
                return words.made_just_now.to_owned();
            }
            let (before, after) = words.not_older_than;
            format!("{before}{}{after}", span(age, words))
        });
        let mut told = words.a_sign_in.to_owned();
        for more in factor.map(str::to_owned).into_iter().chain(age) {
            told.push(' ');
            told.push_str(&more);
        }
        told
    }
}

/// A length of time for a person.
fn span(age: Duration, words: &StepUpWords) -> String {
    let seconds = age.as_secs();
    let (count, (one, many)) = if seconds.is_multiple_of(3600) {
        (seconds / 3600, words.hours)
    } else if seconds.is_multiple_of(60) {
        (seconds / 60, words.minutes)
    } else {
        (seconds, words.seconds)
    };
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Until when a sign-in is fresh enough; nothing when it is not known when it was.
#[must_use]
pub fn fresh_until(
    auth_time: Option<Timestamp>,
    limit: Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    let auth_time = auth_time?;
    // SECURITY: a sign-in that the provider dates into the future would stay fresh for as long as it likes.
    if auth_time.duration_since(now) > CLOCK_LEEWAY {
        return None;
    }
    Some(
        auth_time
            .min(now)
            .checked_add(limit)
            .unwrap_or(Timestamp::MAX),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FACTORS: [Factor; 3] = [Factor::Any, Factor::Mfa, Factor::PhishingResistant];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn proof(mfa: bool, phishing_resistant: bool, auth_time: Option<i64>) -> Proof {
        Proof {
            acr: None,
            amr: Vec::new(),
            mfa,
            auth_time: auth_time.map(at),
            phishing_resistant,
        }
    }

    #[test]
    fn a_time_that_nobody_stated_is_never_fresh_whatever_else_is_proven() {
        for factor in FACTORS {
            for age in [Duration::ZERO, Duration::from_secs(1), Demand::LONGEST] {
                let demand = Demand::new(Some(age), factor);
                let lacks = demand.shortfall(&proof(true, true, None), at(100));
                assert_eq!(lacks, Some(Shortfall::TimeUnknown), "{demand:?}");
            }
            let timeless = Demand::with(factor);
            assert_eq!(timeless.shortfall(&proof(true, true, None), at(100)), None);
        }
    }

    #[test]
    fn factors_and_ages_are_judged_and_said() {
        let five = Demand::new(Some(Duration::from_mins(5)), Factor::PhishingResistant);
        let strong = proof(true, true, Some(1000));
        assert_eq!(five.shortfall(&strong, at(1300)), None);
        assert_eq!(
            five.shortfall(&strong, at(1301)),
            Some(Shortfall::TooOld),
            "a second too old"
        );
        assert_eq!(five.met_until(&strong, at(1200)), Some(at(1300)));
        for weak in [
            proof(true, false, Some(1000)),
            proof(false, true, Some(1000)),
        ] {
            assert_eq!(five.shortfall(&weak, at(1000)), Some(Shortfall::Factor));
        }
        let ahead = proof(true, true, Some(1061));
        assert_eq!(five.shortfall(&ahead, at(1000)), Some(Shortfall::TooOld));
        assert_eq!(
            five.as_recorded(),
            ["stepup=300s", "factor=phishing-resistant"]
        );
        assert!(
            five.told(Language::English)
                .ends_with("not older than 5 minutes")
        );
        assert_eq!(
            Demand::fresh(Duration::from_secs(90)).told(Language::English),
            "a sign-in not older than 90 seconds"
        );
        let both = Demand::new(Some(Duration::from_mins(5)), Factor::Mfa);
        assert_eq!(
            both.told(Language::German),
            "eine Anmeldung mit einem zweiten Faktor von vor höchstens 5 Minuten"
        );
        assert_eq!(
            Demand::NOW.told(Language::English),
            "a sign-in made just now"
        );
        assert!(Demand::NONE.is_none() && !Demand::NOW.is_none());
    }

    #[test]
    fn on_record_it_reads_back() {
        let five = Demand::new(Some(Duration::from_mins(5)), Factor::PhishingResistant);
        let text = serde_json::to_string(&five).unwrap();
        assert_eq!(text, r#"{"max_age":300,"factor":"phishing-resistant"}"#);
        assert_eq!(serde_json::from_str::<Demand>(&text).unwrap(), five);
        assert_eq!(
            serde_json::from_str::<Demand>("{}").unwrap(),
            Demand::default()
        );
    }

    fn demands() -> impl Strategy<Value = Demand> {
        (proptest::option::of(0_u64..400), 0_usize..3)
            .prop_map(|(age, factor)| Demand::new(age.map(Duration::from_secs), FACTORS[factor]))
    }

    proptest! {
        /// Whoever meets both demands meets their union, and whoever lacks one of them lacks the union.
        #[test]
        fn the_stronger_of_both_counts(
            one in demands(),
            two in demands(),
            mfa: bool,
            resistant: bool,
            auth_time in proptest::option::of(0_i64..1200),
        ) {
            let (proof, now) = (proof(mfa, resistant, auth_time), at(1000));
            let meets = |demand: Demand| demand.shortfall(&proof, now).is_none();
            prop_assert_eq!(meets(one.union(two)), meets(one) && meets(two));
            prop_assert_eq!(one.union(two), two.union(one));
            prop_assert_eq!(one.union(one), one);
            prop_assert_eq!(one.union(Demand::NONE), one);
        }
    }
}
