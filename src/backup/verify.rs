//! Verifying what lies at a target: every manifest, every object, and that no backup is missing.
//!
//! *Never*: stops at the first problem, or believes a length where it can read the bytes.

use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};

use super::error::BackupError;
use super::manifest::Link;
use super::vault::{Kept, Vault};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Backups looked at.
    pub backups: u64,
    /// Objects opened.
    pub objects: u64,
    /// Bytes of them, in clear.
    pub bytes: u64,
    /// Objects that no backup refers to, as an interrupted one leaves them.
    pub unreferenced: u64,
    /// The newest backup at the target.
    pub newest: Option<String>,
    /// Whether the target was compared with what the gateway knows to be the newest backup.
    pub compared: bool,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// Verifies every backup, or only `id`. `expected` is one that must be there.
///
/// # Errors
/// [`BackupError`] where the target cannot be read at all.
pub fn verify(
    vault: &Vault,
    id: Option<&str>,
    expected: Option<&Link>,
) -> Result<Verified, BackupError> {
    let mut found = Verified::default();
    let mut kept = Vec::new();
    if let Some(id) = id {
        kept.push(vault.backup(Some(id))?);
    } else {
        for id in vault.ids()? {
            match vault.manifest(&id) {
                Ok(one) => kept.push(one),
                Err(error) => found.problems.push(error.to_string()),
            }
        }
        kept.sort_by_key(|one| one.manifest.number);
        chain(&kept, expected, &mut found);
    }
    found.newest = kept.last().map(|one| one.manifest.id.clone());
    let mut seen = BTreeSet::new();
    for one in &kept {
        found.backups = found.backups.saturating_add(1);
        for file in &one.manifest.files {
            if !seen.insert((file.object.clone(), file.sealed.clone())) {
                continue;
            }
            found.objects = found.objects.saturating_add(1);
            found.bytes = found.bytes.saturating_add(file.size);
            if let Err(error) = vault.content(file, io::sink()) {
                let id = &one.manifest.id;
                found
                    .problems
                    .push(format!("{error} ({} of {id})", file.path));
            }
        }
    }
    if id.is_none() {
        let known: BTreeSet<&str> = seen.iter().map(|(object, _)| object.as_str()).collect();
        let stored = vault.target.list("objects")?;
        let unknown = stored.iter().filter(|name| !known.contains(name.as_str()));
        found.unreferenced = u64::try_from(unknown.count()).unwrap_or(u64::MAX);
    }
    Ok(found)
}

/// Each backup names the one before; the one that the gateway made last is among them.
fn chain(kept: &[Kept], expected: Option<&Link>, found: &mut Verified) {
    let mut before: Option<&Kept> = None;
    for one in kept {
        let manifest = &one.manifest;
        let number = before.map_or(1, |before| before.manifest.number.saturating_add(1));
        if manifest.number != number {
            found.problems.push(format!(
                "backup {number} is missing or doubled: {} has number {}",
                manifest.id, manifest.number
            ));
        } else if manifest.previous != before.map(Kept::link) {
            found.problems.push(format!(
                "{} does not continue the backup before it",
                manifest.id
            ));
        }
        before = Some(one);
    }
    if let Some(expected) = expected {
        found.compared = true;
        // Newer ones are possible: a store that was restored remembers the backup before its own.
        if !kept.iter().any(|one| one.link() == *expected) {
            found.problems.push(format!(
                "{} is gone, which the gateway made last: the target was rolled back",
                expected.id
            ));
        }
    }
}
