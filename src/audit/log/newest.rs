//! Finds the newest note of a file that only grows, and where the next one goes.
//!
//! *Never*: takes the last note for the newest, or cuts off what may be more than a torn note.

use std::collections::BTreeMap;
use std::io;

use super::checkpoint::{Checkpoint, Cursor, each_note};
use super::files::{LogFile, ReadAt};
use super::note::VerifierKey;
use super::tail;

/// How much of a file of notes is looked at in one piece.
const WINDOW: u64 = 64 * 1024;
/// No note, with its signatures, is longer.
const LONGEST: u64 = 32 * 1024;
/// How much of a file's end is gone through for its newest note: a file that is thinned is shorter.
const REACH: u64 = 16 * 1024 * 1024;
/// Notes with a greater number than the last one whose signature is looked at.
const CANDIDATES: usize = 32;

/// Where the whole part of a file of notes ends: behind its last whole note. Nothing where there is none, however far
/// back.
pub(super) fn end_of_notes(file: &dyn ReadAt) -> io::Result<Option<u64>> {
    let mut to = file.size()?;
    loop {
        let from = to.saturating_sub(WINDOW);
        let piece = piece(file, from, to)?;
        if let Some(end) = end_of_last(&piece)? {
            return Ok(Some(from.saturating_add(end as u64)));
        }
        if from == 0 {
            return Ok(None);
        }
        // What lies across the border is whole in the next piece.
        to = from.saturating_add(LONGEST);
    }
}

fn piece(file: &dyn ReadAt, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(to.saturating_sub(from)).unwrap_or_default();
    let mut bytes = vec![0; length];
    let held = tail::fill(file, from, &mut bytes)?;
    bytes.truncate(held);
    Ok(bytes)
}

/// Where the last whole note of these bytes ends.
fn end_of_last(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut notes = Vec::new();
    each_note(bytes, |note| notes.push(note.to_owned()))?;
    let end = |note: &String| {
        let mut places = bytes.windows(note.len());
        let at = places.rposition(|place| place == note.as_bytes())?;
        at.checked_add(note.len())
    };
    Ok(notes.iter().rev().find_map(end))
}

/// The newest note of a file: that of the greatest sequence number.
///
/// SECURITY: not the last one: who may only append can add an older one. Where this key did not sign the last, that one
/// is what the file says: whoever opens it refuses it.
pub(super) fn newest_note(file: &dyn ReadAt, key: &VerifierKey) -> io::Result<Option<String>> {
    let Some(end) = end_of_notes(file)? else {
        return Ok(None);
    };
    let from = end.saturating_sub(REACH);
    let cursor = io::BufReader::new(Cursor::from(file, from));
    let reader = io::Read::take(cursor, end.saturating_sub(from));
    let mut last = None;
    let mut greatest: BTreeMap<(u64, u64), String> = BTreeMap::new();
    let mut order = 0_u64;
    each_note(reader, |note| {
        order = order.saturating_add(1);
        greatest.insert((claimed(note), order), note.to_owned());
        if greatest.len() > CANDIDATES {
            greatest.pop_first();
        }
        last = Some(note.to_owned());
    })?;
    let Some(last) = last else {
        return Ok(None);
    };
    let Ok(checkpoint) = Checkpoint::open(&last, key) else {
        return Ok(Some(last));
    };
    let mut foreign = None;
    for ((claimed, _), note) in greatest.into_iter().rev() {
        if claimed <= checkpoint.sequence {
            return Ok(Some(last));
        }
        if Checkpoint::open(&note, key).is_ok() {
            return Ok(Some(note));
        }
        foreign = Some(note);
    }
    // So many that nobody here signed hide what is between.
    Ok(foreign.or(Some(last)))
}

/// The sequence number that a note says it is of, whoever signed it.
fn claimed(note: &str) -> u64 {
    let line = note.lines().nth(1);
    line.and_then(|line| line.parse().ok()).unwrap_or_default()
}

/// Cuts off a note at the end that a crash left torn, and says where the next one goes. What is no torn note stays
/// where it is, fenced off: notes before it may be evidence.
pub(super) fn mend(file: &dyn LogFile) -> io::Result<u64> {
    let size = file.size()?;
    let end = end_of_notes(file)?.unwrap_or_default();
    if size.saturating_sub(end) <= LONGEST {
        file.truncate(end)?;
        return Ok(end);
    }
    let fence = b"\n\n";
    file.write_all_at(size, fence)?;
    Ok(size.saturating_add(fence.len() as u64))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::checkpoint::tests::checkpoint;
    use super::super::fault::FaultyFiles;
    use super::super::files::{Access, Files};
    use super::super::note::SigningKey;
    use super::*;

    #[test]
    fn the_newest_is_the_one_of_the_greatest_number_wherever_it_stands() {
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        let stranger = SigningKey::generate("hospital.example/gw").unwrap();
        let newest = |text: &str| {
            let note = newest_note(&text.as_bytes(), key.verifier());
            note.unwrap().unwrap()
        };
        let (one, two) = (checkpoint(1).sign(&key), checkpoint(2).sign(&key));
        // Who may only append adds an older one.
        let hidden = format!("{two}\n{}", format!("{one}\n").repeat(300));
        assert!(hidden.len() > 65_536);
        assert_eq!(newest(&hidden), two);
        // What nobody here signed is passed over, but for the last, which is for the reader to refuse.
        let forged = checkpoint(9).sign(&stranger);
        assert_eq!(newest(&format!("{one}\n{forged}\n{two}")), two);
        assert_eq!(newest(&format!("{one}\n{two}\n{forged}")), forged);
        let many: String = (0..CANDIDATES as u64)
            .map(|number| checkpoint(10 + number).sign(&stranger) + "\n")
            .collect();
        assert_eq!(claimed(&newest(&format!("{two}\n{many}{one}"))), 10);
    }

    #[test]
    fn a_long_end_without_a_note_is_searched_beyond_and_not_cut() {
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        let one = checkpoint(1).sign(&key);
        let path = Path::new("/checkpoints");
        for (rubbish, is_cut) in [(100, true), (70_000, false), (200_001, false)] {
            for whole in [String::new(), format!("{one}\n")] {
                let files = FaultyFiles::new();
                let text = whole.clone() + &"x".repeat(rubbish);
                files.replace(path, text.as_bytes());
                let file = files.open(path, Access::Write).unwrap();
                let newest = newest_note(&*file, key.verifier()).unwrap();
                assert_eq!(newest.is_some(), !whole.is_empty(), "{rubbish}");
                let end = mend(&*file).unwrap();
                let two = checkpoint(2).sign(&key);
                file.write_all_at(end, format!("\n{two}").as_bytes())
                    .unwrap();
                let left = files.content(path).unwrap();
                assert_eq!(left.starts_with(text.as_bytes()), !is_cut, "{rubbish}");
                let mut seen = Vec::new();
                each_note(left.as_slice(), |note| seen.push(claimed(note))).unwrap();
                assert_eq!(seen.last(), Some(&2));
                assert_eq!(seen.len(), if whole.is_empty() { 1 } else { 2 });
            }
        }
    }
}
