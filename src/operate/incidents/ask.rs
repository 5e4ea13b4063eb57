//! What operators ask about incidents, and what they are told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Incident, IncidentError, Incidents};

/// Bytes of a bundle that one value of an answer carries.
const CHUNK: usize = 384 * 1024;

/// Which incidents to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Those that are open.
    Open,
    /// All that are kept.
    All,
}

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// A value for each incident, newest first.
    List {
        /// Which.
        which: Which,
    },
    /// One value: the incident.
    Show {
        /// Its number.
        number: u64,
    },
    /// Opens an incident; one value: the incident.
    Open {
        /// About this case.
        case: Option<u64>,
        /// What it is about; the case's title where it is left out.
        title: Option<String>,
    },
    /// Packs evidence; a value for each part of the bundle: its bytes in base64.
    Evidence {
        /// Its number.
        number: u64,
        /// From when on the records of the subjects are taken.
        since: Option<Timestamp>,
    },
    /// Closes it; one value: the incident.
    Close {
        /// Its number.
        number: u64,
        /// With what result.
        note: String,
    },
}

impl Incidents {
    /// Answers an operator.
    ///
    /// # Errors
    /// [`IncidentError`].
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Vec<Value>, IncidentError> {
        let incident = match ask {
            Ask::List { which } => {
                let listed = self.list(which).await?;
                return Ok(listed.iter().filter_map(value).collect());
            }
            Ask::Show { number } => self.show(number).await?,
            Ask::Open { case, title } => self.open(case, title, operator).await?,
            Ask::Evidence { number, since } => {
                let bundle = self.evidence(number, since, operator).await?;
                let parts = bundle.chunks(CHUNK).map(|part| json!(BASE64.encode(part)));
                return Ok(parts.collect());
            }
            Ask::Close { number, note } => self.close(number, operator, &note).await?,
        };
        Ok(value(&incident).into_iter().collect())
    }
}

/// As JSON; its types rule out that it cannot be.
fn value(incident: &Incident) -> Option<Value> {
    serde_json::to_value(incident).ok()
}
