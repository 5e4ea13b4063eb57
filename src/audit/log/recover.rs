//! Finding the end of the log: at opening, and after the disk failed.
//!
//! *Owns*: the cut. A torn tail is first copied aside and made durable there, then cut off, then
//! named in the header of the segment that goes on; an interruption between any two of these is
//! noticed and reported at the next opening.
//! *Never*: writes on in an old segment, or cuts what no crash explains without an operator's word.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::crypt::Head;
use super::delivery::Unheard;
use super::error::LogError;
use super::files::{Access, Files, LogFile};
use super::header::{AcceptedLoss, Cut, Header, Parsed, Previous};
use super::loss;
use super::options::Truncation;
use super::retired;
use super::segment::{SEGMENTS, SUFFIX, UNFINISHED};
use super::tail::{self, Tail};
use super::walk::{CHAIN_BYTES, Flaw, Step, Walk, WalkError, read_header};

/// Where torn tails are kept, below the trail's directory.
pub(super) const TORN: &str = "torn";

/// What was found when the log was opened or taken up again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The torn tail that was cut off, if any.
    pub cut: Option<Cut>,
    /// The loss that an operator accepted, if any.
    pub accepted_loss: Option<AcceptedLoss>,
    /// The newest whole record; 0 in a new log.
    pub last_seq: u64,
    /// The chain value behind it.
    pub head: Head,
    /// The segment that goes on.
    pub segment: Uuid,
    /// Witnesses that did not answer, or hold nothing of a log that is not new.
    pub unheard: Vec<Unheard>,
    /// What witnesses hold that is not in the log, which an operator accepted.
    pub contradictions: Vec<String>,
}

/// A segment on disk, its header checked.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) parsed: Parsed,
}

impl Known {
    pub(super) const fn header(&self) -> &Header {
        &self.parsed.header
    }
}

/// The end of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct End {
    /// How many segments there are.
    pub(super) number: u64,
    pub(super) previous: Previous,
    pub(super) cut: Option<Cut>,
}

/// The names of the segments, in no order.
pub(super) fn names(files: &dyn Files, directory: &Path) -> Result<Vec<String>, LogError> {
    let folder = directory.join(SEGMENTS);
    let names = files
        .list(&folder)
        .map_err(LogError::io("listing", &folder))?;
    Ok(names
        .into_iter()
        .filter(|name| name.ends_with(SUFFIX))
        .collect())
}

/// Removes segments whose making was interrupted; they hold no record.
pub(super) fn sweep(files: &dyn Files, directory: &Path) -> Result<(), LogError> {
    let folder = directory.join(SEGMENTS);
    let names = files
        .list(&folder)
        .map_err(LogError::io("listing", &folder))?;
    for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
        let path = folder.join(name);
        files
            .remove(&path)
            .map_err(LogError::io("removing", &path))?;
    }
    Ok(())
}

/// Reads every header and checks that each segment continues the one before.
pub(super) fn survey(files: &dyn Files, directory: &Path) -> Result<Vec<Known>, LogError> {
    let known = read_headers(files, directory, 0)?;
    let mut before: Option<&Known> = None;
    for next in &known {
        check_link(files, directory, before, next)?;
        before = Some(next);
    }
    Ok(known)
}

/// The same from a segment on that this process wrote and knows to continue the ones before: while a disk fails it is
/// not asked for more.
pub(super) fn survey_from(
    files: &dyn Files,
    directory: &Path,
    own: &Header,
) -> Result<Vec<Known>, LogError> {
    let mut known = read_headers(files, directory, own.first)?;
    // One in which nothing was written begins where the next does.
    known.retain(|known| known.header().number >= own.number);
    if known.first().map(|known| known.header().segment) != Some(own.segment) {
        // Another file system may be mounted there, or what a repair left of this one.
        return Err(damaged(
            &own.file_name(),
            own.first,
            "it was written by this run and is gone",
        ));
    }
    for (before, next) in known.iter().zip(known.iter().skip(1)) {
        check_link(files, directory, Some(before), next)?;
    }
    Ok(known)
}

/// The headers of the segments that begin at record `from` or later, in order.
fn read_headers(files: &dyn Files, directory: &Path, from: u64) -> Result<Vec<Known>, LogError> {
    let mut known = Vec::new();
    let mut names = names(files, directory)?;
    names.retain(|name| first_of(name) >= from);
    for name in names {
        known.push(self::known(files, directory, name)?);
    }
    known.sort_by_key(|known| known.header().number);
    Ok(known)
}

/// Reads the header of one segment.
pub(super) fn known(files: &dyn Files, directory: &Path, name: String) -> Result<Known, LogError> {
    let path = directory.join(SEGMENTS).join(&name);
    let file = open(files, &path, Access::Read)?;
    let parsed = read_header(&*file).map_err(|error| unreadable(&path, &name, error))?;
    if parsed.header.file_name() != name {
        return Err(damaged(
            &name,
            first_of(&name),
            "the name does not fit the header",
        ));
    }
    Ok(Known { path, name, parsed })
}

pub(super) fn check_link(
    files: &dyn Files,
    directory: &Path,
    before: Option<&Known>,
    next: &Known,
) -> Result<(), LogError> {
    let header = next.header();
    if !loss::fits(header) {
        return Err(damaged(
            &next.name,
            header.first,
            "the loss that it declares does not fit where it stands",
        ));
    }
    let expected = before
        .map_or(0, |known| known.header().number)
        .saturating_add(1);
    if header.number > expected {
        if before.is_none() && retired::explains(files, directory, header)? {
            return Ok(());
        }
        return Err(LogError::Missing {
            segment: header.previous.segment,
            number: header.number.saturating_sub(1),
        });
    }
    if header.number < expected {
        return Err(damaged(
            &next.name,
            header.first,
            "another segment has its number",
        ));
    }
    let Some(before) = before else {
        return Ok(());
    };
    if header.previous.segment != before.header().segment {
        return Err(damaged(
            &before.name,
            before.header().first,
            "it was replaced by another segment",
        ));
    }
    let file = open(files, &before.path, Access::Read)?;
    let size = file.size().map_err(LogError::io("reading", &before.path))?;
    let mut head = [0; CHAIN_BYTES];
    tail::fill(&*file, size.saturating_sub(CHAIN_BYTES as u64), &mut head)
        .map_err(LogError::io("reading", &before.path))?;
    if Head::from_bytes(head) != header.previous.head {
        return Err(damaged(
            &before.name,
            before.header().first,
            "it does not end where the next segment continues",
        ));
    }
    Ok(())
}

/// Finds the end of the newest segment and leaves nothing behind it. `durable` says where the
/// durable part ends, where this process knows.
pub(super) fn settle(
    files: &dyn Files,
    directory: &Path,
    known: &[Known],
    durable: Option<(Uuid, u64)>,
    truncation: Truncation,
) -> Result<End, LogError> {
    let Some(last) = known.last() else {
        return Ok(End::default());
    };
    let file = open(files, &last.path, Access::Write)?;
    let reading = |source| LogError::io("reading", &last.path)(source);
    let segment = last.header().segment;
    let limit = durable.and_then(|(id, offset)| (id == segment).then_some(offset));
    let walk = Walk::at_start(&*file, last.parsed.clone()).with_tree();
    let mut walk = walk.until(limit.unwrap_or(u64::MAX));
    let flaw = run(&mut walk).map_err(reading)?;
    let (offset, last_seq) = (walk.offset, walk.last());
    let bytes = match limit {
        Some(limit) if offset == limit => tail::used_bytes(&*file, offset).map_err(reading)?,
        Some(_) => return Err(damaged(&last.name, walk.next, "durable records are gone")),
        None => match examined(&*file, &walk).map_err(reading)? {
            Tail::Clean => 0,
            Tail::Torn(bytes) if walk.sealed.is_none() => bytes,
            Tail::Torn(bytes) | Tail::Damaged(bytes) => {
                if truncation == Truncation::Refuse {
                    let flaw = flaw.unwrap_or(Flaw::Excess);
                    return Err(damaged(
                        &last.name,
                        walk.next,
                        &format!("{flaw}, which no crash explains ({bytes} bytes from {offset})"),
                    ));
                }
                bytes
            }
        },
    };
    let cut = Cut {
        segment,
        offset,
        bytes,
        last_seq,
    };
    let cut = if bytes > 0 {
        keep_aside(files, directory, &*file, &cut)?;
        Some(cut)
    } else {
        earlier_cut(files, directory, &cut)?
    };
    if file.size().map_err(reading)? != offset {
        // A sync of this file may have failed before. This one asks for nothing of what that one lost: it makes the cut
        // durable, which is a change of its own, through a file that was opened anew.
        file.truncate(offset)
            .and_then(|()| file.sync_data())
            .map_err(LogError::io("cutting", &last.path))?;
    }
    Ok(End {
        number: last.header().number,
        previous: Previous {
            segment,
            sequence: last_seq,
            head: walk.head,
            tree: walk.tree_head(),
        },
        cut,
    })
}

/// What follows the place where a walk ended.
pub(super) fn examined(file: &dyn LogFile, walk: &Walk<'_>) -> io::Result<Tail> {
    tail::examine(file, walk.format, walk.offset, walk.head, walk.next)
}

/// Goes to the end of what is whole.
pub(super) fn run(walk: &mut Walk<'_>) -> io::Result<Option<Flaw>> {
    loop {
        match walk.step()? {
            Step::Record { .. } | Step::Sealed => {}
            Step::End => return Ok(None),
            Step::Broken(flaw) => return Ok(Some(flaw)),
        }
    }
}

fn torn_name(cut: &Cut) -> String {
    format!("{}-{}.bin", cut.segment, cut.offset)
}

/// Copies a tail aside and makes the copy durable.
fn keep_aside(
    files: &dyn Files,
    directory: &Path,
    file: &dyn LogFile,
    cut: &Cut,
) -> Result<(), LogError> {
    let folder = directory.join(TORN);
    let path = folder.join(torn_name(cut));
    let failed = |source| LogError::io("keeping a torn tail in", &path)(source);
    match files.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let copy = files.create(&path).map_err(failed)?;
    let mut buffer = vec![0; 65_536];
    let mut done = 0;
    while done < cut.bytes {
        let left = usize::try_from(cut.bytes.saturating_sub(done)).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let chunk = buffer.get_mut(..room).unwrap_or_default();
        chunk.fill(0);
        tail::fill(file, cut.offset.saturating_add(done), chunk).map_err(failed)?;
        copy.write_all_at(done, chunk).map_err(failed)?;
        done = done.saturating_add(room as u64);
    }
    copy.sync_data().map_err(failed)?;
    files.sync_dir(&folder).map_err(failed)
}

/// A cut at this very place that an interruption kept off the record.
fn earlier_cut(files: &dyn Files, directory: &Path, place: &Cut) -> Result<Option<Cut>, LogError> {
    let path = directory.join(TORN).join(torn_name(place));
    match files.open(&path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("reading", &path)(error)),
        Ok(copy) => {
            let bytes = copy.size().map_err(LogError::io("reading", &path))?;
            let mut cut = place.clone();
            cut.bytes = bytes;
            Ok(Some(cut))
        }
    }
}

pub(super) fn open(
    files: &dyn Files,
    path: &Path,
    access: Access,
) -> Result<Box<dyn LogFile>, LogError> {
    files
        .open(path, access)
        .map_err(LogError::io("opening", path))
}

pub(super) fn damaged(name: &str, sequence: u64, detail: &str) -> LogError {
    LogError::Damaged {
        segment: name.to_owned(),
        sequence,
        detail: detail.to_owned(),
    }
}

pub(super) fn unreadable(path: &Path, name: &str, error: WalkError) -> LogError {
    match error {
        WalkError::Io(source) => LogError::io("reading", path)(source),
        WalkError::Header(error) => damaged(name, first_of(name), &error.to_string()),
    }
}

/// The first sequence number that a segment's name claims.
pub(super) fn first_of(name: &str) -> u64 {
    name.split('-')
        .next()
        .and_then(|first| first.parse().ok())
        .unwrap_or_default()
}
