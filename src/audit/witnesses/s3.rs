//! A witness that is a bucket with Object Lock: each note is an object that nobody can remove before its time.
//!
//! *Never*: believes what the bucket shows: names that were marked as deleted or written over still have the versions
//! that are locked.
//! *On failure*: the next note is another object; nothing is lost but the time between.

use std::io::Read;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::audit::log::{Checkpoint, VerifierKey, Witness, WitnessError};
use crate::clock::SharedClock;
use crate::config::witness::S3Witness as Configured;
use crate::outbound::s3::{Bucket, S3Error, Upload};

/// Where the notes are, below the prefix.
const FOLDER: &str = "checkpoints";
/// A note is small: the store has this long for its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest object that is read as a note.
const LONGEST: u64 = 16 * 1024;
/// Objects that are looked through for a note of this log: whoever may write can add some that are none.
const TRIES: usize = 32;
/// Notes that a verification is given.
const FEW: usize = 16;
/// A year, with a day for those that leap.
const YEAR: i64 = 366 * 24;

#[derive(Debug)]
pub(super) struct S3Witness {
    config: Configured,
    name: String,
    key: VerifierKey,
    clock: SharedClock,
    /// Made on the thread that uses it: it has a runtime of its own.
    bucket: Option<Bucket>,
    held: Held,
}

/// The newest that it holds.
#[derive(Debug, Clone, Copy)]
enum Held {
    /// It has not been asked.
    NotAsked,
    /// Nothing.
    Nothing,
    /// The checkpoint of this sequence number.
    Newest(u64),
}

fn other(error: impl std::fmt::Display) -> WitnessError {
    WitnessError::Other(error.to_string())
}

/// The later the checkpoint, the smaller its name: the first of a listing is the newest.
fn name_of(sequence: u64) -> String {
    format!("{FOLDER}/{:020}.note", u64::MAX.saturating_sub(sequence))
}

impl S3Witness {
    pub(super) fn new(
        config: &Configured,
        name: String,
        key: VerifierKey,
        clock: SharedClock,
    ) -> Self {
        Self {
            config: config.clone(),
            name,
            key,
            clock,
            bucket: None,
            held: Held::NotAsked,
        }
    }

    fn bucket(&mut self) -> Result<Bucket, WitnessError> {
        match self.bucket.take() {
            Some(bucket) => Ok(bucket),
            None => Bucket::new(&self.config.target, self.clock.clone())
                .map(|bucket| bucket.answering_within(PATIENCE))
                .map_err(other),
        }
    }

    /// The newest notes of this log, at most so many, newest first.
    fn read(&self, bucket: &Bucket, most: usize) -> Result<Vec<(u64, String)>, WitnessError> {
        let mut notes = Vec::new();
        let versions = bucket.first_versions(FOLDER, TRIES).map_err(other)?;
        for version in &versions {
            let mut object = match bucket.read_from(&version.name, &version.query()) {
                Ok(object) => object.take(LONGEST),
                Err(S3Error::Missing(_)) => continue,
                Err(error) => return Err(other(error)),
            };
            let mut bytes = Vec::new();
            object.read_to_end(&mut bytes).map_err(other)?;
            let opened = String::from_utf8(bytes).ok().and_then(|note| {
                let checkpoint = Checkpoint::open(&note, &self.key).ok()?;
                Some((checkpoint.sequence, note))
            });
            notes.extend(opened);
            if notes.len() >= most {
                break;
            }
        }
        if notes.is_empty() && !versions.is_empty() {
            let count = versions.len();
            return Err(other(format!(
                "none of the first {count} objects in `{FOLDER}/` is a note of this log"
            )));
        }
        Ok(notes)
    }

    /// The newest notes, one after the other.
    pub(super) fn newest_few(&mut self) -> Result<Option<String>, WitnessError> {
        let bucket = self.bucket()?;
        let notes = self.read(&bucket, FEW)?;
        let texts: Vec<String> = notes.into_iter().map(|(_, note)| note).collect();
        Ok((!texts.is_empty()).then(|| texts.join("\n")))
    }

    fn locked_until(&self) -> Timestamp {
        let years = i64::from(self.config.lock_years);
        let span = SignedDuration::from_hours(years.saturating_mul(YEAR));
        let now = self.clock.now();
        now.saturating_add(span).unwrap_or(Timestamp::MAX)
    }
}

impl Witness for S3Witness {
    fn name(&self) -> &str {
        &self.name
    }

    fn publish(&mut self, note: &str) -> Result<(), WitnessError> {
        let opened = Checkpoint::open(note, &self.key);
        let offered = opened
            .map_err(|source| WitnessError::Note {
                place: self.name.clone(),
                source,
            })?
            .sequence;
        // The store takes any name: whether this goes back is for us to see.
        if matches!(self.held, Held::NotAsked) {
            self.newest()?;
        }
        match self.held {
            Held::Newest(held) if held > offered => {
                return Err(WitnessError::GoesBack { held, offered });
            }
            Held::NotAsked | Held::Nothing | Held::Newest(_) => {}
        }
        let bucket = self.bucket()?;
        let until = self.locked_until().strftime("%Y-%m-%dT%H:%M:%SZ");
        let headers = vec![
            ("x-amz-object-lock-mode", "COMPLIANCE".to_owned()),
            ("x-amz-object-lock-retain-until-date", until.to_string()),
            // With a lock, a store wants to be told which checksum guards the object.
            ("x-amz-sdk-checksum-algorithm", "SHA256".to_owned()),
        ];
        let object = Upload::bytes(note.as_bytes().to_vec());
        bucket
            .put(&name_of(offered), object, headers)
            .map_err(other)?;
        self.held = Held::Newest(offered);
        self.bucket = Some(bucket);
        Ok(())
    }

    fn newest(&mut self) -> Result<Option<String>, WitnessError> {
        let bucket = self.bucket()?;
        let newest = self.read(&bucket, 1)?.into_iter().next();
        self.held = newest
            .as_ref()
            .map_or(Held::Nothing, |(sequence, _)| Held::Newest(*sequence));
        self.bucket = Some(bucket);
        Ok(newest.map(|(_, note)| note))
    }

    fn pause(&self) -> Duration {
        self.config.every
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::log::{SigningKey, each_note};
    use crate::audit::witnesses::tests::note;
    use crate::clock::ManualClock;
    use crate::outbound::s3::loopback;

    struct Kit {
        log: SigningKey,
        config: Configured,
        objects: loopback::Objects,
    }

    impl Kit {
        fn new() -> Self {
            let (target, objects) = loopback::store("secret");
            Self {
                log: SigningKey::generate("gw").unwrap(),
                config: Configured {
                    target,
                    lock_years: 6,
                    every: Duration::from_mins(1),
                },
                objects,
            }
        }

        fn witness(&self) -> S3Witness {
            let clock = ManualClock::new("2026-03-01T10:00:00Z".parse().unwrap());
            let key = self.log.verifier().clone();
            S3Witness::new(&self.config, "s3".to_owned(), key, Arc::new(clock))
        }

        fn put(&self, name: &str, content: &str) {
            let path = format!("/saved/gateway-1/{name}");
            let mut objects = self.objects.lock().unwrap();
            objects.insert(path, content.as_bytes().to_vec());
        }
    }

    #[test]
    fn the_newest_of_the_bucket_is_the_first_of_its_names() {
        let kit = Kit::new();
        let mut witness = kit.witness();
        assert_eq!(witness.newest().unwrap(), None);
        for sequence in [1, 9, 10, 99, 100] {
            witness.publish(&note(&kit.log, sequence)).unwrap();
        }
        assert_eq!(witness.pause(), Duration::from_mins(1));
        let mut again = kit.witness();
        assert_eq!(again.newest().unwrap(), Some(note(&kit.log, 100)));
        let few = again.newest_few().unwrap().unwrap();
        let mut seen = Vec::new();
        each_note(few.as_bytes(), |note| seen.push(note.to_owned())).unwrap();
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn it_does_not_go_back_though_the_store_would() {
        let kit = Kit::new();
        kit.witness().publish(&note(&kit.log, 10)).unwrap();
        // Another run, that was not asked when it was opened.
        let refused = kit.witness().publish(&note(&kit.log, 9)).unwrap_err();
        assert_eq!(refused.holds(), Some(10), "{refused}");
        assert_eq!(kit.objects.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_others_put_there_hides_nothing() {
        let kit = Kit::new();
        kit.witness().publish(&note(&kit.log, 10)).unwrap();
        let stranger = SigningKey::generate("gw").unwrap();
        kit.put(&name_of(u64::MAX), "nothing");
        kit.put(&name_of(u64::MAX - 1), &note(&stranger, u64::MAX - 1));
        assert_eq!(kit.witness().newest().unwrap(), Some(note(&kit.log, 10)));
        for number in 0..TRIES as u64 {
            kit.put(&name_of(u64::MAX - number), "nothing");
        }
        let buried = kit.witness().newest().unwrap_err().to_string();
        assert!(buried.contains("is a note of this log"), "{buried}");
    }

    /// Marks of deletion, as many as anybody likes, before the version that is locked.
    #[test]
    fn no_number_of_marks_hides_a_note() {
        let kit = Kit::new();
        kit.witness().publish(&note(&kit.log, 10)).unwrap();
        for marks in [7, 100] {
            loopback::mark_deleted(&kit.objects, marks);
            let newest = kit.witness().newest();
            if marks == 7 {
                assert_eq!(newest.unwrap(), Some(note(&kit.log, 10)));
            } else {
                let said = newest.unwrap_err().to_string();
                assert!(said.contains("marks of deletion"), "{said}");
            }
        }
    }

    #[test]
    fn a_wrong_secret_is_said() {
        let kit = Kit::new();
        let mut config = kit.config.clone();
        config.target.secret_access_key = "wrong".to_owned().into();
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let key = kit.log.verifier().clone();
        let mut witness = S3Witness::new(&config, "s3".to_owned(), key, clock);
        let refused = witness.publish(&note(&kit.log, 1)).unwrap_err().to_string();
        assert!(refused.contains("SignatureDoesNotMatch"), "{refused}");
    }
}
