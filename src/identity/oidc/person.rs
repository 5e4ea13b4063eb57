//! Who someone is, by the claims of their provider and what its configuration makes of them. Pure.
//!
//! *Never*: one name, or one identifier, for two people of an issuer.

use std::collections::BTreeSet;

use serde_json::Value;

use super::claims::{ClaimsError, identifier, strings};
use super::training::{StatedTraining, stated_training};
use crate::config::issuer::ClaimMapping;

/// Who someone is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The stable identifier, by the issuer's subject claim.
    pub subject: String,
    /// The user name, by the issuer's name claim; else the subject.
    pub name: String,
    /// The values of the issuer's role claims, each once.
    pub role_values: Vec<String>,
    /// Whether the provider left a role claim out for its size, so that these values are not all (groups overage).
    pub roles_elsewhere: bool,
    /// The department.
    pub department: Option<String>,
    /// Until when their training holds.
    pub training: StatedTraining,
}

impl Person {
    /// Reads the claims of someone whose ID token was believed. Total.
    ///
    /// # Errors
    /// [`ClaimsError`], where the claims do not name one person.
    pub fn read(claims: &Value, mapping: &ClaimMapping) -> Result<Self, ClaimsError> {
        let at = |pointer: &str| claims.pointer(pointer);
        let subject =
            identifier(at(&mapping.subject)).ok_or(ClaimsError::Claim("subject_claim"))?;
        if !mapping.require_email_domains.is_empty() {
            email(claims, mapping)?;
        }
        Ok(Self {
            name: name(identifier(at(&mapping.name)), &subject, mapping)?,
            role_values: distinct(mapping.roles.iter().flat_map(|claim| strings(at(claim)))),
            roles_elsewhere: mapping
                .roles
                .iter()
                .any(|claim| is_elsewhere(claims, claim)),
            department: department(claims, mapping),
            training: mapping
                .training
                .as_deref()
                .map_or(StatedTraining::Nothing, |claim| stated_training(at(claim))),
            subject,
        })
    }

    /// The same person, with the roles' values that were read elsewhere.
    #[must_use]
    pub fn with_values(mut self, more: Vec<String>) -> Self {
        self.role_values = distinct(self.role_values.into_iter().chain(more));
        self.roles_elsewhere = false;
        self
    }
}

/// Each value once, in their order.
fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    values.filter(|value| seen.insert(value.clone())).collect()
}

/// The user name.
///
/// SECURITY: two people must not get one name. Where a domain is taken off, what is left has no `@`, so only names
/// with an `@` may be kept as they are, and a name without one has no place (`a@b@hospital.example` keeps all of it).
fn name(
    claimed: Option<String>,
    subject: &str,
    mapping: &ClaimMapping,
) -> Result<String, ClaimsError> {
    let plain = match &mapping.name_strip_domain {
        None => claimed.unwrap_or_else(|| subject.to_owned()),
        Some(domain) => {
            let whole = claimed
                .filter(|name| name.contains('@'))
                .ok_or(ClaimsError::Name)?;
            let local = whole
                .split_once('@')
                .filter(|(local, rest)| !local.trim().is_empty() && rest == domain)
                .map(|(local, _)| local.to_owned());
            local.unwrap_or(whole)
        }
    };
    let named = match &mapping.name_suffix {
        Some(suffix) => format!("{plain}{suffix}"),
        None => plain,
    };
    // The parts are identifiers; together they must still be one.
    identifier(Some(&Value::String(named))).ok_or(ClaimsError::Name)
}

/// Whether the e-mail address is of a domain that is demanded.
///
/// SECURITY: CVE-2026-40574, `a@evil@hosp.org`: an address with two `@` has no domain. What the provider itself does not
/// call verified proves nothing.
fn email(claims: &Value, mapping: &ClaimMapping) -> Result<(), ClaimsError> {
    let verified = match claims.get("email_verified") {
        None | Some(Value::Null | Value::Bool(true)) => true,
        Some(Value::String(word)) => word == "true",
        Some(Value::Bool(false) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => false,
    };
    let address = identifier(claims.pointer(&mapping.email)).filter(|_| verified);
    let domain = address.as_deref().and_then(domain_of);
    let is_accepted = domain.is_some_and(|domain| mapping.require_email_domains.contains(&domain));
    is_accepted.then_some(()).ok_or(ClaimsError::Email)
}

/// The domain of an e-mail address, lower case; none where it has not exactly one `@` between two texts.
pub(in crate::identity) fn domain_of(address: &str) -> Option<String> {
    let (local, domain) = address.split_once('@')?;
    let is_one = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
    is_one.then(|| domain.to_ascii_lowercase())
}

fn department(claims: &Value, mapping: &ClaimMapping) -> Option<String> {
    let stated = claims.pointer(mapping.department.as_ref()?);
    if mapping.departments.is_empty() {
        return identifier(stated);
    }
    strings(stated)
        .iter()
        .find_map(|value| mapping.departments.get(value).cloned())
}

/// Whether the provider says that the claim at `pointer` is to be read elsewhere: by the names of distributed claims
/// (OIDC Core §5.6.2), or by `hasgroups`, which Entra ID writes where there is no room for an address.
fn is_elsewhere(claims: &Value, pointer: &str) -> bool {
    let first = pointer.split('/').nth(1).unwrap_or("");
    let first = first.replace("~1", "/").replace("~0", "~");
    let is_named = claims
        .get("_claim_names")
        .is_some_and(|names| names.get(&first).is_some());
    let has_groups = match claims.get("hasgroups") {
        Some(Value::Bool(has)) => *has,
        Some(Value::String(word)) => word == "true",
        None | Some(Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_)) => false,
    };
    is_named || (has_groups && first == "groups")
}

#[cfg(test)]
#[path = "person_tests.rs"]
mod tests;
