//! What can go wrong with the log, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::crypt::CryptError;
use super::keys::KeyError;
use super::note::NoteError;
use super::retired::Retired;

/// A failure of the log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing can be made durable at present.
    #[error("the audit log cannot be written: {reason}")]
    Unavailable {
        /// Why.
        reason: Arc<str>,
    },
    /// The disk does not answer. The record was handed to it and may become durable yet.
    #[error("the audit log cannot be written: {reason}; the record may be in it when it can")]
    InDoubt {
        /// Why.
        reason: Arc<str>,
    },
    /// The bound on records in flight is reached.
    #[error("too many audit records are waiting for the disk")]
    Busy,
    /// Little space is left, and it is kept for care.
    #[error("the disk of the audit log is nearly full; what is left is kept for care")]
    LowSpace,
    /// The log was shut down.
    #[error("the audit log is closed")]
    Closed,
    /// Another process owns the trail.
    #[error(
        "another process holds {path}; stop the other chartgate that uses this data directory, \
         or give this one a directory of its own"
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A segment that should be there is not.
    #[error(
        "segment {segment} (number {number}) is missing from the log; put it back from the \
         archive, and run `chartgate audit verify`"
    )]
    Missing {
        /// The segment's id, where a later header names it.
        segment: Uuid,
        /// Its place in the log, counted from 1.
        number: u64,
    },
    /// A segment is not what was written.
    #[error(
        "segment {segment} is damaged at record {sequence}: {detail}; keep a copy, run \
         `chartgate audit verify`, and put it back from the archive"
    )]
    Damaged {
        /// The file name.
        segment: String,
        /// The first record that cannot be trusted.
        sequence: u64,
        /// What was found.
        detail: String,
    },
    /// A checkpoint is ahead of the log: it was cut or rolled back.
    #[error(
        "the log ends at record {recovered}, but {place} holds a checkpoint at {witnessed}: \
         records were lost or the log was rolled back. Put the missing segments back; only if \
         they are gone for good, start once with `chartgate serve --accept-truncated-trail`, \
         which puts the loss on record"
    )]
    Ahead {
        /// Who holds the checkpoint.
        place: String,
        /// The checkpoint's sequence number.
        witnessed: u64,
        /// The newest record found.
        recovered: u64,
    },
    /// A checkpoint contradicts the log.
    #[error(
        "{place} holds a checkpoint at record {witnessed} that is not in this log: it was \
         replaced, or continued from an old copy. Put the right log back, or move this one aside \
         and start a new one; only where a witness holds it and the right log is gone for good, \
         start once with `chartgate serve --accept-truncated-trail`, which puts that on record"
    )]
    Diverged {
        /// Who holds the checkpoint.
        place: String,
        /// The checkpoint's sequence number.
        witnessed: u64,
    },
    /// A checkpoint is signed by another key or altered.
    #[error("{place} holds a checkpoint that this log's key did not sign: {source}")]
    ForeignCheckpoint {
        /// Who holds it.
        place: String,
        /// What is wrong.
        source: NoteError,
    },
    /// A file operation failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A cryptographic step failed.
    #[error("{what}: {source}")]
    Crypt {
        /// What was attempted.
        what: &'static str,
        /// The failure.
        source: CryptError,
    },
    /// A key could not be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The segment was written under another master key.
    #[error("segment {segment} needs the master key {wanted}, not {given}")]
    WrongMasterKey {
        /// The file name.
        segment: String,
        /// The key id in its header.
        wanted: String,
        /// The key id that was given.
        given: String,
    },
    /// A segment's own key is not to be had, and no note says that it was destroyed.
    #[error(
        "segment {segment} cannot be read: its key {path} {problem}, and no note says that the segment was shredded. Put \
         the file back from a backup, where it lies in `trail/segment-keys`; only if it is lost for good, move the trail \
         aside and start a new one"
    )]
    SegmentKey {
        /// The file name of the segment.
        segment: String,
        /// The file of its key.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The segment was shredded.
    #[error("segment {} was shredded on {}: its retention was over, and nothing opens it any more", .0.number, .0.time)]
    Shredded(Box<Retired>),
    /// An option makes no sense.
    #[error("audit log option {name}: {problem}")]
    Option {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl LogError {
    /// An I/O failure with its context.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// A failed cryptographic step with its context.
    pub(super) fn crypt(what: &'static str) -> impl FnOnce(CryptError) -> Self {
        move |source| Self::Crypt { what, source }
    }
}
