//! Evidence: records with their keys, what proves them, and the signature over it all, in one file.
//!
//! `docs/incidents.md` says what is in a bundle and how to verify one without this program.
//! *Never*: a file that the manifest does not name; a record without its proof.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::tar::{self, File};
use crate::audit::entry::Entry;
use crate::audit::log::{Disclosure, NoteError, Proven, Run, SigningKey, VerifierKey, check_run};

/// The first line of what is signed, so that no other signature of the key is taken for it.
const STATEMENT: &str = "chartgate/incident-evidence/v1";
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";
const RECORDS: &str = "records.jsonl";
const CHAIN: &str = "chain.jsonl";
const README: &str = "README.txt";
const VERSION: u32 = 1;

const README_TEXT: &str = "\
This is the evidence of an incident, packed by Chartgate.

  manifest.json  what is packed, by whom, and the SHA-256 of every other file
  manifest.sig   the signature over the manifest, by the trail's signing key
  records.jsonl  the records: place in the trail, the key that opens it, the text
  chain.jsonl    the frames of the trail that prove the records, up to signed checkpoints
  cases.jsonl    the cases of the incident as they were then

Verify it with the public key alone, on any machine:

  chartgate incident verify FILE --key signing.pub

docs/incidents.md of Chartgate says how to verify it without this program.
It holds patient data: keep it as you would keep the charts.
";

/// Why no bundle was made.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Something cannot be written as JSON.
    #[error("the evidence cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    version: u32,
    /// The incident's number.
    pub incident: u64,
    /// Its title.
    pub title: String,
    /// When it was opened.
    pub opened: Timestamp,
    /// When the bundle was made.
    pub made: Timestamp,
    /// By whom.
    pub by: String,
    /// From when on the records of the subjects were taken.
    pub since: Timestamp,
    /// How many records there are.
    pub records: u64,
    /// The SHA-256 of every other file, in hexadecimal.
    pub files: BTreeMap<String, String>,
}

/// What a bundle is made of, beside the records.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) incident: u64,
    pub(super) title: String,
    pub(super) opened: Timestamp,
    pub(super) made: Timestamp,
    pub(super) by: String,
    pub(super) since: Timestamp,
    pub(super) cases: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    sequence: u64,
    segment: uuid::Uuid,
    key: String,
    #[serde(borrow)]
    entry: &'l RawValue,
}

/// Packs and signs.
pub(super) fn pack(
    contents: Contents,
    disclosure: &Disclosure,
    key: &SigningKey,
) -> Result<Vec<u8>, PackError> {
    let mut records = Vec::new();
    for record in &disclosure.records {
        let line = Line {
            sequence: record.sequence,
            segment: record.segment,
            key: record.key.expose().clone(),
            entry: serde_json::from_slice(&record.payload)?,
        };
        serde_json::to_writer(&mut records, &line)?;
        records.push(b'\n');
    }
    let mut chain = Vec::new();
    for run in &disclosure.runs {
        serde_json::to_writer(&mut chain, run)?;
        chain.push(b'\n');
    }
    let others: Vec<File> = vec![
        (README.to_owned(), README_TEXT.as_bytes().to_vec()),
        (RECORDS.to_owned(), records),
        (CHAIN.to_owned(), chain),
        ("cases.jsonl".to_owned(), contents.cases),
    ];
    let manifest = Manifest {
        version: VERSION,
        incident: contents.incident,
        title: contents.title,
        opened: contents.opened,
        made: contents.made,
        by: contents.by,
        since: contents.since,
        records: disclosure.records.len() as u64,
        files: others
            .iter()
            .map(|(name, bytes)| (name.clone(), sha256(bytes)))
            .collect(),
    };
    let manifest = serde_json::to_vec_pretty(&manifest)?;
    let signature = key.sign_statement(STATEMENT, &format!("sha256 {}\n", sha256(&manifest)));
    let mut files = vec![
        (MANIFEST.to_owned(), manifest),
        (SIGNATURE.to_owned(), signature.into_bytes()),
    ];
    files.extend(others);
    Ok(tar::write(&files))
}

/// What is wrong with a bundle.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// The container.
    #[error("{0}")]
    Archive(#[from] tar::Altered),
    /// A file is missing.
    #[error("{0} is missing")]
    Missing(String),
    /// A file that the manifest does not name.
    #[error("{0} is not in the manifest")]
    Excess(String),
    /// A file is not what the manifest says.
    #[error("{0} is not the file that was signed: its SHA-256 does not fit the manifest")]
    Hash(String),
    /// The signature.
    #[error("the signature of the manifest: {0}")]
    Signature(#[from] NoteError),
    /// The signature is of something else.
    #[error("the manifest is not the one that was signed")]
    Manifest,
    /// A file cannot be read.
    #[error("{file}: line {line} cannot be read: {source}")]
    Line {
        /// The file.
        file: &'static str,
        /// The line, from 1.
        line: usize,
        /// The reason.
        source: serde_json::Error,
    },
    /// The manifest is of another version.
    #[error("the bundle has version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// The chain.
    #[error("chain.jsonl, run {run}: {source}")]
    Run {
        /// Which, from 1.
        run: usize,
        /// The reason.
        source: crate::audit::log::RunError,
    },
    /// A record is not proven by any run.
    #[error("record {0} stands in no run that ends at a signed checkpoint")]
    Unproven(u64),
    /// A record does not open to the text that is shown.
    #[error("record {0} is not what the trail holds there: {1}")]
    Record(u64, String),
    /// Records are missing.
    #[error("the manifest names {named} records, the bundle holds {held}")]
    Count {
        /// As signed.
        named: u64,
        /// As found.
        held: u64,
    },
}

/// A bundle that was verified.
#[derive(Debug)]
pub struct Verified {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its records, with their places in the trail.
    pub records: Vec<(u64, Entry)>,
    /// How many signed checkpoints vouch for them.
    pub checkpoints: usize,
}

/// Verifies a bundle with the public key alone. All that is wrong is named; what hangs on it is not looked at.
///
/// # Errors
/// Everything that is [`Wrong`].
pub fn verify(archive: &[u8], key: &VerifierKey) -> Result<Verified, Vec<Wrong>> {
    let files: BTreeMap<String, Vec<u8>> = match tar::read(archive) {
        Ok(files) => files.into_iter().collect(),
        Err(altered) => return Err(vec![altered.into()]),
    };
    let manifest = signed_manifest(&files, key).map_err(|wrong| vec![wrong])?;
    let wrong = altered_files(&manifest, &files);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let file = |name: &str| files.get(name).map(Vec::as_slice).unwrap_or_default();
    let mut wrong = Vec::new();
    let (proven, checkpoints) = proven(file(CHAIN), key, &mut wrong);
    let records = opened(file(RECORDS), &proven, &mut wrong);
    let held = records.len() as u64;
    if held != manifest.records && wrong.is_empty() {
        wrong.push(Wrong::Count {
            named: manifest.records,
            held,
        });
    }
    if wrong.is_empty() {
        Ok(Verified {
            manifest,
            records,
            checkpoints,
        })
    } else {
        Err(wrong)
    }
}

fn signed_manifest(
    files: &BTreeMap<String, Vec<u8>>,
    key: &VerifierKey,
) -> Result<Manifest, Wrong> {
    let file = |name: &str| {
        files
            .get(name)
            .ok_or_else(|| Wrong::Missing(name.to_owned()))
    };
    let (bytes, note) = (file(MANIFEST)?, file(SIGNATURE)?);
    let note = std::str::from_utf8(note).ok().ok_or(Wrong::Manifest)?;
    let text = key.open(note)?;
    if text != format!("{STATEMENT}\nsha256 {}\n", sha256(bytes)) {
        return Err(Wrong::Manifest);
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|source| Wrong::Line {
        file: MANIFEST,
        line: source.line(),
        source,
    })?;
    if manifest.version != VERSION {
        return Err(Wrong::Version(manifest.version));
    }
    Ok(manifest)
}

fn altered_files(manifest: &Manifest, files: &BTreeMap<String, Vec<u8>>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (name, hash) in &manifest.files {
        match files.get(name) {
            None => wrong.push(Wrong::Missing(name.clone())),
            Some(bytes) if sha256(bytes) != *hash => wrong.push(Wrong::Hash(name.clone())),
            Some(_) => {}
        }
    }
    let excess = files
        .keys()
        .filter(|name| !manifest.files.contains_key(*name))
        .filter(|name| ![MANIFEST, SIGNATURE].contains(&name.as_str()));
    wrong.extend(excess.map(|name| Wrong::Excess(name.clone())));
    wrong
}

/// The records that the runs prove, by sequence number.
fn proven(
    text: &[u8],
    key: &VerifierKey,
    wrong: &mut Vec<Wrong>,
) -> (BTreeMap<u64, Proven>, usize) {
    let (mut proven, mut checkpoints) = (BTreeMap::new(), 0_usize);
    for (index, line) in lines(text) {
        let run: Run = match serde_json::from_slice(line) {
            Ok(run) => run,
            Err(source) => {
                wrong.push(Wrong::Line {
                    file: CHAIN,
                    line: index,
                    source,
                });
                continue;
            }
        };
        match check_run(&run, key) {
            Ok(records) => {
                checkpoints = checkpoints.saturating_add(1);
                proven.extend(records.into_iter().map(|record| (record.sequence, record)));
            }
            Err(source) => wrong.push(Wrong::Run { run: index, source }),
        }
    }
    (proven, checkpoints)
}

/// The records that open under their keys to the text that is shown.
fn opened(
    text: &[u8],
    proven: &BTreeMap<u64, Proven>,
    wrong: &mut Vec<Wrong>,
) -> Vec<(u64, Entry)> {
    let mut found = Vec::new();
    for (index, line) in lines(text) {
        let line: Line<'_> = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(source) => {
                wrong.push(Wrong::Line {
                    file: RECORDS,
                    line: index,
                    source,
                });
                continue;
            }
        };
        let sequence = line.sequence;
        let Some(record) = proven.get(&sequence) else {
            wrong.push(Wrong::Unproven(sequence));
            continue;
        };
        match open(record, &line) {
            Ok(entry) => found.push((sequence, entry)),
            Err(why) => wrong.push(Wrong::Record(sequence, why)),
        }
    }
    found
}

fn open(record: &Proven, line: &Line<'_>) -> Result<Entry, String> {
    if record.segment != line.segment {
        return Err("it names another segment".to_owned());
    }
    let payload = record.open(&line.key).map_err(|error| error.to_string())?;
    if payload != line.entry.get().as_bytes() {
        return Err("its text is another one".to_owned());
    }
    Entry::from_bytes(&payload).map_err(|error| error.to_string())
}

/// Lines with their numbers, from 1.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    text.split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| (index.saturating_add(1), line))
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Writes the manifest anew for files that were altered, and signs it.
    pub(in crate::operate::incidents) fn sign_anew(files: &mut [File], key: &SigningKey) {
        let all: BTreeMap<String, Vec<u8>> = files.iter().cloned().collect();
        let mut manifest: Manifest = serde_json::from_slice(&all[MANIFEST]).unwrap();
        for (name, hash) in &mut manifest.files {
            *hash = sha256(&all[name]);
        }
        let manifest = serde_json::to_vec_pretty(&manifest).unwrap();
        let text = format!("sha256 {}\n", sha256(&manifest));
        let signature = key.sign_statement(STATEMENT, &text).into_bytes();
        for (name, bytes) in files {
            match name.as_str() {
                MANIFEST => bytes.clone_from(&manifest),
                SIGNATURE => bytes.clone_from(&signature),
                _ => {}
            }
        }
    }
}
