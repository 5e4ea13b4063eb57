//! Bringing an archive up to date: segments that have ended, checkpoints, notes of removals, holds and locks.
//!
//! *Never*: remembers a segment as archived that was not read back whole, or before that is on record. An interruption
//! anywhere leaves what was remembered true; what was not is found at the target and not stored again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::ArchiveError;
use super::put::{Content, is_whole, locked_until, put, segment_of};
use super::state::State;
use super::target::{sum_of, sum_of_file};
use super::{Archives, Inner};
use crate::audit::archived::Archived;
use crate::audit::hold::{Book, Hold, News, Sieve};
use crate::audit::log::{Checkpoint, RETIRED, Retired, SigningKey, VerifierKey, each_note, ended};
use crate::request::Event;

/// A record is written at most so long after it was made.
const WRITTEN_WITHIN: Duration = Duration::from_mins(1);

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Where.
    pub target: String,
    /// Segments that are new there.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Checkpoints and notes of removals that are new there.
    pub notes: u64,
    /// Objects that were put under legal hold, or freed from it.
    pub holds: u64,
    /// Locks that were prolonged.
    pub locks: u64,
    /// Every segment that is there.
    pub total: u64,
    /// How long it took.
    pub millis: u64,
    /// Segments that could not be archived, and why.
    pub problems: Vec<String>,
}

/// A signed note on its way into the archive.
struct Note {
    name: String,
    text: String,
    time: Timestamp,
}

impl Archives {
    /// Brings the archive up to date.
    pub(super) async fn bring_up_to_date(&self, by: &str) -> Result<Ran, ArchiveError> {
        let inner = &self.inner;
        let begun = inner.clock.monotonic();
        let mut state = inner.memory.state();
        let mut known = inner.shelf.all().await?;
        let book = inner.holdings.holds()?.book().await?;
        let now = inner.clock.now();
        let local = self
            .blocking(move |inner| Ok(ended(&inner.holdings.headers()?, now)))
            .await?;
        let mut ran = Ran {
            target: state.target.clone(),
            ..Ran::default()
        };
        self.sieve_known(&mut known, &local, (&book, &state))
            .await?;
        self.put_segments(by, (&local, &book), &mut known, &mut ran)
            .await?;
        self.put_notes(&known, &mut state, &mut ran).await?;
        self.mark(&mut known, &book, &mut ran).await?;
        state.sieved_by(book.in_force());
        state.segments = known.len() as u64;
        state.bytes = known.values().map(|archived| archived.bytes).sum();
        if ran.problems.is_empty() {
            state.complete = Some(now);
            state.failed = None;
        }
        ran.total = state.segments;
        inner.memory.keep(&inner.store, state).await?;
        let took = inner.clock.monotonic().saturating_sub(begun);
        ran.millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Ok(ran)
    }

    /// Finds what new holds are about among the segments that are archived already.
    async fn sieve_known(
        &self,
        known: &mut BTreeMap<u64, Archived>,
        local: &[(Retired, Timestamp)],
        (book, state): (&Book, &State),
    ) -> Result<(), ArchiveError> {
        let is_new = |hold: &&Hold| !state.has_sieved(hold);
        let fresh: Vec<Hold> = book.in_force().filter(is_new).cloned().collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let mut sieve = Sieve::new(&fresh);
        let mut changed = BTreeSet::new();
        for (segment, _) in local {
            if known.contains_key(&segment.number) {
                let segment = segment.clone();
                let (seen, back) = self
                    .blocking(move |inner| Ok(inner.sieve(&segment, sieve)))
                    .await?;
                seen?;
                sieve = back;
                changed.extend(note_holds(known, sieve.news()));
            }
        }
        // What the log has not any more is judged by its time alone.
        let here: BTreeSet<u64> = local.iter().map(|(segment, _)| segment.number).collect();
        let mut begun = Timestamp::MIN;
        for archived in known.values_mut() {
            if !here.contains(&archived.number) {
                for hold in &fresh {
                    let after = hold.scope.until.is_some_and(|until| until < begun);
                    let before = hold.scope.since.is_some_and(|since| since > archived.ended);
                    if !after && !before && archived.holds.insert(hold.id) {
                        changed.insert(archived.number);
                    }
                }
            }
            begun = archived.ended;
        }
        self.keep(known, changed).await
    }

    async fn keep(
        &self,
        known: &BTreeMap<u64, Archived>,
        changed: BTreeSet<u64>,
    ) -> Result<(), ArchiveError> {
        for number in changed {
            if let Some(archived) = known.get(&number) {
                self.inner.shelf.keep(archived).await?;
            }
        }
        Ok(())
    }

    /// Archives the segments that are not archived yet, oldest first.
    async fn put_segments(
        &self,
        by: &str,
        (local, book): (&[(Retired, Timestamp)], &Book),
        known: &mut BTreeMap<u64, Archived>,
        ran: &mut Ran,
    ) -> Result<(), ArchiveError> {
        let mut sieve = Sieve::new(book.in_force());
        for (segment, end) in local {
            let there = known.get(&segment.number);
            if there.is_some_and(|there| there.segment == segment.segment) {
                continue;
            }
            let (segment, end) = (segment.clone(), *end);
            let (archived, back) = self
                .blocking(move |inner| Ok(inner.put_segment(&segment, end, sieve)))
                .await?;
            sieve = back;
            let archived = match archived {
                Ok(archived) => archived,
                // A damaged segment must not keep the next one from the archive.
                Err(error @ (ArchiveError::Altered { .. } | ArchiveError::Records(_))) => {
                    ran.problems.push(error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let detail = described(&archived, &ran.target, by);
            self.inner
                .audit
                .event(Event::SegmentArchived, None, detail)
                .await?;
            ran.segments = ran.segments.saturating_add(1);
            ran.bytes = ran.bytes.saturating_add(archived.bytes);
            let number = archived.number;
            known.insert(number, archived);
            // What it tells of earlier segments is kept before itself: else nobody would look again.
            let mut changed = note_holds(known, sieve.news());
            changed.remove(&number);
            self.keep(known, changed).await?;
            self.keep(known, BTreeSet::from([number])).await?;
        }
        Ok(())
    }

    /// Archives the newest checkpoint, the last one of each segment, and the notes of removals.
    async fn put_notes(
        &self,
        known: &BTreeMap<u64, Archived>,
        state: &mut State,
        ran: &mut Ran,
    ) -> Result<(), ArchiveError> {
        let new = known.range(state.noted.saturating_add(1)..);
        let new: HashMap<Uuid, u64> = new.map(|(n, archived)| (archived.segment, *n)).collect();
        let (before, noted) = (state.clone(), new.values().copied().max());
        let (put, checkpoint, retired) = self
            .blocking(move |inner| inner.put_notes(&new, &before))
            .await?;
        state.checkpoint = state.checkpoint.max(checkpoint);
        state.retired = state.retired.max(retired);
        state.noted = state.noted.max(noted.unwrap_or_default());
        ran.notes = put;
        Ok(())
    }

    /// Tells the archive which objects are under legal hold, and prolongs locks that are shorter than they must be.
    async fn mark(
        &self,
        known: &mut BTreeMap<u64, Archived>,
        book: &Book,
        ran: &mut Ran,
    ) -> Result<(), ArchiveError> {
        let in_force: BTreeSet<u64> = book.in_force().map(|hold| hold.id).collect();
        for archived in known.values_mut() {
            let mut wanted = archived.clone();
            wanted.holds.retain(|hold| in_force.contains(hold));
            wanted.held = !wanted.holds.is_empty();
            let until = self.inner.lock(archived.newest, archived.at);
            wanted.locked_until = until.max(archived.locked_until);
            if wanted == *archived {
                continue;
            }
            let (before, after) = (archived.clone(), wanted.clone());
            self.blocking(move |inner| inner.mark(&before, &after))
                .await?;
            ran.holds = ran
                .holds
                .saturating_add(u64::from(wanted.held != archived.held));
            let prolonged = wanted.locked_until > archived.locked_until;
            ran.locks = ran.locks.saturating_add(u64::from(prolonged));
            *archived = wanted;
            self.inner.shelf.keep(archived).await?;
        }
        Ok(())
    }
}

/// Notes what a sieve found; says which segments that changes.
fn note_holds(known: &mut BTreeMap<u64, Archived>, News { found, earlier }: News) -> BTreeSet<u64> {
    let mut changed = BTreeSet::new();
    for (index, hold) in found {
        let number = index as u64;
        if let Some(archived) = known.get_mut(&number)
            && archived.holds.insert(hold)
        {
            changed.insert(number);
        }
    }
    for (made, hold) in earlier {
        let written = made.saturating_add(WRITTEN_WITHIN).unwrap_or(made);
        let mut begun = Timestamp::MIN;
        for archived in known.values_mut() {
            let covers = begun <= written && made <= archived.ended;
            if covers && archived.holds.insert(hold) {
                changed.insert(archived.number);
            }
            begun = archived.ended;
        }
    }
    changed
}

fn described(archived: &Archived, target: &str, by: &str) -> BTreeMap<String, String> {
    let mut detail = BTreeMap::from([
        ("operator".to_owned(), by.to_owned()),
        ("target".to_owned(), target.to_owned()),
        ("object".to_owned(), archived.object.clone()),
        ("number".to_owned(), archived.number.to_string()),
        ("segment".to_owned(), archived.segment.to_string()),
        ("first".to_owned(), archived.first.to_string()),
        ("last".to_owned(), archived.last.to_string()),
        ("head".to_owned(), archived.head.to_string()),
        ("bytes".to_owned(), archived.bytes.to_string()),
        ("sha256".to_owned(), archived.sha256.clone()),
        ("locked_until".to_owned(), archived.locked_until.to_string()),
    ]);
    let version = archived.version.clone();
    detail.extend(version.map(|version| ("version".to_owned(), version)));
    detail
}

impl Inner {
    fn lock(&self, newest: Timestamp, now: Timestamp) -> Timestamp {
        locked_until(newest, now, self.config.lock, self.retention)
    }

    fn sieve(&self, segment: &Retired, mut sieve: Sieve) -> (Result<(), ArchiveError>, Sieve) {
        let place = usize::try_from(segment.number).unwrap_or(usize::MAX);
        let seen = self.holdings.look(segment, |entry| sieve.see(place, entry));
        (seen.map_err(ArchiveError::from), sieve)
    }

    fn put_segment(
        &self,
        segment: &Retired,
        end: Timestamp,
        mut sieve: Sieve,
    ) -> (Result<Archived, ArchiveError>, Sieve) {
        let put = self.put_sieved(segment, end, &mut sieve);
        (put, sieve)
    }

    fn put_sieved(
        &self,
        segment: &Retired,
        end: Timestamp,
        sieve: &mut Sieve,
    ) -> Result<Archived, ArchiveError> {
        let object = format!("segments/{}", segment.file_name());
        let path = self.trail.join(&object);
        let sum = sum_of_file(&path)?;
        let found = segment_of(&object, &path)?;
        is_whole(segment, &found, &sum).map_err(|said| ArchiveError::altered(&object, said))?;
        let place = usize::try_from(segment.number).unwrap_or(usize::MAX);
        let mut newest = None;
        self.holdings.look(segment, |entry| {
            newest = newest.max(Some(entry.time));
            sieve.see(place, entry);
        })?;
        let (newest, now) = (newest.unwrap_or(end), self.clock.now());
        let until = self.lock(newest, now);
        let content = Content::File(&path, &sum);
        let stored = put(&self.target()?, &object, content, until)?;
        Ok(Archived {
            number: segment.number,
            segment: segment.segment,
            first: segment.first,
            last: segment.last,
            head: segment.head,
            ended: end,
            newest,
            object,
            version: stored.version,
            bytes: sum.bytes,
            sha256: sum.sha256,
            at: now,
            locked_until: until,
            holds: BTreeSet::new(),
            held: false,
        })
    }

    /// Archives notes: how many were new, the newest checkpoint, and the last segment that was removed.
    fn put_notes(
        &self,
        new: &HashMap<Uuid, u64>,
        before: &State,
    ) -> Result<(u64, u64, u64), ArchiveError> {
        let signer = SigningKey::read(&self.signing_key)?;
        let (mut notes, checkpoint) = self.checkpoints(new, before, signer.verifier())?;
        let mut retired = 0;
        self.each_note(RETIRED, |text| {
            if let Ok(note) = Retired::open(text, signer.verifier())
                && note.number > before.retired
            {
                retired = note.number.max(retired);
                notes.push(Note {
                    name: format!("retired/{:020}.note", note.number),
                    text: text.to_owned(),
                    time: note.time,
                });
            }
        })?;
        let (target, now) = (self.target()?, self.clock.now());
        for note in &notes {
            let sum = sum_of(&note.name, &mut note.text.as_bytes(), |_| Ok(()))?;
            let until = self.lock(note.time, now);
            put(&target, &note.name, Content::Text(&note.text, &sum), until)?;
        }
        Ok((notes.len() as u64, checkpoint, retired))
    }

    /// The checkpoints that are to be archived, and the newest there is.
    fn checkpoints(
        &self,
        new: &HashMap<Uuid, u64>,
        before: &State,
        key: &VerifierKey,
    ) -> Result<(Vec<Note>, u64), ArchiveError> {
        let mut last: HashMap<Uuid, (Checkpoint, String)> = HashMap::new();
        let mut newest: Option<(Checkpoint, String)> = None;
        self.each_note("checkpoints", |text| {
            let Ok(checkpoint) = Checkpoint::open(text, key) else {
                return;
            };
            if new.contains_key(&checkpoint.segment) {
                last.insert(checkpoint.segment, (checkpoint.clone(), text.to_owned()));
            }
            newest = Some((checkpoint, text.to_owned()));
        })?;
        let sequence = newest.as_ref().map_or(0, |(newest, _)| newest.sequence);
        let newest = newest.filter(|(newest, _)| {
            newest.sequence > before.checkpoint && !new.contains_key(&newest.segment)
        });
        let mut notes: Vec<Note> = last.into_values().chain(newest).map(named).collect();
        notes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok((notes, sequence))
    }

    /// The notes of a file below the trail's directory; none where there is no such file.
    fn each_note(&self, file: &str, found: impl FnMut(&str)) -> Result<(), ArchiveError> {
        let path = self.trail.join(file);
        match File::open(&path) {
            Ok(opened) => each_note(BufReader::new(opened), found).map_err(ArchiveError::io(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(ArchiveError::io(&path)(error)),
        }
    }

    fn mark(&self, before: &Archived, after: &Archived) -> Result<(), ArchiveError> {
        let target = self.target()?;
        let version = after.version.as_deref();
        if after.locked_until > before.locked_until {
            target.lock(&after.object, version, after.locked_until)?;
        }
        if after.held != before.held {
            let status = if after.held { "ON" } else { "OFF" };
            target.hold(&after.object, version, status)?;
        }
        Ok(())
    }
}

fn named((checkpoint, text): (Checkpoint, String)) -> Note {
    Note {
        name: format!(
            "checkpoints/{:020}-{}.note",
            checkpoint.sequence, checkpoint.segment
        ),
        text,
        time: checkpoint.time,
    }
}
