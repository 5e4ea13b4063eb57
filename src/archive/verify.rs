//! Proving that an archive holds what was put there: every object is read.
//!
//! *Never*: takes the archive's word for what is in it, or changes anything there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chain::{Chain, Damaged, Places};
use super::error::ArchiveError;
use super::put::segment_of;
use super::target::{Sum, Target};
use crate::audit::archived::Archived;
use crate::audit::log::{Checkpoint, Outline, Retired, VerifierKey};

/// A note is a few short lines.
const MOST_NOTE: u64 = 16 * 1024;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Segments that are whole.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first record of the first segment.
    pub first: Option<u64>,
    /// The last record of the last segment.
    pub last: Option<u64>,
    /// Checkpoints and notes of removals.
    pub notes: u64,
    /// Whether signatures of notes were checked.
    pub signed: bool,
    /// Segments that are locked in compliance mode.
    pub locked: u64,
    /// Segments that are under legal hold.
    pub held: u64,
    /// Whether it was compared with what the gateway remembers.
    pub compared: bool,
    /// What is wrong.
    pub problems: Vec<String>,
    /// Segments, by their places in the log, that the archive did not prove to hold.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lost: BTreeSet<u64>,
    /// The newest record that a checkpoint in it is of: it may lie in the segment that was being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnessed: Option<u64>,
    /// Whether the archive locks what is in it; a directory locks nothing by itself.
    #[serde(default)]
    pub locking: bool,
}

/// What an archive is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'e> {
    /// What the gateway remembers to have put there.
    pub known: Option<&'e BTreeMap<u64, Archived>>,
    /// The key that signed the notes.
    pub key: Option<&'e VerifierKey>,
}

/// The versions of each object in a folder, oldest first.
pub(super) type Versions = BTreeMap<String, Vec<Option<String>>>;

/// Verifies an archive; objects of a bucket pass through `scratch` one by one.
///
/// # Errors
/// [`ArchiveError`] where it cannot be read at all, or is not there.
pub fn verify(
    target: &Target,
    expected: Expected<'_>,
    scratch: &Path,
) -> Result<Verified, ArchiveError> {
    target.present()?;
    let mut check = Check {
        target,
        expected,
        scratch,
        chain: Chain::default(),
        damaged: Damaged::default(),
        found: Verified {
            compared: expected.known.is_some(),
            signed: expected.key.is_some(),
            locking: target.locks(),
            ..Verified::default()
        },
    };
    let names = versions(target, "segments")?;
    for (name, versions) in &names {
        check.segment(name, versions)?;
    }
    check.missing(&names);
    let mut places = Vec::new();
    for (name, versions) in versions(target, "checkpoints")? {
        if check.note(&name, &versions, Check::checkpoint)?.is_some() {
            places.push(name);
        }
    }
    let mut removed = Vec::new();
    for (name, versions) in versions(target, "retired")? {
        let note = check.note(&name, &versions, Check::retired)?;
        removed.extend(note.as_deref().and_then(Retired::parse));
    }
    check.whole(&Places::of(&places), &removed);
    Ok(check.found)
}

/// What lies in a folder.
pub(super) fn versions(target: &Target, folder: &str) -> Result<Versions, ArchiveError> {
    let mut names = Versions::new();
    for (name, version) in target.list(folder)? {
        names.entry(name).or_default().push(version);
    }
    Ok(names)
}

/// A version of a segment that is a whole one, the oldest first: what somebody stored over it later is not it.
pub(super) fn choose(
    target: &Target,
    (name, versions): (&str, &[Option<String>]),
    scratch: &Path,
) -> Result<(std::path::PathBuf, Sum, Outline), ArchiveError> {
    let mut newest = Err(ArchiveError::altered(name, "there is no version of it"));
    for version in versions {
        let (path, sum) = target.fetch(name, version.as_deref(), scratch)?;
        match segment_of(name, &path) {
            Ok(found) if found.end == sum.bytes => return Ok((path, sum, found)),
            Ok(_) => newest = Err(ArchiveError::altered(name, "there is more behind its end")),
            Err(error) => newest = Err(error),
        }
    }
    newest
}

/// A note, of the oldest version that `accept` takes.
pub(super) fn read_note(
    target: &Target,
    (name, versions): (&str, &[Option<String>]),
    accept: impl Fn(&str) -> Result<(), String>,
) -> Result<String, ArchiveError> {
    let mut newest = ArchiveError::altered(name, "there is no version of it");
    for version in versions {
        let mut text = String::new();
        let from = target.read(name, version.as_deref())?;
        let read = from.take(MOST_NOTE).read_to_string(&mut text);
        let said = match read {
            Ok(_) => match accept(&text) {
                Ok(()) => return Ok(text),
                Err(said) => said,
            },
            Err(error) => error.to_string(),
        };
        newest = ArchiveError::altered(name, said);
    }
    Err(newest)
}

struct Check<'c> {
    target: &'c Target,
    expected: Expected<'c>,
    scratch: &'c Path,
    chain: Chain,
    damaged: Damaged,
    found: Verified,
}

impl Check<'_> {
    fn segment(&mut self, name: &str, versions: &[Option<String>]) -> Result<(), ArchiveError> {
        let known = self.expected.known;
        let known = known.and_then(|known| known.values().find(|known| known.object == name));
        // The version that was put there is the one that counts.
        let ours: Option<Vec<Option<String>>> = known
            .filter(|known| known.version.is_some())
            .map(|known| vec![known.version.clone()]);
        let chosen = match &ours {
            Some(ours) if versions.contains(ours.first().unwrap_or(&None)) => ours.as_slice(),
            Some(_) | None => versions,
        };
        let found = match choose(self.target, (name, chosen), self.scratch) {
            Ok((_, sum, found)) => (sum, found),
            Err(error @ ArchiveError::Altered { .. }) => {
                self.found.lost.extend(known.map(|known| known.number));
                self.found.problems.push(error.to_string());
                self.damaged.add(name);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (sum, outline) = found;
        self.found.segments = self.found.segments.saturating_add(1);
        self.found.bytes = self.found.bytes.saturating_add(sum.bytes);
        let link = self.chain.go_on(&outline);
        self.found
            .problems
            .extend(link.map(|said| format!("{name}: {said}")));
        let version = chosen.first().and_then(Option::as_deref);
        let stored = self.target.find(name, version)?;
        let locked_until = stored.as_ref().and_then(|stored| stored.locked_until);
        self.found.locked = self
            .found
            .locked
            .saturating_add(u64::from(locked_until.is_some()));
        let held = stored.is_some_and(|stored| stored.held);
        self.found.held = self.found.held.saturating_add(u64::from(held));
        if let Some(known) = known {
            self.compare(name, known, &sum);
            if self.target.locks() && locked_until.is_none_or(|locked| locked < known.locked_until)
            {
                self.found.problems.push(format!(
                    "{name}: it is not locked until {} any more",
                    known.locked_until
                ));
            }
            if self.target.locks() && known.held && !held {
                let said = "the archive does not know of the legal hold on it";
                self.found.problems.push(format!("{name}: {said}"));
            }
        }
        Ok(())
    }

    fn compare(&mut self, name: &str, known: &Archived, sum: &Sum) {
        if known.bytes != sum.bytes || known.sha256 != sum.sha256 {
            self.found.lost.insert(known.number);
            let said = "it is not what was archived";
            self.found.problems.push(format!("{name}: {said}"));
        }
    }

    fn missing(&mut self, names: &Versions) {
        for known in self.expected.known.into_iter().flat_map(BTreeMap::values) {
            if !names.contains_key(&known.object) {
                self.found.lost.insert(known.number);
                let said = "it is missing in the archive";
                self.found
                    .problems
                    .push(format!("{}: {said}", known.object));
            }
        }
    }

    /// What is not there that something in the archive tells of.
    fn whole(&mut self, places: &Places, removed: &[Retired]) {
        self.found.first = self.chain.first();
        self.found.last = self.chain.last();
        self.found.witnessed = places.newest().map(|(sequence, _)| sequence);
        // Where a gateway never archived anything, nothing need be there.
        let is_new = self.expected.known.is_some_and(BTreeMap::is_empty);
        if self.found.segments == 0 && !is_new {
            let said = "there is no segment that is whole in the archive";
            self.found.problems.push(said.to_owned());
        }
        let problems = &mut self.found.problems;
        problems.extend(self.chain.beginning(removed));
        problems.extend(self.chain.gaps(places, removed, &self.damaged));
    }

    /// A note that is accepted.
    fn note(
        &mut self,
        name: &str,
        versions: &[Option<String>],
        accept: impl Fn(&Self, &str, &str) -> Result<(), String>,
    ) -> Result<Option<String>, ArchiveError> {
        let accepted = |text: &str| accept(self, name, text);
        match read_note(self.target, (name, versions), accepted) {
            Ok(text) => {
                self.found.notes = self.found.notes.saturating_add(1);
                Ok(Some(text))
            }
            Err(error @ ArchiveError::Altered { .. }) => {
                self.found.problems.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn checkpoint(&self, name: &str, text: &str) -> Result<(), String> {
        let Some(key) = self.expected.key else {
            return Ok(());
        };
        let checkpoint = Checkpoint::open(text, key).map_err(|error| error.to_string())?;
        let own = format!("{:020}-{}.note", checkpoint.sequence, checkpoint.segment);
        if name.rsplit('/').next() != Some(own.as_str()) {
            return Err("it is another checkpoint".to_owned());
        }
        match self.chain.end_of(&checkpoint.segment) {
            Some((last, head)) if last == checkpoint.sequence && head != checkpoint.head => {
                Err("the segment that it is about ends otherwise".to_owned())
            }
            Some((last, _)) if last < checkpoint.sequence => Err(format!(
                "the segment that it is about ends with record {last}"
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn retired(&self, name: &str, text: &str) -> Result<(), String> {
        let Some(key) = self.expected.key else {
            return Ok(());
        };
        let note = Retired::open(text, key).map_err(|error| error.to_string())?;
        if name.rsplit('/').next() != Some(format!("{:020}.note", note.number).as_str()) {
            return Err("it is another note".to_owned());
        }
        Ok(())
    }
}
