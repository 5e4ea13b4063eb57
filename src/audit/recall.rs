//! What a record of the trail says of a decision: as much of an entry as it takes to decide again.
//!
//! Reading less of each record is what makes reading millions of them quick.

use jiff::Timestamp;
use serde::Deserialize;

use super::entry::{EntryError, Phase, VERSION};
use crate::request::Facts;

/// A record, as far as it tells of a decision.
#[derive(Debug, Clone, Deserialize)]
pub struct Recalled {
    v: u32,
    /// When, UTC.
    pub time: Timestamp,
    /// What kind of record.
    pub phase: Phase,
    /// The request, as far as it was known.
    #[serde(default)]
    pub facts: Option<Facts>,
    /// For a refusal: its code.
    #[serde(default)]
    pub refusal: Option<String>,
}

impl Recalled {
    /// Reads a document from the log.
    ///
    /// # Errors
    /// [`EntryError`] for anything that is not an entry of a version that this build knows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
        let read: Self = serde_json::from_slice(bytes)?;
        read.checked()
    }

    /// Reads a document that came from a running gateway.
    ///
    /// # Errors
    /// As [`Recalled::from_bytes`].
    pub fn from_value(value: serde_json::Value) -> Result<Self, EntryError> {
        let read: Self = serde_json::from_value(value)?;
        read.checked()
    }

    fn checked(self) -> Result<Self, EntryError> {
        if self.v == VERSION {
            Ok(self)
        } else {
            Err(EntryError::Version(self.v))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::{admission, time};

    #[test]
    fn a_record_is_recalled_as_it_was_written() {
        let entry = admission(&["4"]);
        let bytes = entry.to_bytes().unwrap();
        let recalled = Recalled::from_bytes(&bytes).unwrap();
        assert_eq!((recalled.time, recalled.phase), (time(), Phase::Admit));
        assert_eq!(recalled.facts, entry.facts);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(Recalled::from_value(value).unwrap().facts, entry.facts);
    }

    #[test]
    fn a_newer_version_is_refused() {
        let text = r#"{"v":2,"time":"2026-03-02T07:15:27Z","phase":"event"}"#;
        let error = Recalled::from_bytes(text.as_bytes()).unwrap_err();
        assert!(matches!(error, EntryError::Version(2)));
    }
}
