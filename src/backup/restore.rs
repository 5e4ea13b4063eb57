//! Bringing a backup back into an empty directory, and what a gateway does when it finds itself restored.
//!
//! *Never*: overwrites anything, or brings a session back: sign-ins, logins and bindings are taken out of the store
//! before anyone can use it, and its epoch moves on at the next start.

use std::collections::BTreeMap;
use std::fs::{File as OpenFile, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use super::error::BackupError;
use super::manifest::Manifest;
use super::target::private_directory;
use super::vault::Vault;
use crate::audit::trail::{Audit, AuditError};
use crate::request::Event;
use crate::store::{Store, end_sessions};

/// Restores a backup into `to`, which must not exist or be empty. Every byte is checked on its way.
///
/// # Errors
/// [`BackupError`]; what was written until then must not be used.
pub fn restore(vault: &Vault, manifest: &Manifest, to: &Path) -> Result<(), BackupError> {
    claim(to)?;
    for file in &manifest.files {
        let path = inside(to, &file.path)?;
        private_directory(path.parent().unwrap_or(to))?;
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(BackupError::io(&path))?;
        vault.content(file, &mut out)?;
        out.sync_all().map_err(BackupError::io(&path))?;
    }
    let store = to.join("store.redb");
    if store.exists() {
        end_sessions(&store)?;
        mark(&store, manifest)?;
    }
    OpenFile::open(to)
        .and_then(|directory| directory.sync_all())
        .map_err(BackupError::io(to))
}

fn claim(to: &Path) -> Result<(), BackupError> {
    match std::fs::read_dir(to) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(BackupError::Refused(format!(
                "`{}` is not empty; a restore never overwrites: name a new directory",
                to.display()
            ))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => private_directory(to),
        Err(error) => Err(BackupError::io(to)(error)),
    }
}

/// SECURITY: a manifest is signed, and still does not choose where on this machine something is written.
fn inside(root: &Path, path: &str) -> Result<PathBuf, BackupError> {
    let relative = Path::new(path);
    let plain = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if plain && !path.is_empty() {
        Ok(root.join(relative))
    } else {
        Err(BackupError::altered(path, "it leads out of the directory"))
    }
}

/// Where a restored store says that it is one.
#[must_use]
pub fn marker(store: &Path) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".restored");
    store.with_file_name(name)
}

fn mark(store: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let path = marker(store);
    let text = serde_json::json!({
        "backup": manifest.id,
        "made": manifest.time,
        "trail_sequence": manifest.trail.sequence.to_string(),
    });
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(BackupError::io(&path))?;
    file.write_all(text.to_string().as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(BackupError::io(&path))
}

/// Why a restored store could not be put in order.
#[derive(Debug, thiserror::Error)]
pub enum RestoredError {
    /// The store or the marker.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Ends every session of a store that was restored, and puts that on record. Before anyone is served.
///
/// # Errors
/// [`RestoredError`]; the marker then stays, and the next start tries again.
pub async fn settle(store: &Store, path: &Path, audit: &Audit) -> Result<(), RestoredError> {
    let marker = marker(path);
    let text = match std::fs::read_to_string(&marker) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::io(&marker)(error).into()),
    };
    let epoch = store.bump_epoch().await.map_err(BackupError::from)?;
    let mut detail: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
    detail.insert("epoch".to_owned(), epoch.to_string());
    audit.event(Event::Restored, None, detail).await?;
    std::fs::remove_file(&marker).map_err(BackupError::io(&marker))?;
    tracing::warn!("the store was restored from a backup; every session has ended");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out() {
        let root = Path::new("/r");
        for path in ["../x", "/etc/x", "a/../../x", "", "."] {
            assert!(inside(root, path).is_err(), "{path}");
        }
        assert_eq!(inside(root, "a/b").unwrap(), Path::new("/r/a/b"));
    }

    #[test]
    fn only_an_empty_place_is_claimed() {
        let dir = tempfile::tempdir().unwrap();
        claim(dir.path()).unwrap();
        claim(&dir.path().join("new/deep")).unwrap();
        assert!(matches!(claim(dir.path()), Err(BackupError::Refused(_))));
    }
}
