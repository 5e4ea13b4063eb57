//! `chartgate audit check-proof`: checks a proof of records, with the public key alone.
//!
//! *Never*: needs a configuration, a gateway or a secret; it only reads.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::audit::log::{Checkpoint, Established, Proof, VerifierKey, each_note};
use crate::cli::console::{Console, Failure};

/// A proof is no longer; the rest of a longer file is not read.
const LONGEST: u64 = 16 * 1024 * 1024 + 1;

/// Check that the records of a proof stand in the trail of this public key, and show them.
///
/// It needs the file and the key, nothing else. With --witness the checkpoint that vouches for a record must be one that
/// the witness holds: then not even the gateway's own signing key could have made it up later. Exit code 1, with the reason,
/// where anything does not fit.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit check-proof proof.json --key signing.pub\n  \
                             chartgate audit check-proof proof.json --key signing.pub --witness copy/checkpoints --json"
)]
pub struct CheckProofArgs {
    /// The proof.
    #[arg(value_name = "FILE")]
    proof: PathBuf,
    /// The public key of the trail's checkpoints.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A witness's checkpoints.
    #[arg(long, value_name = "FILE")]
    witness: Option<PathBuf>,
    /// Print the findings as one JSON document.
    #[arg(long)]
    json: bool,
}

/// What a check came to.
struct Findings {
    records: Vec<Established>,
    /// Whether the witness holds the checkpoint of each; nothing, where no witness was given.
    held: Option<Vec<bool>>,
    /// Whether the witness holds nothing of this trail.
    barren: bool,
}

pub(super) fn run(args: &CheckProofArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let key = VerifierKey::read(&args.key).map_err(Failure::of)?;
    let checked = match Proof::parse(&read(&args.proof)?) {
        Ok(proof) => proof.check(&key),
        Err(error) => Err(error),
    };
    let notes = args.witness.as_deref().map(notes).transpose()?;
    let records = match checked {
        Ok(records) => records,
        Err(error) => {
            if args.json {
                console.line(json!({ "proven": false, "reason": error.to_string() }))?;
                return Err(Failure::Unfit);
            }
            return Err(Failure::Failed(format!("NOT PROVEN: {error}")));
        }
    };
    let barren = match &notes {
        Some(notes) => !holds_a_checkpoint(notes, &key)?,
        None => false,
    };
    let held = notes.map(|notes| {
        let records = records.iter();
        records
            .map(|record| record.is_held_in(&notes, &key))
            .collect()
    });
    let findings = Findings {
        records,
        held,
        barren,
    };
    if args.json {
        console.line(findings.as_json())?;
    } else {
        console.text(findings.as_text(&key))?;
    }
    if findings.stands() {
        Ok(())
    } else {
        Err(Failure::Unfit)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_end(&mut bytes))
        .map_err(|error| Failure::Failed(format!("`{}`: {error}", path.display())))?;
    Ok(bytes)
}

fn notes(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Failed(format!("`{}`: {error}", path.display())))
}

/// Whether there is a checkpoint of the trail of this key among what a witness holds.
fn holds_a_checkpoint(notes: &str, key: &VerifierKey) -> Result<bool, Failure> {
    let mut found = false;
    each_note(notes.as_bytes(), |note| {
        found = found || Checkpoint::open(note, key).is_ok();
    })?;
    Ok(found)
}

impl Findings {
    fn stands(&self) -> bool {
        let held = self.held.iter().flatten();
        held.copied().all(|held| held)
    }

    /// Each record, and whether the witness holds its checkpoint.
    fn each(&self) -> impl Iterator<Item = (&Established, Option<bool>)> {
        let held = self.held.iter().flatten().copied().map(Some);
        self.records.iter().zip(held.chain(std::iter::repeat(None)))
    }

    fn as_text(&self, key: &VerifierKey) -> String {
        let mut text = String::new();
        for (record, held) in self.each() {
            let checkpoint = &record.checkpoint;
            let lines = [
                format!(
                    "record {} stands in the trail of {}, segment {}",
                    record.sequence,
                    key.name(),
                    record.segment
                ),
                format!(
                    "  vouched for by the checkpoint at record {} of {}",
                    checkpoint.sequence, checkpoint.time
                ),
                match held {
                    Some(true) => "  which the witness holds".to_owned(),
                    Some(false) if self.barren => {
                        "  NOT WITNESSED: the witness's file holds no checkpoint of this trail"
                            .to_owned()
                    }
                    Some(false) => {
                        "  NOT WITNESSED: the witness does not hold this checkpoint".to_owned()
                    }
                    None => {
                        "  (whether a witness holds it was not looked at: --witness)".to_owned()
                    }
                },
                match &record.payload {
                    Some(payload) => shown(payload),
                    None => "  what it says is not part of the proof".to_owned(),
                },
            ];
            for line in lines {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }

    fn as_json(&self) -> Value {
        let records: Vec<Value> = self
            .each()
            .map(|(record, held)| {
                let checkpoint = &record.checkpoint;
                json!({
                    "sequence": record.sequence,
                    "segment": record.segment,
                    "checkpoint": {
                        "sequence": checkpoint.sequence,
                        "head": checkpoint.head,
                        "time": checkpoint.time,
                        "clock": checkpoint.clock,
                    },
                    "witnessed": held,
                    "entry": record.payload.as_deref().map(entry),
                })
            })
            .collect();
        json!({ "proven": self.stands(), "records": records })
    }
}

/// The record as JSON, or its text where it is none.
fn entry(payload: &[u8]) -> Value {
    serde_json::from_slice(payload)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(payload).into_owned()))
}

fn shown(payload: &[u8]) -> String {
    let pretty = serde_json::to_string_pretty(&entry(payload)).unwrap_or_default();
    // A terminal must not be steered by what a record holds; JSON escapes all but these.
    let harmless: String = pretty
        .chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    format!("  {}", harmless.replace('\n', "\n  "))
}
