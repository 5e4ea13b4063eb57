//! Keeps a file of checkpoints from growing for ever: of those long past, the last of each hour is enough.
//!
//! Verification needs the newest checkpoint, and older ones only to say more closely where a rewritten log parts from
//! what its witness saw.
//!
//! *Never*: removes one of the newest [`KEPT`] checkpoints, a note that this log's key did not sign, or anything in
//! place: the thinned copy is durable before it takes the file's name.
//! *On failure*: the file stays as it is and goes on growing; the caller says so.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, Cursor, each_note};
use super::files::{Files, LogFile, ReadAt};
use super::note::VerifierKey;

/// The newest checkpoints are all kept: at one each ten seconds, those of more than a day.
const KEPT: usize = 10_000;
/// A file is thinned when it has grown by this. A checkpoint has about 350 bytes.
const GROWTH: u64 = 8 * 1024 * 1024;
const SECONDS: i64 = 3600;

/// When a file is thinned, and what is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thinning {
    kept: usize,
    growth: u64,
    due: u64,
}

impl Default for Thinning {
    fn default() -> Self {
        Self::new(KEPT, GROWTH)
    }
}

impl Thinning {
    pub(super) const fn new(kept: usize, growth: u64) -> Self {
        Self {
            kept,
            growth,
            due: growth,
        }
    }

    /// Thins the file at `path` if it has `size` bytes and that is due; returns the file that stands in its place.
    ///
    /// # Errors
    /// The device's own, and `Unsupported` where the file is none of its own (a link). It is not tried again before
    /// the file has grown by as much once more.
    pub(super) fn apply(
        &mut self,
        files: &dyn Files,
        path: &Path,
        key: &VerifierKey,
        size: u64,
    ) -> io::Result<Option<(Box<dyn LogFile>, u64)>> {
        if size < self.due {
            return Ok(None);
        }
        self.due = size.saturating_add(self.growth);
        let thinned = thin(files, path, key, self.kept)?;
        self.due = thinned.1.saturating_add(self.growth);
        Ok(Some(thinned))
    }
}

fn thin(
    files: &dyn Files,
    path: &Path,
    key: &VerifierKey,
    kept: usize,
) -> io::Result<(Box<dyn LogFile>, u64)> {
    let old = files.open(path, super::files::Access::Read)?;
    let text = selected(&*old, key, kept)?;
    let aside = aside(path);
    match files.remove(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let new = files.create(&aside)?;
    files.stand_in(path, &aside)?;
    new.write_all_at(0, text.as_bytes())?;
    new.sync_data()?;
    files.rename(&aside, path)?;
    if let Some(parent) = path.parent() {
        files.sync_dir(parent)?;
    }
    Ok((new, text.len() as u64))
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".thinned");
    path.with_file_name(name)
}

/// The notes that stay, in order.
fn selected(file: &dyn ReadAt, key: &VerifierKey, kept: usize) -> io::Result<String> {
    let mut count = 0_usize;
    each_note(BufReader::new(Cursor::new(file)), |_| {
        count = count.saturating_add(1);
    })?;
    let old = count.saturating_sub(kept);
    let mut text = String::new();
    // The last checkpoint of its hour so far.
    let mut last: Option<(i64, String)> = None;
    let mut index = 0_usize;
    each_note(BufReader::new(Cursor::new(file)), |note| {
        let hour = (index < old)
            .then(|| Checkpoint::open(note, key).ok())
            .flatten()
            .map(|checkpoint| checkpoint.time.as_second().div_euclid(SECONDS));
        index = index.saturating_add(1);
        let before = last.take();
        if let Some((_, before)) = before.filter(|(of, _)| Some(*of) != hour) {
            append(&mut text, &before);
        }
        match hour {
            Some(hour) => last = Some((hour, note.to_owned())),
            None => append(&mut text, note),
        }
    })?;
    if let Some((_, last)) = last {
        append(&mut text, &last);
    }
    Ok(text)
}

fn append(text: &mut String, note: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(note);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::log::crypt::Head;
    use crate::audit::log::fault::{FaultyFiles, Injection};
    use crate::audit::log::note::SigningKey;
    use uuid::Uuid;

    const FILE: &str = "/elsewhere/checkpoints";

    fn note(key: &SigningKey, sequence: u64, minute: i64) -> String {
        let start: jiff::Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let checkpoint = Checkpoint {
            sequence,
            head: Head::from_bytes([7; 32]),
            segment: Uuid::from_u128(3),
            time: start
                .checked_add(jiff::SignedDuration::from_mins(minute))
                .unwrap(),
            previous: 0,
            clock: String::new(),
            tree: None,
        };
        checkpoint.sign(key)
    }

    fn sequences(files: &FaultyFiles, key: &VerifierKey) -> Vec<Option<u64>> {
        let content = files.content(Path::new(FILE)).unwrap();
        let mut found = Vec::new();
        each_note(content.as_slice(), |note| {
            found.push(Checkpoint::open(note, key).ok().map(|c| c.sequence));
        })
        .unwrap();
        found
    }

    /// Ten checkpoints twenty minutes apart, one by a stranger, and a torn one at the end.
    fn filled(key: &SigningKey) -> (FaultyFiles, u64) {
        let stranger = SigningKey::generate("hospital.example/other").unwrap();
        let mut text = note(&stranger, 1, 0);
        for (number, minute) in (1..=10).zip((0_i64..).step_by(20)) {
            text.push('\n');
            text.push_str(&note(key, number, minute));
        }
        text.push_str("\nhospital.example/gw\n99\n");
        let files = FaultyFiles::new();
        files.replace(Path::new(FILE), text.as_bytes());
        (files, text.len() as u64)
    }

    #[test]
    fn of_old_checkpoints_the_last_of_each_hour_stays() {
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        let (files, size) = filled(&key);
        let mut thinning = Thinning::new(3, size);
        let early = thinning.apply(&files, Path::new(FILE), key.verifier(), size - 1);
        assert!(early.unwrap().is_none(), "not yet");
        let thinned = thinning.apply(&files, Path::new(FILE), key.verifier(), size);
        let (file, end) = thinned.unwrap().unwrap();
        // 10:00 to 10:40, 11:00 to 11:40, 12:00; then the newest three, all of them.
        let expected = [None, Some(3), Some(6), Some(7), Some(8), Some(9), Some(10)];
        assert_eq!(sequences(&files, key.verifier()), expected);
        assert_eq!(file.size().unwrap(), end);
        assert_eq!(files.paths(), [Path::new(FILE)], "nothing is left over");
        let again = thinning.apply(&files, Path::new(FILE), key.verifier(), end + 1);
        assert!(again.unwrap().is_none(), "only when it has grown again");
    }

    /// On a real disk: an auditor who may read the file still may, and a link is not replaced.
    #[test]
    fn a_thinned_file_keeps_its_permissions_and_a_link_is_left_alone() {
        use crate::audit::log::RealFiles;
        use std::os::unix::fs::PermissionsExt;
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("checkpoints"), dir.path().join("link"));
        let text: Vec<String> = (1..=3).map(|number| note(&key, number, 0)).collect();
        std::fs::write(&path, text.join("\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let refused = Thinning::new(1, 1).apply(&RealFiles, &link, key.verifier(), 1);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
        let thinned = Thinning::new(1, 1).apply(&RealFiles, &path, key.verifier(), 1);
        assert!(thinned.unwrap().is_some());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let left = std::fs::read_to_string(&path).unwrap();
        assert_eq!(left, text[1..].join("\n"));
    }

    #[test]
    fn whatever_fails_the_newest_checkpoints_are_there() {
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        let (start, size) = filled(&key);
        let before = start.operations();
        for step in 1..=6 {
            let files = start.copy();
            files.plan(before + step, Injection::Fail);
            let thinned = Thinning::new(3, 1).apply(&files, Path::new(FILE), key.verifier(), size);
            let kept = sequences(&files, key.verifier());
            assert!(
                kept.ends_with(&[Some(8), Some(9), Some(10)]),
                "step {step}: {kept:?}"
            );
            // And the next time it works.
            files.repair();
            let again = Thinning::new(3, 1).apply(&files, Path::new(FILE), key.verifier(), size);
            assert!(again.unwrap().is_some(), "step {step}");
            drop(thinned);
        }
    }
}
