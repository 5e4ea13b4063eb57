//! The file of the embedded database, and who may read it.
//!
//! *Owns*: the file (mode 0600, in a directory of mode 0700).
//! *On failure*: [`StoreError::Unavailable`] with the file's name.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError};

use crate::store::StoreError;

pub(in crate::store) fn open_file(path: &Path) -> Result<Database, StoreError> {
    let failed = |source: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("{}: {source}", path.display()))
    };
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| failed(&source))?;
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| failed(&source))?;
    // SECURITY: a copy put back from a backup may have come with the permissions of the backup.
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(|source| failed(&source))?;
    let open = |source: DatabaseError| {
        if matches!(source, DatabaseError::DatabaseAlreadyOpen) {
            failed(
                &"another chartgate process has it open; is the gateway running, or just starting?",
            )
        } else {
            failed(&source)
        }
    };
    let backend = FileBackend::new(file).map_err(open)?;
    Database::builder()
        .create_with_backend(backend)
        .map_err(open)
}
