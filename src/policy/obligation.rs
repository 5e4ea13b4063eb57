//! What a permit obliges: the annotations of a policy that are more than text.
//!
//! *Never*: an annotation that is ignored. A key that is not known here keeps the bundle from loading, because
//! whoever wrote it meant something by it.

use std::time::Duration;

use jiff::SignedDuration;

/// The longest step-up that makes sense: a session does not last longer.
const LONGEST: Duration = Duration::from_hours(24);

/// What a permit obliges. An annotation that is not one of these does not load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Obligations {
    /// `@stepup("300s")`: the authentication may not be older.
    pub step_up: Option<Duration>,
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
}

impl ObligationError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "Use `@id`, `@doc` or `@stepup`; write anything else as a comment.",
            Self::StepUp(_) => "Write a duration such as `@stepup(\"300s\")` or `@stepup(\"5m\")`.",
        }
    }
}

impl Obligations {
    /// A sign-in not older than `limit`.
    #[must_use]
    pub const fn fresh_sign_in(limit: Duration) -> Self {
        Self {
            step_up: Some(limit),
        }
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
                if step_up < Duration::from_secs(1) || step_up > LONGEST {
                    return Err(wrong());
                }
                self.step_up = Some(step_up);
                Ok(())
            }
            other => Err(ObligationError::Unknown(other.to_owned())),
        }
    }

    /// Everything that either obliges; the stricter where both do.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            step_up: match (self.step_up, other.step_up) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            },
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.step_up.is_none()
    }

    /// As the record states them: `stepup=300s`.
    #[must_use]
    pub fn as_recorded(&self) -> Vec<String> {
        self.step_up
            .map(|step_up| format!("stepup={}s", step_up.as_secs()))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_up(value: &str) -> Result<Option<Duration>, ObligationError> {
        let mut obligations = Obligations::default();
        obligations.add("stepup", value)?;
        Ok(obligations.step_up)
    }

    #[test]
    fn a_step_up_is_a_positive_duration_within_a_day() {
        assert_eq!(step_up("300s"), Ok(Some(Duration::from_mins(5))));
        assert_eq!(step_up("5m"), Ok(Some(Duration::from_mins(5))));
        assert_eq!(step_up("24h"), Ok(Some(LONGEST)));
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
    fn an_unknown_key_is_refused() {
        let mut obligations = Obligations::default();
        assert_eq!(
            obligations.add("watermarc", ""),
            Err(ObligationError::Unknown("watermarc".to_owned()))
        );
    }

    #[test]
    fn the_stricter_step_up_stays() {
        let of = |seconds: u64| Obligations {
            step_up: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(of(300).union(of(60)), of(60));
        assert_eq!(Obligations::default().union(of(60)), of(60));
        assert_eq!(of(60).union(Obligations::default()), of(60));
        assert_eq!(of(90).as_recorded(), ["stepup=90s"]);
        assert!(Obligations::default().as_recorded().is_empty());
    }
}
