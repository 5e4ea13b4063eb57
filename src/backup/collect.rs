//! What of Chartgate's own belongs into a backup.
//!
//! *Never*: a private key; only the files under which recovery codes seal them, and public keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::BackupError;
use crate::audit::log::{
    Header, RETIRED, RealFiles, SEGMENT_KEYS, VerifierKey, extents, key_file, shredded,
};
use crate::config::{Backup, Config};

/// The most files that one directory may bring along.
const MOST_FILES: usize = 200_000;
/// Deeper than this is a loop.
const DEEPEST: usize = 64;

/// One thing to save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Where it stands in the backup.
    pub(super) path: String,
    /// What is saved.
    pub(super) content: Content,
}

/// What is saved of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// The beginning of a file: so many bytes, or all of it.
    File(PathBuf, Option<u64>),
    /// A text.
    Text(String),
}

impl Item {
    fn file(path: impl Into<String>, from: &Path) -> Self {
        Self {
            path: path.into(),
            content: Content::File(from.to_owned(), None),
        }
    }
}

/// The checkpoints: they are saved before the trail, so that the trail of a backup never ends before its checkpoints.
pub(super) fn checkpoints(config: &Config) -> Vec<Item> {
    let own = config.audit.directory.join("checkpoints");
    let mut items = vec![Item::file("trail/checkpoints", &own)];
    for (index, witness) in config.audit.witnesses.iter().enumerate() {
        items.extend(
            witness
                .file()
                .map(|file| Item::file(format!("witness/{index}"), file)),
        );
    }
    items.retain(is_there);
    items
}

/// The trail as far as record `to`, and what is wrong with it.
pub(super) fn trail(config: &Config, to: u64) -> Result<(Vec<Item>, Vec<String>), BackupError> {
    let directory = &config.audit.directory;
    let (mut items, mut problems, mut headers) = (Vec::new(), Vec::new(), Vec::new());
    for extent in extents(&RealFiles, directory, to)? {
        // A damaged segment is evidence: it is saved as it is.
        headers.push(extent.header.clone());
        let bytes = match extent.flaw {
            Some(flaw) => {
                problems.push(format!(
                    "the trail's segment {} is damaged: {flaw}",
                    extent.name
                ));
                None
            }
            None => Some(extent.bytes),
        };
        items.push(Item {
            path: format!("trail/segments/{}", extent.name),
            content: Content::File(extent.path, bytes),
        });
    }
    let torn = directory.join("torn");
    if torn.is_dir() {
        let (files, skipped) = files_below(&torn, "trail/torn")?;
        items.extend(files);
        problems.extend(skipped);
    }
    let (keys, missing) = segment_keys(directory, &headers)?;
    items.extend(keys);
    problems.extend(missing);
    // Behind the keys: whatever is shredded or removed meanwhile has its note in it.
    let retired = Item::file("trail/retired", &directory.join(RETIRED));
    items.extend(Some(retired).filter(is_there));
    Ok((items, problems))
}

/// The own keys of these segments, and which of them are missing though nothing says that they were destroyed.
fn segment_keys(
    directory: &Path,
    headers: &[Header],
) -> Result<(Vec<Item>, Vec<String>), BackupError> {
    let shredded = shredded(&RealFiles, directory, headers.iter())?;
    let shredded: BTreeSet<Uuid> = shredded.into_iter().map(|note| note.segment).collect();
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    for header in headers.iter().filter(|header| header.segment_key.is_some()) {
        let name = key_file(header.first, header.segment);
        let path = directory.join(SEGMENT_KEYS).join(&name);
        if path.is_file() {
            items.push(Item::file(format!("trail/{SEGMENT_KEYS}/{name}"), &path));
        } else if !shredded.contains(&header.segment) {
            missing.push(format!(
                "the own key of the trail's segment {} is missing",
                header.file_name()
            ));
        }
    }
    Ok((items, missing))
}

/// Policies, configuration, certificates, public keys and recovery wraps.
pub(super) fn rest(
    config: &Config,
    backup: &Backup,
    verifier: &VerifierKey,
) -> Result<(Vec<Item>, Vec<String>), BackupError> {
    let (mut items, problems) = files_below(&config.policy.directory, "policies")?;
    items.push(Item::file("config/chartgate.toml", &backup.configuration));
    for emr in &config.emrs {
        if !emr.profile.starts_with(&config.policy.directory) {
            items.push(Item::file(
                format!("config/profiles/{}.toml", emr.name),
                &emr.profile,
            ));
        }
    }
    for (index, certificate) in config.certificates.iter().enumerate() {
        items.push(Item::file(
            format!("config/certificates/{index}.pem"),
            &certificate.chain,
        ));
    }
    for key in [&config.audit.master_key, &config.store.key, &backup.key] {
        let wrap = key.with_extension("recovery");
        let name = wrap
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        items.push(Item::file(format!("keys/{name}"), &wrap));
    }
    items.retain(is_there);
    items.push(Item {
        path: "keys/signing.pub".to_owned(),
        content: Content::Text(format!("{verifier}\n")),
    });
    items.dedup();
    Ok((items, problems))
}

fn is_there(item: &Item) -> bool {
    match &item.content {
        Content::File(path, _) => path.is_file(),
        Content::Text(_) => true,
    }
}

/// The regular files below a directory, in order, and what was left out.
pub(super) fn files_below(
    directory: &Path,
    to: &str,
) -> Result<(Vec<Item>, Vec<String>), BackupError> {
    let mut items = Vec::new();
    let mut left_out = 0_usize;
    let mut open = vec![(directory.to_owned(), to.to_owned(), 0_usize)];
    while let Some((directory, to, depth)) = open.pop() {
        let entries = std::fs::read_dir(&directory).map_err(BackupError::io(&directory))?;
        for entry in entries {
            let entry = entry.map_err(BackupError::io(&directory))?;
            let kind = entry.file_type().map_err(BackupError::io(&directory))?;
            let name = entry.file_name();
            let (Some(name), true) = (name.to_str(), depth < DEEPEST) else {
                left_out = left_out.saturating_add(1);
                continue;
            };
            let path = format!("{to}/{name}");
            if kind.is_dir() {
                open.push((entry.path(), path, depth.saturating_add(1)));
            } else if kind.is_file() {
                items.push(Item::file(path, &entry.path()));
            } else {
                // Links lead elsewhere; sockets and devices hold nothing.
                left_out = left_out.saturating_add(1);
            }
            if items.len() > MOST_FILES {
                return Err(BackupError::Refused(format!(
                    "`{}` holds more than {MOST_FILES} files; save it by a command that packs it, such as tar",
                    directory.display()
                )));
            }
        }
    }
    items.sort_by(|a, b| a.path.cmp(&b.path));
    let note =
        format!("{to}: {left_out} links, special files or names that are not UTF-8 were left out");
    Ok((items, (left_out > 0).then_some(note).into_iter().collect()))
}
