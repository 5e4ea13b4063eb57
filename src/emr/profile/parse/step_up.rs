//! What a route demands of the sign-in: `step_up = { max_age = "5m", factor = "phishing-resistant" }`.

use std::time::Duration;

use super::super::problem::Problems;
use super::super::raw::RawStepUp;
use super::limits;
use crate::request::{Demand, Factor};

/// Reads the demand; one that cannot be read is a problem, never none.
pub(super) fn demand(raw: Option<&RawStepUp>, line: usize, problems: &mut Problems<'_>) -> Demand {
    let Some(raw) = raw else {
        return Demand::NONE;
    };
    if raw.max_age.is_none() && raw.factor.is_none() {
        problems.add(
            line,
            "`step_up` demands nothing",
            "write `max_age`, `factor` or both, or remove it",
        );
    }
    let max_age = raw.max_age.as_deref().and_then(|text| {
        let range = Duration::from_secs(1)..=Demand::LONGEST;
        let read = limits::duration(text).filter(|age| range.contains(age));
        if read.is_none() {
            problems.add(
                line,
                format!("`max_age` is \"{text}\", which is not from one second to 24 hours"),
                "write a duration such as \"300s\" or \"5m\"",
            );
        }
        read
    });
    let factor = raw.factor.as_deref().map_or(Factor::Any, |word| {
        Factor::demanded(word).unwrap_or_else(|| {
            problems.add(
                line,
                format!("`{word}` is not a factor that can be demanded"),
                "write \"mfa\" or \"phishing-resistant\"",
            );
            Factor::Any
        })
    });
    Demand::new(max_age, factor)
}
