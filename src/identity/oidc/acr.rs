//! The `acr_values` that an issuer is asked for.

use crate::config::Issuer;
use crate::identity::routes::Asked;
use crate::request::{Demand, Factor};

/// What to ask `issuer` for, spelled as it spells them. A wish (OIDC Core §3.1.2.1): what comes back is judged.
pub(in crate::identity) fn acr_values(issuer: &Issuer, asked: Asked) -> &[String] {
    let factor = match asked {
        // A screen is unlocked with one factor: nothing is asked of its strength.
        Asked::Unlock => return &[],
        Asked::SignIn | Asked::Fresh => Factor::Any,
        Asked::StepUp(demand) => demand.factor(),
    };
    let named = match factor {
        Factor::Any => &[],
        Factor::Mfa => issuer.mfa.acr.as_slice(),
        Factor::PhishingResistant => issuer.mfa.phishing_resistant.acr.as_slice(),
    };
    if named.is_empty() {
        &issuer.request_acr
    } else {
        named
    }
}

/// Whether anything that this issuer could state would meet `demand`.
pub(in crate::identity) const fn can_prove(issuer: &Issuer, demand: Demand) -> bool {
    match demand.factor() {
        Factor::Any | Factor::Mfa => true,
        Factor::PhishingResistant => !issuer.mfa.phishing_resistant.is_empty(),
    }
}
