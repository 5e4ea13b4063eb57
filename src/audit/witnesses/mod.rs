//! The witnesses of a configuration: opened for the log to give checkpoints to, and asked for what they hold.
//!
//! *Owns*: what each kind of witness is spoken to in. The log knows them by one trait, everybody else by this module.
//! *Never*: believes a note that this log's key did not sign; a witness that gives out others says nothing.
//! *On failure*: a witness that cannot be asked is named with the reason; the others are asked all the same.

mod holder;
mod https;
mod received;
mod s3;
mod syslog;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

use std::path::Path;
use std::sync::Arc;

pub use holder::{Holder, HolderError, Taken};
pub use received::received;
pub use watch::Watch;

use self::https::HttpsWitness;
use self::s3::S3Witness;
use self::syslog::SyslogWitness;
use super::log::{FileWitness, Files, VerifierKey, VerifyReport, Witness, WitnessError};
use crate::clock::SharedClock;
use crate::config;
use crate::config::witness::Witness as Configured;

/// The witnesses, ready to be given checkpoints of the log whose key this is. Nothing is sent yet.
#[must_use]
pub fn open(
    config: &config::Audit,
    files: &Arc<dyn Files>,
    key: &VerifierKey,
    clock: &SharedClock,
) -> Vec<Box<dyn Witness>> {
    let open = |witness: &Configured| -> Box<dyn Witness> {
        let (name, key, clock) = (witness.to_string(), key.clone(), clock.clone());
        match witness {
            Configured::File(path) => Box::new(FileWitness::new(path, Arc::clone(files), key)),
            Configured::Https(endpoint) => Box::new(HttpsWitness::new(endpoint, name, key)),
            Configured::Syslog(receiver) => {
                Box::new(SyslogWitness::new(receiver, name, &config.node, key, clock))
            }
            Configured::S3(bucket) => Box::new(S3Witness::new(bucket, name, key, clock)),
        }
    };
    config.witnesses.iter().map(open).collect()
}

/// What witnesses hold, for a verification.
#[derive(Debug, Default)]
pub struct Heard {
    /// Who, and the notes that they hold: nothing where they say that they hold none.
    pub read: Vec<(String, String)>,
    /// Who cannot be read, and why.
    pub silent: Vec<String>,
    /// Who cannot be asked at all.
    pub unasked: Vec<String>,
}

impl Heard {
    /// Places and notes, as [`super::log::verify`] takes them.
    #[must_use]
    pub fn places(&self) -> Vec<(&str, &str)> {
        let places = self.read.iter();
        places
            .map(|(place, notes)| (place.as_str(), notes.as_str()))
            .collect()
    }

    /// Who proves nothing of the log that was verified with [`Self::places`] as the first witnesses, and why: who cannot
    /// be read, and who holds no checkpoint of it.
    ///
    /// SECURITY: a witness that was cleared must not pass for one that was never asked. Only a log in which nothing
    /// stands yet has nothing to be vouched for.
    #[must_use]
    pub fn unproven(&self, report: &VerifyReport) -> Vec<String> {
        let mut unproven = self.silent.clone();
        if report.last > 0 || report.records > 0 {
            let reaches = report.witnesses.iter().take(self.read.len());
            unproven.extend(
                reaches
                    .filter(|reach| reach.checkpoints == 0)
                    .map(|reach| format!("{}: it holds no checkpoint of this trail", reach.place)),
            );
        }
        unproven
    }
}

/// Asks every witness what it holds, all at once. A syslog receiver cannot be asked: what it wrote is verified as a
/// file.
#[must_use]
pub fn ask(configured: &[Configured], key: &VerifierKey, clock: &SharedClock) -> Heard {
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = configured
            .iter()
            .map(|witness| scope.spawn(move || notes(witness, key, clock)))
            .collect();
        asked.into_iter().map(|thread| thread.join().ok()).collect()
    });
    let mut heard = Heard::default();
    for (witness, answer) in configured.iter().zip(answers) {
        match answer {
            Some(Ok(Some(notes))) => heard.read.push((witness.to_string(), notes)),
            Some(Ok(None)) => match witness {
                Configured::Syslog(_) => heard.unasked.push(witness.to_string()),
                Configured::File(_) | Configured::Https(_) | Configured::S3(_) => {
                    heard.read.push((witness.to_string(), String::new()));
                }
            },
            Some(Err(error)) => heard.silent.push(format!("{witness}: {error}")),
            None => heard.silent.push(format!("{witness}: cannot be asked")),
        }
    }
    heard
}

/// The notes that one of them holds; nothing where it cannot be asked, or holds none.
///
/// # Errors
/// [`WitnessError`].
pub fn notes(
    witness: &Configured,
    key: &VerifierKey,
    clock: &SharedClock,
) -> Result<Option<String>, WitnessError> {
    let name = || witness.to_string();
    match witness {
        Configured::File(path) => from_file(path).map(Some),
        Configured::Https(endpoint) => HttpsWitness::new(endpoint, name(), key.clone()).newest(),
        Configured::Syslog(_) => Ok(None),
        Configured::S3(bucket) => {
            S3Witness::new(bucket, name(), key.clone(), clock.clone()).newest_few()
        }
    }
}

/// The notes of a file: of checkpoints, or what a syslog receiver wrote.
///
/// # Errors
/// [`WitnessError::Other`], where it cannot be read.
pub fn from_file(path: &Path) -> Result<String, WitnessError> {
    // The log of a receiver may hold bytes of others that are no text.
    std::fs::read(path)
        .map(|bytes| received(String::from_utf8_lossy(&bytes).into_owned()))
        .map_err(|error| WitnessError::Other(error.to_string()))
}
