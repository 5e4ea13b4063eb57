//! Where the trail lies, for who reads it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::ask::Age;
use crate::audit::filter::Filter;
use crate::audit::hold::{HoldError, Holds};
use crate::audit::index::Index;
use crate::audit::links::Known;
use crate::audit::log::{Files, Header, LogError, MasterKey, retirable};
use crate::audit::query::Query;
use crate::audit::show::Show;
use crate::config;
use crate::config::sink::Beginning;
use crate::config::witness::Witness;
use crate::store::Store;

/// How long witnesses may take beyond the checkpoint interval.
const WITNESS_PATIENCE: Duration = Duration::from_secs(30);

/// Where the trail lies, what opens it, and how long it is kept.
#[derive(Debug, Clone)]
pub struct Holdings {
    pub(in crate::audit) files: Arc<dyn Files>,
    pub(in crate::audit) directory: PathBuf,
    pub(in crate::audit) master: Arc<MasterKey>,
    pub(in crate::audit) index: Index,
    pub(in crate::audit) signing_key: PathBuf,
    /// Files that witnesses keep on this host's volumes.
    pub(in crate::audit) witnesses: Vec<Witness>,
    pub(in crate::audit) years: u16,
    /// How long witnesses may take to hold what is on record.
    pub(in crate::audit) patience: Duration,
    /// The target of the archive, where one is configured: it must hold what is removed here.
    pub(in crate::audit) archive: Option<String>,
    /// The sinks that are configured, and where a new one begins: they must have what is removed here.
    pub(in crate::audit) sinks: Vec<(String, Beginning)>,
    holds: Option<Holds>,
    links: Known,
}

impl Holdings {
    /// The trail of this configuration.
    #[must_use]
    pub fn new(config: &config::Audit, files: Arc<dyn Files>, master: Arc<MasterKey>) -> Self {
        Self {
            index: Index::new(Arc::clone(&files), &config.directory, Arc::clone(&master)),
            files,
            directory: config.directory.clone(),
            master,
            signing_key: config.signing_key.clone(),
            witnesses: config.witnesses.clone(),
            years: config.retention_years,
            patience: slowest(config).saturating_add(WITNESS_PATIENCE),
            archive: config
                .archive
                .as_ref()
                .map(|archive| archive.target.describe()),
            sinks: sinks(config),
            holds: None,
            links: Known::default(),
        }
    }

    /// The same with the store, which knows what is under legal hold, archived and shipped: without it nothing is
    /// removed.
    #[must_use]
    pub fn with_store(mut self, store: Store) -> Self {
        self.holds = Some(Holds::new(store).with_links(self.links.clone()));
        self
    }

    /// The same with what is known of patients who have several identifiers: holds on them cover all of these.
    #[must_use]
    pub fn with_links(mut self, links: Known) -> Self {
        self.holds = self.holds.map(|holds| holds.with_links(links.clone()));
        self.links = links;
        self
    }

    /// The legal holds.
    ///
    /// # Errors
    /// [`HoldError::NoStore`] where the store is not open.
    pub fn holds(&self) -> Result<&Holds, HoldError> {
        self.holds.as_ref().ok_or(HoldError::NoStore)
    }

    /// The headers of all segments, in order.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn headers(&self) -> Result<Vec<Header>, LogError> {
        let segments = self.index.segments()?;
        Ok(segments.iter().map(|s| s.header().clone()).collect())
    }

    /// How far back it reaches; reads the headers of segments that are not known yet.
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
    pub(super) fn query(&self, filter: Filter, through: u64) -> Query {
        Query::new(&self.index, filter, through)
    }

    /// Single records up to the record `through`.
    pub(super) fn show(&self, filter: Filter, through: u64) -> Show {
        Show::through(&self.index, filter, through)
    }
}

fn sinks(config: &config::Audit) -> Vec<(String, Beginning)> {
    let sinks = config.sinks.iter();
    sinks.map(|sink| (sink.name.clone(), sink.from)).collect()
}

/// The longest that a witness that works waits for the next checkpoint.
fn slowest(config: &config::Audit) -> Duration {
    let every = config.witnesses.iter().map(Witness::every);
    config
        .checkpoint_interval
        .saturating_add(every.max().unwrap_or_default())
}
