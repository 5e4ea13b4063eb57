//! Checkpoints: signed statements of where the log was, and the text files that collect them.
//!
//! *Never*: believes an unsigned one; [`Checkpoint`] is made only by signing or by checking.

use std::io::{self, BufRead};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use uuid::Uuid;

use super::crypt::Head;
use super::files::ReadAt;
use super::note::{NoteError, SIGNATURE_PREFIX, SigningKey, VerifierKey};
use super::tree::TreeHead;

/// A note has a handful of short lines; anything longer is not one.
const NOTE_LIMIT: usize = 16 * 1024;
const CLOCK_LIMIT: usize = 200;

/// A place in the log, as a signature vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The newest record's sequence number.
    pub sequence: u64,
    /// The chain value at that place.
    pub head: Head,
    /// The segment it is in.
    pub segment: Uuid,
    /// When it was made, by the gateway's clock.
    pub time: jiff::Timestamp,
    /// The sequence number of the checkpoint before.
    pub previous: u64,
    /// What the gateway knew of its clock.
    pub clock: String,
    /// The segment's tree up to here; format 1 has none.
    pub tree: Option<TreeHead>,
}

impl Checkpoint {
    /// Renders and signs.
    pub(super) fn sign(&self, key: &SigningKey) -> String {
        let clock: String = self
            .clock
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(CLOCK_LIMIT)
            .collect();
        let tree = self.tree.map_or_else(String::new, |tree| {
            format!(
                "tree {} {}\n",
                tree.size,
                BASE64.encode(tree.root.as_bytes())
            )
        });
        key.sign(&format!(
            "{}\n{}\n{}\ntime {}\nsegment {}\nprevious {}\nclock {}\n{tree}",
            key.verifier().name(),
            self.sequence,
            BASE64.encode(self.head.as_bytes()),
            self.time,
            self.segment,
            self.previous,
            clock.trim(),
        ))
    }

    /// Checks the signature and reads the note.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let text = key.open(note)?;
        let mut lines = text.lines();
        if lines.next() != Some(key.name()) {
            return Err(NoteError::Malformed("the origin is another log's"));
        }
        let sequence = lines
            .next()
            .and_then(|line| line.parse().ok())
            .ok_or(NoteError::Malformed("the sequence number"))?;
        let head = lines
            .next()
            .and_then(hash)
            .ok_or(NoteError::Malformed("the head"))?;
        let mut extension = |name: &str| {
            lines
                .next()
                .and_then(|line| line.strip_prefix(name))
                .map(|rest| rest.strip_prefix(' ').unwrap_or(rest))
        };
        let time = extension("time").and_then(|text| text.parse().ok());
        let segment = extension("segment").and_then(|text| text.parse().ok());
        let previous = extension("previous").and_then(|text| text.parse().ok());
        let clock = extension("clock");
        let (Some(time), Some(segment), Some(previous), Some(clock)) =
            (time, segment, previous, clock)
        else {
            return Err(NoteError::Malformed("the extension lines"));
        };
        let tree = match lines.find_map(|line| line.strip_prefix("tree ")) {
            None => None,
            Some(text) => Some(tree(text).ok_or(NoteError::Malformed("the tree"))?),
        };
        Ok(Self {
            sequence,
            head,
            segment,
            time,
            previous,
            clock: clock.to_owned(),
            tree,
        })
    }

    /// Whether a log that stated `before` can state this later, as far as the two alone tell.
    #[must_use]
    pub fn follows(&self, before: &Self) -> bool {
        let Some(records) = self.sequence.checked_sub(before.sequence) else {
            return false;
        };
        // Every checkpoint names the one before it, so none between is unknown to the log.
        if records > 0 && self.previous < before.sequence {
            return false;
        }
        match (self.tree, before.tree) {
            (Some(now), Some(then)) if self.segment == before.segment => {
                now.size.checked_sub(then.size) == Some(records)
                    && (records > 0 || now.root == then.root)
            }
            (Some(_) | None, Some(_) | None) => true,
        }
    }
}

fn hash(text: &str) -> Option<Head> {
    let bytes = BASE64.decode(text).ok()?;
    <[u8; 32]>::try_from(bytes).ok().map(Head::from_bytes)
}

fn tree(text: &str) -> Option<TreeHead> {
    let (size, root) = text.split_once(' ')?;
    Some(TreeHead {
        size: size.parse().ok()?,
        root: hash(root)?,
    })
}

/// Goes through the notes of a text, skipping what is not a whole note: a torn end, or one with
/// the zeroes of a sector that a crash kept from the disk.
///
/// # Errors
/// The reader's own.
pub fn each_note(reader: impl BufRead, mut found: impl FnMut(&str)) -> io::Result<()> {
    let mut lines = Lines(reader);
    let mut body = String::new();
    let mut note = String::new();
    let mut line = Vec::new();
    while lines.read(&mut line)? {
        let text = std::str::from_utf8(&line).unwrap_or("\u{fffd}\n");
        if text.starts_with(SIGNATURE_PREFIX) && !note.is_empty() {
            if text.ends_with('\n') && note.len() <= NOTE_LIMIT {
                note.push_str(text);
            }
            continue;
        }
        // A note ends where its signature lines end.
        if is_whole(&note) {
            found(&note);
        }
        note.clear();
        if text == "\n" {
            if !body.is_empty() {
                std::mem::swap(&mut note, &mut body);
                note.push('\n');
            }
            body.clear();
        } else if body.len().saturating_add(text.len()) <= NOTE_LIMIT {
            body.push_str(text);
        }
    }
    if is_whole(&note) {
        found(&note);
    }
    Ok(())
}

fn is_whole(note: &str) -> bool {
    !note.contains('\0')
        && note
            .lines()
            .last()
            .is_some_and(|last| last.starts_with(SIGNATURE_PREFIX))
}

struct Lines<R>(R);

impl<R: BufRead> Lines<R> {
    /// Reads one line of at most [`NOTE_LIMIT`] bytes; a longer one comes in pieces.
    fn read(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let limit = NOTE_LIMIT as u64;
        io::Read::take(&mut self.0, limit).read_until(b'\n', line)?;
        Ok(!line.is_empty())
    }
}

/// Reading a file from its start.
pub(super) struct Cursor<'f> {
    file: &'f dyn ReadAt,
    at: u64,
}

impl<'f> Cursor<'f> {
    pub(super) const fn new(file: &'f dyn ReadAt) -> Self {
        Self::from(file, 0)
    }

    /// Reading it from there.
    pub(super) const fn from(file: &'f dyn ReadAt, at: u64) -> Self {
        Self { file, at }
    }
}

impl io::Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(self.at, buffer)?;
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::newest::{end_of_notes, newest_note};
    use super::*;

    pub(in super::super) fn checkpoint(sequence: u64) -> Checkpoint {
        Checkpoint {
            sequence,
            head: Head::from_bytes([7; 32]),
            segment: Uuid::from_u128(3),
            time: "2026-03-01T10:00:00Z".parse().unwrap(),
            previous: sequence / 2,
            clock: "synchronised, offset 0.4 ms".to_owned(),
            tree: Some(TreeHead {
                size: 5,
                root: Head::from_bytes([9; 32]),
            }),
        }
    }

    #[test]
    fn a_checkpoint_reads_back() {
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        let note = checkpoint(12).sign(&key);
        assert_eq!(Checkpoint::open(&note, key.verifier()), Ok(checkpoint(12)));
        let other = SigningKey::generate("hospital.example/gw").unwrap();
        assert!(matches!(
            Checkpoint::open(&note, other.verifier()),
            Err(NoteError::OtherKey(_))
        ));
        let mut of_format_1 = checkpoint(12);
        of_format_1.tree = None;
        let note = of_format_1.sign(&key);
        assert_eq!(Checkpoint::open(&note, key.verifier()), Ok(of_format_1));
        let text = checkpoint(12).sign(&key);
        let (text, _) = text.split_once("tree ").unwrap();
        let strange = key.sign(&format!("{text}tree 5 short\n"));
        assert!(Checkpoint::open(&strange, key.verifier()).is_err());
    }

    #[test]
    fn a_clock_state_cannot_add_lines() {
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        let mut sly = checkpoint(12);
        sly.clock = "fine\nprevious 99\n\nx".to_owned();
        let read = Checkpoint::open(&sly.sign(&key), key.verifier()).unwrap();
        assert_eq!(
            (read.previous, read.clock.as_str()),
            (6, "fine previous 99  x")
        );
    }

    #[test]
    fn a_torn_end_hides_no_whole_note() {
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        let (one, two) = (checkpoint(1).sign(&key), checkpoint(2).sign(&key));
        let whole = format!("{one}\n{two}\n");
        for end in one.len()..=whole.len() {
            let cut = &whole.as_bytes()[..end];
            let mut seen = Vec::new();
            each_note(cut, |note| seen.push(note.to_owned())).unwrap();
            let newest = newest_note(&cut, key.verifier()).unwrap().unwrap();
            let at = end_of_notes(&cut).unwrap().unwrap();
            if end < one.len() + 1 + two.len() {
                assert_eq!(
                    (newest.as_str(), at),
                    (one.as_str(), one.len() as u64),
                    "{end}"
                );
            } else {
                assert_eq!(newest, two);
                assert_eq!(seen, [one.clone(), two.clone()]);
            }
        }
    }

    #[test]
    fn a_checkpoint_that_passes_over_another_does_not_follow_it() {
        let tree = |size: u64, root: u8| {
            Some(TreeHead {
                size,
                root: Head::from_bytes([root; 32]),
            })
        };
        let at = |sequence: u64, previous: u64, tree: Option<TreeHead>| Checkpoint {
            previous,
            tree,
            ..checkpoint(sequence)
        };
        let held = at(62, 60, tree(5, 1));
        assert!(at(62, 62, tree(5, 1)).follows(&held), "its seal");
        assert!(!at(62, 62, tree(5, 2)).follows(&held), "another record 62");
        assert!(!at(61, 60, tree(4, 1)).follows(&held), "it goes back");
        assert!(at(64, 62, tree(7, 2)).follows(&held));
        assert!(!at(64, 62, tree(6, 2)).follows(&held), "a record too few");
        assert!(!at(81, 40, None).follows(&held), "that log never was at 62");
        let mut next = at(81, 70, tree(2, 3));
        next.segment = Uuid::from_u128(4);
        assert!(next.follows(&held));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_gone_through(bytes: Vec<u8>) {
            each_note(bytes.as_slice(), |_| {}).unwrap();
            let key = SigningKey::generate("hospital.example/gw").unwrap();
            let _newest = newest_note(&bytes.as_slice(), key.verifier()).unwrap();
        }
    }
}
