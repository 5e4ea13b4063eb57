//! What a permit obliges: the annotations of a policy that are more than text.
//!
//! *Never*: an annotation that is ignored. A key that is not known here keeps the bundle from loading, because
//! whoever wrote it meant something by it.

use std::time::Duration;

use jiff::SignedDuration;

use crate::request::{Demand, Factor};

/// What a permit obliges. An annotation that is not one of these does not load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Obligations {
    /// What is demanded of the sign-in: `@stepup("300s")`, `@mfa`, `@factor("phishing-resistant")`.
    pub demand: Demand,
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
    /// `@mfa` takes no value.
    #[error("`@mfa(\"{0}\")` has a value, and there is none to choose")]
    Mfa(String),
}

impl ObligationError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unknown(_) => {
                "Use `@id`, `@doc`, `@stepup`, `@mfa` or `@factor`; write anything else as a comment."
            }
            Self::StepUp(_) => "Write a duration such as `@stepup(\"300s\")` or `@stepup(\"5m\")`.",
            Self::Factor(_) => "Write `@factor(\"mfa\")` or `@factor(\"phishing-resistant\")`.",
            Self::Mfa(_) => "Write `@mfa` alone, or `@factor(\"phishing-resistant\")`.",
        }
    }
}

impl Obligations {
    /// This of the sign-in.
    #[must_use]
    pub const fn of_sign_in(demand: Demand) -> Self {
        Self { demand }
    }

    /// Adds the obligation that an annotation states.
    ///
    /// # Errors
    /// When the key or its value is not known.
    pub fn add(&mut self, key: &str, value: &str) -> Result<(), ObligationError> {
        match key {
            "stepup" => {
                let wrong = || ObligationError::StepUp(value.to_owned());
                let step_up = value
                    .parse::<SignedDuration>()
                    .ok()
                    .and_then(|duration| Duration::try_from(duration).ok())
                    .ok_or_else(wrong)?;
                if step_up < Duration::from_secs(1) || step_up > Demand::LONGEST {
                    return Err(wrong());
                }
                self.demand = self.demand.union(Demand::fresh(step_up));
                Ok(())
            }
            "mfa" if value.is_empty() => {
                self.demand = self.demand.union(Demand::with(Factor::Mfa));
                Ok(())
            }
            "mfa" => Err(ObligationError::Mfa(value.to_owned())),
            "factor" => {
                let factor = Factor::demanded(value)
                    .ok_or_else(|| ObligationError::Factor(value.to_owned()))?;
                self.demand = self.demand.union(Demand::with(factor));
                Ok(())
            }
            other => Err(ObligationError::Unknown(other.to_owned())),
        }
    }

    /// Everything that either obliges; the stricter where both do.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            demand: self.demand.union(other.demand),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.demand.is_none()
    }

    /// As the record states them: `stepup=300s`, `mfa`, `factor=phishing-resistant`.
    #[must_use]
    pub fn as_recorded(&self) -> Vec<String> {
        self.demand.as_recorded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_up(value: &str) -> Result<Option<Duration>, ObligationError> {
        let mut obligations = Obligations::default();
        obligations.add("stepup", value)?;
        Ok(obligations.demand.max_age())
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
        let add = |key: &str, value: &str| {
            let mut obligations = Obligations::default();
            let added = obligations.add(key, value);
            added.map(|()| obligations.as_recorded().join(" "))
        };
        assert_eq!(add("mfa", "").as_deref(), Ok("mfa"));
        assert_eq!(add("factor", "mfa").as_deref(), Ok("mfa"));
        let resistant = add("factor", "phishing-resistant");
        assert_eq!(resistant.as_deref(), Ok("factor=phishing-resistant"));
        for wrong in ["", "any", "Phishing-Resistant", "otp", "mfa "] {
            let refused = Err(ObligationError::Factor(wrong.to_owned()));
            assert_eq!(add("factor", wrong), refused);
        }
        assert_eq!(
            add("mfa", "yes"),
            Err(ObligationError::Mfa("yes".to_owned()))
        );
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let mut obligations = Obligations::default();
        assert_eq!(
            obligations.add("watermarc", ""),
            Err(ObligationError::Unknown("watermarc".to_owned()))
        );
    }

    #[test]
    fn the_stricter_step_up_stays() {
        let of =
            |seconds: u64| Obligations::of_sign_in(Demand::fresh(Duration::from_secs(seconds)));
        assert_eq!(of(300).union(of(60)), of(60));
        assert_eq!(Obligations::default().union(of(60)), of(60));
        assert_eq!(of(60).union(Obligations::default()), of(60));
        assert_eq!(of(90).as_recorded(), ["stepup=90s"]);
        assert!(Obligations::default().as_recorded().is_empty());
    }
}
