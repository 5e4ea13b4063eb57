//! What people do with a running gateway: permissions, broken glasses, cases, containment.
//!
//! It acts on the stages only through the store, the policies in force and the trail.
//! *Owns*: cases, grants, locks, lockdowns; each in its table of the store, each change on record first.
//! *Never*: an act without a name behind it, be it an operator's or a rule's.

pub mod activity_review;
pub mod break_glass;
pub mod cases;
pub mod configuration;
pub mod containment;
pub mod devices;
pub mod disclosures;
pub mod emergency;
pub mod factors;
pub mod incidents;
pub mod lockdown;
pub mod permissions;
pub mod reasons;
pub mod report;
pub mod tokens;

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// The longest that anything is locked or locked down for by `--for`.
pub const LONGEST: Duration = Duration::from_hours(366 * 24);

/// Who acts: an operator, a rule of the detection engine, a user for themselves, or the end of a span that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// An operator, by name.
    Operator(String),
    /// A rule, by its stable id, and the case that it opened.
    Rule {
        /// The rule.
        rule: String,
        /// The case.
        case: Option<u64>,
    },
    /// A user, for themselves.
    User(String),
    /// The time that was set is over.
    Expiry,
    /// The directory or the personnel system.
    Directory,
}

impl By {
    /// The particulars of what was done for a reason.
    fn particulars(
        &self,
        what: &[(&str, &str)],
        reason: &str,
    ) -> std::collections::BTreeMap<String, String> {
        let what = what.iter().copied().chain([("reason", reason)]);
        let mut detail = what
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        self.record_in(&mut detail);
        detail
    }

    /// Adds who acts to the particulars of a record.
    fn record_in(&self, detail: &mut std::collections::BTreeMap<String, String>) {
        match self {
            Self::Operator(name) => {
                detail.insert("operator".to_owned(), name.clone());
            }
            Self::Rule { rule, case } => {
                detail.insert("rule".to_owned(), rule.clone());
                if let Some(case) = case {
                    detail.insert("case".to_owned(), case.to_string());
                }
            }
            Self::User(name) => {
                detail.insert("by".to_owned(), "user".to_owned());
                detail.insert("name".to_owned(), name.clone());
            }
            Self::Expiry => {
                detail.insert("by".to_owned(), "expiry".to_owned());
            }
            Self::Directory => {
                detail.insert("by".to_owned(), "directory".to_owned());
            }
        }
    }
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator(name) | Self::User(name) => f.write_str(name),
            Self::Rule { rule, case: None } => write!(f, "rule {rule}"),
            Self::Rule {
                rule,
                case: Some(case),
            } => write!(f, "rule {rule}, case {case}"),
            Self::Expiry => f.write_str("expiry"),
            Self::Directory => f.write_str("directory"),
        }
    }
}

/// Longest name or reason that an operator gives, in bytes.
const LONGEST_TEXT: usize = 1_024;

/// Whether `text` is a name or a reason: not missing, not too long.
fn is_said(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= LONGEST_TEXT
}

/// A key of the store for something that is named by people: names do not stand in clear on the disk.
pub(crate) fn key_of(name: &str) -> String {
    hex::encode(digest(&SHA256, name.as_bytes()))
}

#[cfg(test)]
pub(crate) mod testing;
