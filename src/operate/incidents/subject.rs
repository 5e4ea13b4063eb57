//! Which records of the trail concern an incident.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{IncidentError, MOST_RECORDS};
use crate::audit::entry::{Entry, Phase};
use crate::audit::log::{MasterKey, Reader, RealFiles, Sequences, headers};
use crate::audit::show::ShowError;
use crate::operate::cases::Case;

/// How far a clock may have been set back while the trail was written.
const SET_BACK: SignedDuration = SignedDuration::from_hours(24);

/// What the cases of an incident are about.
#[derive(Debug)]
pub(super) struct Subject {
    cases: BTreeSet<String>,
    /// Ids of entries or requests.
    records: BTreeSet<String>,
    users: BTreeSet<String>,
    patients: BTreeSet<String>,
    since: Timestamp,
}

impl Subject {
    pub(super) fn of(cases: &[Case], since: Timestamp) -> Self {
        Self {
            cases: cases.iter().map(|case| case.number.to_string()).collect(),
            records: cases.iter().flat_map(|case| case.records.clone()).collect(),
            users: cases.iter().filter_map(|case| case.user.clone()).collect(),
            patients: cases
                .iter()
                .filter_map(|case| case.patient.clone())
                .collect(),
            since,
        }
    }

    /// The sequence numbers of the records that concern it, up to `end`.
    pub(super) fn records(
        mut self,
        directory: &Path,
        master: Arc<MasterKey>,
        end: u64,
    ) -> Result<BTreeSet<u64>, IncidentError> {
        let from = self.begins(directory)?;
        let range = Sequences { from, to: end };
        let mut reader = Reader::new(Arc::new(RealFiles), directory, master, range);
        let mut found = BTreeSet::new();
        // Who looked at a list of which only the outcome knows that it concerns this.
        let mut open: HashMap<Uuid, u64> = HashMap::new();
        while let Some(record) = reader.next_record()? {
            let sequence = record.sequence;
            let entry = Entry::from_bytes(&record.payload)
                .map_err(|source| ShowError::Entry { sequence, source })?;
            let admission = match entry.phase {
                Phase::Admit => {
                    open.insert(entry.id, sequence);
                    None
                }
                Phase::Outcome => entry.of.and_then(|of| open.remove(&of)),
                Phase::Refuse | Phase::Event => None,
            };
            if self.concerns(&entry) {
                found.extend(admission);
                // The outcome of an admission names it, and nothing else.
                self.records.insert(entry.id.to_string());
                found.insert(sequence);
            }
            if found.len() > MOST_RECORDS {
                return Err(IncidentError::TooManyRecords);
            }
        }
        Ok(found)
    }

    /// The first record that can concern it: ids tell their time, and segments theirs.
    fn begins(&self, directory: &Path) -> Result<u64, IncidentError> {
        let named = self.records.iter().filter_map(|id| time_of(id));
        let earliest = named.fold(self.since, Timestamp::min);
        let earliest = earliest.saturating_sub(SET_BACK).unwrap_or(earliest);
        let headers = headers(&RealFiles, directory)?;
        let before = headers.iter().filter(|header| header.created <= earliest);
        Ok(before.map(|header| header.first).max().unwrap_or_default())
    }

    fn concerns(&self, entry: &Entry) -> bool {
        let named = |id: &str| self.records.contains(id);
        let detail = |key: &str| entry.detail.get(key);
        let request = entry.facts.as_ref().map(|facts| facts.request.as_str());
        let by_name = named(&entry.id.to_string())
            || entry.of.is_some_and(|of| named(&of.to_string()))
            || request.is_some_and(named)
            || detail("case").is_some_and(|case| self.cases.contains(case));
        if by_name {
            return true;
        }
        if entry.time < self.since {
            return false;
        }
        let principal = entry.facts.as_ref().and_then(|f| f.principal.as_ref());
        let acts = principal
            .is_some_and(|p| self.users.contains(&p.id()) || self.users.contains(p.display()));
        let user = ["user", "name"]
            .into_iter()
            .filter_map(detail)
            .any(|user| self.users.contains(user));
        let patient = entry
            .patients()
            .any(|patient| self.patients.contains(&patient.id))
            || detail("patient").is_some_and(|patient| self.patients.contains(patient));
        acts || user || patient
    }
}

/// When a `UUIDv7` was made.
fn time_of(id: &str) -> Option<Timestamp> {
    let made = Uuid::parse_str(id).ok()?.get_timestamp()?;
    let (seconds, nanos) = made.to_unix();
    let seconds = i64::try_from(seconds).ok()?;
    Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()
}
