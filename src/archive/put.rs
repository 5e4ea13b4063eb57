//! Putting one object into an archive, and proving that it is there.
//!
//! *Never*: takes a store's word for it: what was stored is read back and compared.

use std::path::Path;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::error::ArchiveError;
use super::target::{Stored, Sum, Target, sum_of};
use crate::audit::log::{Access, Files, Outline, RealFiles, Retired, kept_through, outline};
use crate::config::ArchiveLock;

/// What is put there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'c> {
    /// A file.
    File(&'c Path, &'c Sum),
    /// A short text.
    Text(&'c str, &'c Sum),
}

impl Content<'_> {
    const fn sum(&self) -> &Sum {
        match self {
            Self::File(_, sum) | Self::Text(_, sum) => sum,
        }
    }
}

/// Puts an object there unless it is there already, as after an interruption, and proves what is there: its length, its
/// checksum, its lock, and its bytes as they are read back.
pub(super) fn put(
    target: &Target,
    name: &str,
    content: Content<'_>,
    until: Timestamp,
) -> Result<Stored, ArchiveError> {
    let sum = content.sum();
    if let Some(there) = target.find(name, None)? {
        if there.bytes == sum.bytes && read_back(target, name, &there)? == *sum {
            let (version, locked) = (there.version.as_deref(), there.locked_until);
            if locked.is_none_or(|locked| locked < until) {
                target.lock(name, version, until)?;
            }
            let there = target.find(name, version)?.unwrap_or(there);
            return proven(target, name, there, sum, until);
        }
        if !target.locks() {
            let said = format!(
                "something else lies under this name, and is left as it is, for it is evidence: move `{}` out of the \
                 archive, keep it, and run `chartgate audit archive run` again",
                target.shown(name)
            );
            return Err(ArchiveError::altered(name, said));
        }
        // Somebody stored something else over it, or began to: it becomes the newest version again.
    }
    match content {
        Content::File(from, sum) => target.put(name, (from, sum), until)?,
        Content::Text(text, _) => target.put_text(name, text, until)?,
    }
    let stored = target.find(name, None)?;
    let stored =
        stored.ok_or_else(|| ArchiveError::altered(name, "it was stored, and is not there"))?;
    let stored = proven(target, name, stored, sum, until)?;
    if read_back(target, name, &stored)? == *sum {
        Ok(stored)
    } else {
        Err(ArchiveError::altered(
            name,
            "what is read back is not what was stored",
        ))
    }
}

fn proven(
    target: &Target,
    name: &str,
    stored: Stored,
    sum: &Sum,
    until: Timestamp,
) -> Result<Stored, ArchiveError> {
    let claims = stored.sha256.as_ref();
    if stored.bytes != sum.bytes || claims.is_some_and(|claimed| *claimed != sum.sha256) {
        return Err(ArchiveError::altered(
            name,
            "its length or checksum in the archive is another",
        ));
    }
    if target.locks() && stored.locked_until.is_none_or(|locked| locked < until) {
        return Err(ArchiveError::Unlocked(name.to_owned(), until));
    }
    Ok(stored)
}

fn read_back(target: &Target, name: &str, stored: &Stored) -> Result<Sum, ArchiveError> {
    let mut from = target.read(name, stored.version.as_deref())?;
    sum_of(name, &mut from, |_| Ok(()))
}

/// Until when an object is locked whose newest record is of this time: the day after the last on which it must be kept.
/// A record that the clock put into the future counts as one of now, so that a clock that was wrong for a while locks
/// nothing for decades.
pub(super) fn locked_until(
    newest: Timestamp,
    now: Timestamp,
    lock: ArchiveLock,
    retention: u16,
) -> Timestamp {
    let years = match lock {
        ArchiveLock::Retention => retention,
        ArchiveLock::Years(years) => years.max(retention),
    };
    let through = kept_through(newest.min(now), years);
    let day = through.saturating_add(1.days());
    day.to_zoned(TimeZone::UTC)
        .map_or(Timestamp::MAX, |start| start.timestamp())
}

/// What a segment file holds, where that is a whole segment of this name.
pub(super) fn segment_of(name: &str, path: &Path) -> Result<Outline, ArchiveError> {
    let opened = RealFiles.open(path, Access::Read);
    let file = opened.map_err(ArchiveError::io(path))?;
    let found = outline(&*file).map_err(|error| ArchiveError::altered(name, error.to_string()))?;
    if let Some(flaw) = &found.flaw {
        return Err(ArchiveError::altered(name, flaw.to_string()));
    }
    if name.rsplit('/').next() != Some(found.header.file_name().as_str()) {
        return Err(ArchiveError::altered(name, "it is another segment"));
    }
    Ok(found)
}

/// Whether a file holds this segment as the log knows it, to its last byte.
pub(super) fn is_whole(segment: &Retired, found: &Outline, sum: &Sum) -> Result<(), String> {
    let last = found
        .header
        .first
        .saturating_add(found.records)
        .saturating_sub(1);
    if found.header.segment != segment.segment || found.header.number != segment.number {
        return Err("it is another segment".to_owned());
    }
    if last != segment.last || found.head != segment.head || found.end != sum.bytes {
        return Err("it does not end as the segment behind it says".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn locks_end_with_the_day_after_the_last() {
        let now = at("2026-11-30T12:00:00Z");
        let until = |newest: &str, lock| locked_until(at(newest), now, lock, 6).to_string();
        let retention = ArchiveLock::Retention;
        assert_eq!(
            until("2026-11-25T12:00:00Z", retention),
            "2032-11-26T00:00:00Z"
        );
        assert_eq!(
            until("2024-02-29T23:59:59Z", retention),
            "2030-03-02T00:00:00Z"
        );
        // A clock that was wrong for a while locks nothing for decades.
        assert_eq!(
            until("2099-01-01T00:00:00Z", retention),
            "2032-12-01T00:00:00Z"
        );
        assert_eq!(
            until("2026-11-25T12:00:00Z", ArchiveLock::Years(10)),
            "2036-11-26T00:00:00Z"
        );
        // Never shorter than the trail itself is kept.
        assert_eq!(
            until("2026-11-25T12:00:00Z", ArchiveLock::Years(3)),
            "2032-11-26T00:00:00Z"
        );
    }
}
