//! A restore that is practised: into scratch, with proof that what comes back would do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::BackupError;
use super::manifest::Manifest;
use super::vault::Vault;
use crate::audit::entry::Entry;
use crate::audit::log::{
    Checkpoint, MasterKey, Reader, RealFiles, Sequences, VerifierKey, each_note, verify,
};
use crate::audit::witnesses;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::store::{Store, Table};

/// What a drill came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    /// The backup.
    pub backup: String,
    /// When.
    pub time: Timestamp,
    /// Age of the newest record in it: what would have been lost (recovery point).
    pub rpo_seconds: u64,
    /// How long it took until trail and store were proven (recovery time).
    pub rto_millis: u64,
    /// Records of the trail that came back.
    pub records: u64,
    /// The newest checkpoint of a witness that the trail was proven against.
    pub witnessed: Option<u64>,
    /// Values of the store that opened.
    pub values: u64,
    /// What was wrong; nothing, where the drill succeeded.
    pub problems: Vec<String>,
}

/// What the trail of a restored backup proved to be.
pub(super) struct Proven {
    records: u64,
    witnessed: Option<u64>,
    newest: Option<Timestamp>,
    problems: Vec<String>,
}

/// Restores a backup into `scratch` and proves its trail.
pub(super) fn practise(
    config: &Config,
    vault: &Vault,
    master: &Arc<MasterKey>,
    manifest: &Manifest,
    scratch: &Path,
    clock: &SharedClock,
) -> Result<Proven, BackupError> {
    super::restore::restore(vault, manifest, scratch)?;
    let trail = scratch.join("trail");
    let end = manifest.trail.sequence;
    let mut witnessed = Vec::new();
    for (index, live) in config.audit.witnesses.iter().enumerate() {
        let restored = scratch.join("witness").join(index.to_string());
        let saved = witnesses::from_file(&restored).ok();
        let asked = witnesses::ask(std::slice::from_ref(live), &vault.verifier, clock).read;
        let live_notes = asked.into_iter().map(|(_, notes)| ("live", notes));
        for (place, text) in saved
            .map(|notes| ("saved", notes))
            .into_iter()
            .chain(live_notes)
        {
            let notes = up_to(&text, &vault.verifier, end);
            witnessed.push((format!("{place} witness {live}"), notes));
        }
    }
    let places: Vec<(&str, &str)> = witnessed
        .iter()
        .map(|(place, text)| (place.as_str(), text.as_str()))
        .collect();
    let report = verify(
        &RealFiles,
        &trail,
        &vault.verifier,
        &places,
        Some(&**master),
    )?;
    let mut problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    if report.last != end {
        problems.push(format!(
            "the trail ends with record {}, not {end} as the manifest says",
            report.last
        ));
    }
    if report.newest_witnessed.is_none() {
        problems.push("no witness vouches for any of it".to_owned());
    }
    Ok(Proven {
        records: report.records,
        witnessed: report.newest_witnessed,
        newest: newest_time(&trail, master, end)?,
        problems,
    })
}

/// The checkpoints of a witness as far as the backup goes: what came later cannot be in it.
fn up_to(text: &str, key: &VerifierKey, end: u64) -> String {
    let mut kept = String::new();
    // Reading from memory does not fail.
    let _ = each_note(text.as_bytes(), |note| {
        let later = Checkpoint::open(note, key).is_ok_and(|found| found.sequence > end);
        if !later {
            kept.extend(["\n\n", note, "\n"]);
        }
    });
    kept
}

fn newest_time(
    trail: &Path,
    master: &Arc<MasterKey>,
    end: u64,
) -> Result<Option<Timestamp>, BackupError> {
    let range = Sequences { from: end, to: end };
    let mut reader = Reader::new(Arc::new(RealFiles), trail, Arc::clone(master), range);
    let record = reader.next_record()?;
    Ok(record
        .and_then(|record| Entry::from_bytes(&record.payload).ok())
        .map(|entry| entry.time))
}

/// Opens the restored store and every value in it.
pub(super) async fn open_store(
    config: &Config,
    scratch: &Path,
    clock: SharedClock,
) -> Result<u64, BackupError> {
    let key = MasterKey::read(&config.store.key)?;
    let path = scratch.join("store.redb");
    let store = Store::embedded_with(&path, &key.derive_inputs(), clock).await?;
    store.bump_epoch().await?;
    let mut values = 0_u64;
    for table in Table::ALL {
        let mut after = None;
        loop {
            let page = store.scan(*table, after.as_deref()).await?;
            let opened = u64::try_from(page.entries.len()).unwrap_or(u64::MAX);
            values = values.saturating_add(opened);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    Ok(values)
}

/// Sums a drill up.
pub(super) fn sum_up(
    manifest: &Manifest,
    proven: Result<Proven, BackupError>,
    values: Result<u64, BackupError>,
    now: Timestamp,
    took: Duration,
) -> Drilled {
    let mut problems = Vec::new();
    let (records, witnessed, newest) = match proven {
        Ok(proven) => {
            problems.extend(proven.problems);
            (proven.records, proven.witnessed, proven.newest)
        }
        Err(error) => {
            problems.push(error.to_string());
            (0, None, None)
        }
    };
    let values = values.unwrap_or_else(|error| {
        problems.push(format!("the store: {error}"));
        0
    });
    let age = now.duration_since(newest.unwrap_or(manifest.time));
    Drilled {
        backup: manifest.id.clone(),
        time: now,
        rpo_seconds: u64::try_from(age.as_secs()).unwrap_or_default(),
        rto_millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        records,
        witnessed,
        values,
        problems,
    }
}
