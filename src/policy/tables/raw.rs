//! A table as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A file of tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTables {
    #[serde(default)]
    pub(super) case: Vec<Spanned<RawTable>>,
    #[serde(default)]
    pub(super) matrix: Vec<Spanned<RawTable>>,
}

/// A case or a matrix; which keys belong to which is for the reader to say, with a better message than serde's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTable {
    pub(super) name: String,
    // Who.
    pub(super) roles: Vec<Spanned<String>>,
    pub(super) kind: Option<Spanned<String>>,
    pub(super) user: Option<String>,
    pub(super) mfa: Option<bool>,
    pub(super) training: Option<Spanned<String>>,
    pub(super) zone: Option<Spanned<String>>,
    pub(super) lockdown: Option<Spanned<u8>>,
    pub(super) break_glass: Option<bool>,
    pub(super) care_relation: Option<Spanned<String>>,
    pub(super) purpose: Option<Spanned<String>>,
    pub(super) department: Option<String>,
    #[serde(default)]
    pub(super) shifts: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) wards: Vec<String>,
    pub(super) patient_ward: Option<String>,
    pub(super) device: Option<Spanned<String>>,
    pub(super) mfa_strength: Option<Spanned<String>>,
    pub(super) auth_age: Option<u32>,
    #[serde(default)]
    pub(super) information_types: Vec<Spanned<String>>,
    // What.
    pub(super) action: Option<Spanned<OneOrMany>>,
    pub(super) section: Option<Spanned<OneOrMany>>,
    pub(super) sensitivity: Option<Spanned<String>>,
    pub(super) emr: Option<String>,
    pub(super) patient: Option<String>,
    // The answer.
    pub(super) expect: Option<Spanned<String>>,
    pub(super) policies: Option<Vec<Spanned<String>>>,
    pub(super) obligations: Option<Vec<String>>,
    pub(super) allow: Option<Spanned<BTreeMap<String, Spanned<Vec<String>>>>>,
}

/// A word or a list of words.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn words(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }
}
