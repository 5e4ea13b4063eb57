//! Key files on the disk: who may read them, and writing them all or nothing.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::KeyError;
use crate::config::secrets;

/// Key files are a line for each key; anything longer is not one.
const KEY_FILE_LIMIT: u64 = 64 * 1024;

/// Writes a new file with mode 0600 and makes it durable.
pub(in crate::audit::log) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    write_new(path, bytes, 0o600)
}

/// Puts a file with mode 0600 in place of another, all or nothing, durably.
pub(in crate::audit::log) fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let failed = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // What an interrupted replacement left behind was never in force.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    write_private(&new, bytes)?;
    std::fs::rename(&new, path)
        .and_then(|()| {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        })
        .map_err(failed)
}

/// Writes a new file that everyone may read and makes it durable.
pub(in crate::audit::log) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    write_new(path, bytes, 0o644)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|source| KeyError::Io {
            path: path.to_owned(),
            source,
        })
}

pub(in crate::audit::log) fn read_limited(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(KEY_FILE_LIMIT).read_to_string(&mut text))
        .map_err(|source| KeyError::Io {
            path: path.to_owned(),
            source,
        })?;
    Ok(text)
}

/// Reads a file that others than its owner cannot read or write.
pub(in crate::audit::log) fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let io_error = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    // SECURITY: the mode is taken from the opened file, so that the name cannot be swapped
    // between the check and the reading.
    let file = std::fs::File::open(path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    if secrets::is_exposed(&metadata) {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode: metadata.mode() & 0o777,
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(KEY_FILE_LIMIT)
        .read_to_string(&mut text)
        .map_err(io_error)?;
    Ok(text)
}
