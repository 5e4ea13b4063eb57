//! Where the trail lies, for who reads it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::ask::Age;
use crate::audit::log::{Files, Header, LogError, MasterKey, Sequences, headers, retirable};
use crate::audit::query::{Query, first_sequence};
use crate::audit::show::{Filter, Show};
use crate::config;

/// How long witnesses may take beyond the checkpoint interval.
const WITNESS_PATIENCE: Duration = Duration::from_secs(30);

/// Where the trail lies, what opens it, and how long it is kept.
#[derive(Debug, Clone)]
pub struct Holdings {
    pub(in crate::audit) files: Arc<dyn Files>,
    pub(in crate::audit) directory: PathBuf,
    pub(in crate::audit) master: Arc<MasterKey>,
    pub(in crate::audit) signing_key: PathBuf,
    pub(in crate::audit) years: u16,
    /// How long witnesses may take to hold what is on record.
    pub(in crate::audit) patience: Duration,
}

impl Holdings {
    /// The trail of this configuration.
    #[must_use]
    pub fn new(config: &config::Audit, files: Arc<dyn Files>, master: Arc<MasterKey>) -> Self {
        Self {
            files,
            directory: config.directory.clone(),
            master,
            signing_key: config.signing_key.clone(),
            years: config.retention_years,
            patience: slowest(config).saturating_add(WITNESS_PATIENCE),
        }
    }

    pub(in crate::audit) fn headers(&self) -> Result<Vec<Header>, LogError> {
        headers(&*self.files, &self.directory)
    }

    /// How far back it reaches; reads the segments' headers.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn age(&self, now: Timestamp) -> Result<Age, LogError> {
        let headers = self.headers()?;
        Ok(Age {
            oldest: headers.first().map(|header| header.created),
            segments: headers.len(),
            years: self.years,
            over: retirable(&headers, self.years, now).len(),
        })
    }

    /// Joined rows up to the record `through`.
    pub(super) fn query(&self, filter: Filter, through: u64) -> Result<Query, LogError> {
        let (files, master) = (Arc::clone(&self.files), Arc::clone(&self.master));
        Query::new(files, &self.directory, master, filter, through)
    }

    /// Single records up to the record `through`.
    pub(super) fn show(&self, filter: Filter, through: u64) -> Result<Show, LogError> {
        let range = Sequences {
            from: first_sequence(&*self.files, &self.directory, filter.since)?,
            to: through,
        };
        let (files, master) = (Arc::clone(&self.files), Arc::clone(&self.master));
        Ok(Show::within(files, &self.directory, master, filter, range))
    }
}

/// The longest that a witness that works waits for the next checkpoint.
fn slowest(config: &config::Audit) -> Duration {
    let every = config.witnesses.iter().map(config::witness::Witness::every);
    config
        .checkpoint_interval
        .saturating_add(every.max().unwrap_or_default())
}
