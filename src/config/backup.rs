//! What is backed up, and where it goes.

use std::path::PathBuf;
use std::time::Duration;

use super::keys::KeyFile;
use super::s3::S3Target;

/// Backups. `[backup]`
#[derive(Debug, Clone)]
pub struct Backup {
    /// The configuration file itself, which is backed up too.
    pub configuration: PathBuf,
    /// Where they go.
    pub target: BackupTarget,
    /// The key file that seals them; never part of a backup.
    pub key: KeyFile,
    /// How often one is made. Default 24 h.
    pub schedule: Duration,
    /// One that is older is an alarm. Default 36 h.
    pub max_age: Duration,
    /// What is saved beside what Chartgate owns.
    pub sources: Vec<BackupSource>,
}

/// Where backups go. `backup.target`
#[derive(Debug, Clone)]
pub enum BackupTarget {
    /// A directory.
    Directory(PathBuf),
    /// A bucket of an S3-compatible store.
    S3(Box<S3Target>),
}

/// Something else that is backed up. `[[backup.source]]`
#[derive(Debug, Clone)]
pub struct BackupSource {
    /// A short name.
    pub name: String,
    /// What it is.
    pub content: BackupContent,
}

/// What a source is.
#[derive(Debug, Clone)]
pub enum BackupContent {
    /// The files below a directory.
    Directory(PathBuf),
    /// What a command prints.
    Command {
        /// Program and arguments; no shell.
        command: Vec<String>,
        /// It is stopped after this. Default 1 h.
        timeout: Duration,
    },
}
