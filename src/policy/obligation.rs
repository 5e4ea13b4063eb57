//! What a permit obliges: the annotations of a policy that are more than text.
//!
//! INVARIANT: obligations only add up. Whatever permits fit, each of them keeps what it obliges.
//!
//! *Never*: an annotation that is ignored. A key that is not known here keeps the bundle from loading, because
//! whoever wrote it meant something by it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::request::allowance::Quota;
pub use crate::request::watermark::Marks;
use crate::request::{Allowance, Demand, Factor};

/// How long a stated reason holds where the annotation does not say.
const REASON_HOLDS: Duration = Duration::from_hours(1);

/// What may be done with what a permit opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Extent {
    /// Whatever the permit's actions say.
    #[default]
    Whole,
    /// It may be looked at: `@readonly`.
    LooksOnly,
}

/// What a permit obliges. An annotation that is not one of these does not load.
///
/// Cheap to clone: only limits lie on the heap, and most permits have none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Obligations {
    /// What is demanded of the sign-in: `@stepup("300s")`, `@mfa`, `@factor("phishing-resistant")`.
    pub demand: Demand,
    /// What may be done: `@readonly`.
    pub extent: Extent,
    /// What pages carry: `@watermark`.
    pub marks: Marks,
    /// The user states a reason first, which holds for so long: `@reason("15m")`.
    pub reason: Option<Duration>,
    // Sorted, without doubles.
    limits: Option<Arc<[Allowance]>>,
}

/// An annotation that is not an obligation as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObligationError {
    /// The key is not one that the gateway knows.
    #[error("`@{0}` is not an annotation that the gateway knows")]
    Unknown(String),
    /// The value of `@stepup` is not a duration from one second to a day.
    #[error("`@stepup(\"{0}\")` is not a duration from 1 second to 24 hours")]
    StepUp(String),
    /// The value of `@factor` is not a factor.
    #[error("`@factor(\"{0}\")` is not a factor that can be demanded")]
    Factor(String),
    /// An annotation that takes no value has one.
    #[error("`@{0}(\"{1}\")` has a value, and there is none to choose")]
    Valued(&'static str, String),
    /// The value of `@reason` is not a duration from a minute to a day.
    #[error("`@reason(\"{0}\")` is not a duration from 1 minute to 24 hours")]
    Reason(String),
    /// The value of `@limit` is not a number in a span.
    #[error("`@limit(\"{0}\")` is not a number of requests in a span of time")]
    Limit(String),
}

impl ObligationError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unknown(_) => {
                "Use `@id`, `@doc`, `@stepup`, `@mfa`, `@factor`, `@readonly`, `@watermark`, `@reason` or `@limit`; write anything else as a comment."
            }
            Self::StepUp(_) => "Write a duration such as `@stepup(\"300s\")` or `@stepup(\"5m\")`.",
            Self::Factor(_) => "Write `@factor(\"mfa\")` or `@factor(\"phishing-resistant\")`.",
            Self::Valued(..) => {
                "Write it without a value: `@mfa`, `@readonly` or `@watermark` alone. A factor is demanded with `@factor(\"phishing-resistant\")`."
            }
            Self::Reason(_) => {
                "Write `@reason` alone (the reason holds for an hour), or a duration such as `@reason(\"15m\")`."
            }
            Self::Limit(_) => {
                "Write a whole number from 1 to 100000 and a span of `s`, `m`, `h` or `d`, such as `@limit(\"20/h\")`."
            }
        }
    }
}

/// The duration that `value` says, from `least` to a day.
fn span(value: &str, least: Duration) -> Option<Duration> {
    let read = value.parse::<SignedDuration>().ok()?;
    let read = Duration::try_from(read).ok()?;
    (least..=Demand::LONGEST).contains(&read).then_some(read)
}

/// An annotation that takes no value.
fn bare(key: &'static str, value: &str) -> Result<(), ObligationError> {
    if value.is_empty() {
        Ok(())
    } else {
        Err(ObligationError::Valued(key, value.to_owned()))
    }
}

impl Obligations {
    /// This of the sign-in.
    #[must_use]
    pub fn of_sign_in(demand: Demand) -> Self {
        Self {
            demand,
            ..Self::default()
        }
    }

    /// Adds the obligation that an annotation of `permit` states.
    ///
    /// # Errors
    /// When the key or its value is not known.
    pub fn add(&mut self, permit: &str, key: &str, value: &str) -> Result<(), ObligationError> {
        let stated = match key {
            "stepup" => {
                let age = span(value, Duration::from_secs(1))
                    .ok_or_else(|| ObligationError::StepUp(value.to_owned()))?;
                Self::of_sign_in(Demand::fresh(age))
            }
            "mfa" => {
                bare("mfa", value)?;
                Self::of_sign_in(Demand::with(Factor::Mfa))
            }
            "factor" => {
                let factor = Factor::demanded(value)
                    .ok_or_else(|| ObligationError::Factor(value.to_owned()))?;
                Self::of_sign_in(Demand::with(factor))
            }
            "readonly" => {
                bare("readonly", value)?;
                Self {
                    extent: Extent::LooksOnly,
                    ..Self::default()
                }
            }
            "watermark" => {
                bare("watermark", value)?;
                Self {
                    marks: Marks::Watermark,
                    ..Self::default()
                }
            }
            "reason" if value.is_empty() => Self::of_reason(REASON_HOLDS),
            "reason" => {
                let holds = span(value, Duration::from_mins(1))
                    .ok_or_else(|| ObligationError::Reason(value.to_owned()))?;
                Self::of_reason(holds)
            }
            "limit" => {
                let quota =
                    Quota::parse(value).ok_or_else(|| ObligationError::Limit(value.to_owned()))?;
                Self {
                    limits: Some(Arc::new([Allowance {
                        permit: Arc::from(permit),
                        quota,
                    }])),
                    ..Self::default()
                }
            }
            other => return Err(ObligationError::Unknown(other.to_owned())),
        };
        *self = std::mem::take(self).union(&stated);
        Ok(())
    }

    fn of_reason(holds: Duration) -> Self {
        Self {
            reason: Some(holds),
            ..Self::default()
        }
    }

    /// Everything that either obliges; the stricter where both do. Of limits each counts for itself.
    #[must_use]
    pub fn union(self, other: &Self) -> Self {
        Self {
            demand: self.demand.union(other.demand),
            extent: self.extent.max(other.extent),
            marks: self.marks.max(other.marks),
            reason: match (self.reason, other.reason) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            },
            limits: match (self.limits, &other.limits) {
                (Some(one), Some(two)) if one != *two => Some(joined(&one, two)),
                (one, two) => one.or_else(|| two.clone()),
            },
        }
    }

    /// How often the user may do it, permit by permit: first what comes back soonest.
    #[must_use]
    pub fn limits(&self) -> &[Allowance] {
        self.limits.as_deref().unwrap_or_default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As the record states them: `stepup=300s`, `mfa`, `factor=phishing-resistant`, `readonly`, `watermark`,
    /// `reason=900s`, `limit=20/h`.
    #[must_use]
    pub fn as_recorded(&self) -> Vec<String> {
        let mut recorded = self.demand.as_recorded();
        match self.extent {
            Extent::LooksOnly => recorded.push("readonly".to_owned()),
            Extent::Whole => {}
        }
        match self.marks {
            Marks::Watermark => recorded.push("watermark".to_owned()),
            Marks::None => {}
        }
        let reason = self
            .reason
            .map(|holds| format!("reason={}s", holds.as_secs()));
        recorded.extend(reason);
        for limit in self.limits() {
            let said = format!("limit={}", limit.quota);
            // Two permits may say the same.
            if !recorded.contains(&said) {
                recorded.push(said);
            }
        }
        recorded
    }
}

/// Both lists as one, in order.
fn joined(one: &[Allowance], two: &[Allowance]) -> Arc<[Allowance]> {
    let mut all: Vec<Allowance> = one.iter().chain(two).cloned().collect();
    all.sort_by(|a, b| {
        let key = |limit: &Allowance| (limit.quota.interval(), limit.quota);
        key(a).cmp(&key(b)).then_with(|| a.permit.cmp(&b.permit))
    });
    all.dedup();
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(annotations: &[(&str, &str)]) -> Result<Obligations, ObligationError> {
        let mut obligations = Obligations::default();
        for (key, value) in annotations {
            obligations.add("permit", key, value)?;
        }
        Ok(obligations)
    }

    fn step_up(value: &str) -> Result<Option<Duration>, ObligationError> {
        of(&[("stepup", value)]).map(|obligations| obligations.demand.max_age())
    }

    fn recorded(key: &str, value: &str) -> Result<String, ObligationError> {
        of(&[(key, value)]).map(|obligations| obligations.as_recorded().join(" "))
    }

    #[test]
    fn a_step_up_is_a_positive_duration_within_a_day() {
        assert_eq!(step_up("300s"), Ok(Some(Duration::from_mins(5))));
        assert_eq!(step_up("5m"), Ok(Some(Duration::from_mins(5))));
        assert_eq!(step_up("24h"), Ok(Some(Demand::LONGEST)));
        for wrong in [
            "",
            "0s",
            "-5m",
            "300",
            "25h",
            "soon",
            "500ms",
            "9999999999999999999h",
        ] {
            assert_eq!(
                step_up(wrong),
                Err(ObligationError::StepUp(wrong.to_owned()))
            );
        }
    }

    #[test]
    fn a_factor_is_one_that_can_be_demanded() {
        assert_eq!(recorded("mfa", "").as_deref(), Ok("mfa"));
        assert_eq!(recorded("factor", "mfa").as_deref(), Ok("mfa"));
        let resistant = recorded("factor", "phishing-resistant");
        assert_eq!(resistant.as_deref(), Ok("factor=phishing-resistant"));
        for wrong in ["", "any", "Phishing-Resistant", "otp", "mfa "] {
            let refused = Err(ObligationError::Factor(wrong.to_owned()));
            assert_eq!(recorded("factor", wrong), refused);
        }
    }

    #[test]
    fn what_takes_no_value_is_refused_with_one() {
        for key in ["mfa", "readonly", "watermark"] {
            assert_eq!(recorded(key, "").as_deref(), Ok(key));
            let refused = Err(ObligationError::Valued(key, "yes".to_owned()));
            assert_eq!(recorded(key, "yes"), refused);
        }
    }

    #[test]
    fn a_reason_holds_for_a_minute_to_a_day_and_a_limit_is_a_number_in_a_span() {
        assert_eq!(recorded("reason", "").as_deref(), Ok("reason=3600s"));
        assert_eq!(recorded("reason", "15m").as_deref(), Ok("reason=900s"));
        for wrong in ["59s", "25h", "15", "-1h", "why"] {
            let refused = Err(ObligationError::Reason(wrong.to_owned()));
            assert_eq!(recorded("reason", wrong), refused);
        }
        assert_eq!(recorded("limit", "20/h").as_deref(), Ok("limit=20/h"));
        for wrong in ["", "20", "0/h", "20/w"] {
            let refused = Err(ObligationError::Limit(wrong.to_owned()));
            assert_eq!(recorded("limit", wrong), refused);
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert_eq!(
            recorded("watermarc", ""),
            Err(ObligationError::Unknown("watermarc".to_owned()))
        );
    }

    #[test]
    fn limits_of_several_permits_stand_beside_each_other_the_quickest_first() {
        let limited = |permit: &str, quota: &str| {
            let mut obligations = Obligations::default();
            obligations.add(permit, "limit", quota).unwrap();
            obligations
        };
        let (day, hour, same) = (
            limited("a", "100/d"),
            limited("b", "20/h"),
            limited("c", "20/h"),
        );
        let all = day.union(&hour).union(&same);
        let order: Vec<_> = all.limits().iter().map(|limit| &*limit.permit).collect();
        assert_eq!(order, ["b", "c", "a"]);
        assert_eq!(all.as_recorded(), ["limit=20/h", "limit=100/d"]);
    }

    fn any() -> impl Strategy<Value = Obligations> {
        let one = prop_oneof![
            prop::sample::select(vec!["60s", "5m", "1h"]).prop_map(|v| ("stepup", v)),
            Just(("mfa", "")),
            prop::sample::select(vec!["mfa", "phishing-resistant"]).prop_map(|v| ("factor", v)),
            Just(("readonly", "")),
            Just(("watermark", "")),
            prop::sample::select(vec!["", "5m", "4h"]).prop_map(|v| ("reason", v)),
            prop::sample::select(vec!["1/s", "20/h", "100/d"]).prop_map(|v| ("limit", v)),
        ];
        let permit = prop::sample::select(vec!["a", "b", "c"]);
        prop::collection::vec((permit, one), 0..5).prop_map(|annotations| {
            let mut obligations = Obligations::default();
            for (permit, (key, value)) in annotations {
                obligations.add(permit, key, value).unwrap();
            }
            obligations
        })
    }

    proptest! {
        /// Whatever is added, nothing that was obliged goes away or becomes weaker.
        #[test]
        fn a_union_is_at_least_as_strict_as_each(one in any(), two in any(), three in any()) {
            let both = one.clone().union(&two);
            prop_assert_eq!(&both, &two.clone().union(&one));
            prop_assert_eq!(&both.clone().union(&one), &both, "it holds all of one");
            prop_assert_eq!(&both.clone().union(&two), &both, "it holds all of two");
            for part in [&one, &two] {
                prop_assert!(both.extent >= part.extent && both.marks >= part.marks);
                prop_assert!(part.reason.is_none_or(|holds| both.reason.is_some_and(|kept| kept <= holds)));
                prop_assert!(part.limits().iter().all(|limit| both.limits().contains(limit)));
                prop_assert_eq!(both.demand.union(part.demand), both.demand);
            }
            let left = one.clone().union(&two).union(&three);
            prop_assert_eq!(left, one.union(&two.union(&three)));
        }
    }
}
