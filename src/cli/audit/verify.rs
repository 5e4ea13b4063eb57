//! `chartgate audit verify`: proves the trail against its chain, its checkpoints and its witnesses.
//!
//! *Never*: needs a running gateway, or a secret beside what the configuration names; it only reads.

mod told;

use std::path::{Path, PathBuf};

use clap::Args;

use super::astray::holds_a_trail;
use crate::audit::log::{
    Checkpoint, MasterKey, RealFiles, Scope, SigningKey, VerifierKey, each_note, verify_within,
};
use crate::audit::witnesses;
use crate::cli::console::{Console, Failure};
use crate::cli::trail;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::witness::Witness;

/// Prove that no record was altered, removed, inserted or reordered, and that none is missing at the end.
///
/// With `--config` it takes directory, keys and witnesses from the configuration, asks those on the network, and also
/// opens every record. With
/// `--dir` and `--key` it needs no secret: a copy of the segments and the public key (`signing.pub`) are enough.
/// The end of the trail is proven only as far as the newest witnessed checkpoint.
/// A checkpoint that came by another way (printed, mailed, from a witness's store) goes into `--checkpoint`.
/// Exit code 1 where anything is wrong; the first bad record is named, and what kind of damage it is. Also where a witness
/// cannot be read, or holds no checkpoint of a trail that has records: then nothing is proven.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit verify --config /etc/chartgate/chartgate.toml\n  \
                             chartgate audit verify --dir copy/trail --key signing.pub --witness copy/checkpoints\n  \
                             chartgate audit verify --since 7d --checkpoint mailed.txt"
)]
pub struct VerifyArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml", conflicts_with_all = ["dir", "key", "witness"])]
    config: PathBuf,
    /// The trail's directory, or a copy of it.
    #[arg(long, value_name = "DIR", requires = "key")]
    dir: Option<PathBuf>,
    /// The public key of the trail's checkpoints.
    #[arg(long, value_name = "FILE", requires = "dir")]
    key: Option<PathBuf>,
    /// A witness's checkpoints, or the log that a syslog receiver wrote; may be given several times.
    #[arg(long, value_name = "FILE", requires = "dir")]
    witness: Vec<PathBuf>,
    /// A file with checkpoints that the trail must contain; `-` is standard input. May be given several times.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Begin with the last segment that a checkpoint from before this time vouches for: a span (`24h`), a day
    /// (`2026-11-22`) or a time (`2026-11-22T08:00:00Z`).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Print the findings as one JSON document.
    #[arg(long)]
    json: bool,
}

/// More checkpoints than this come in the file of a witness.
const LONGEST_CHECKPOINTS: u64 = 16 * 1024 * 1024;

/// What is to be verified.
struct Subject {
    directory: PathBuf,
    key: VerifierKey,
    witnesses: Vec<Witness>,
    master: Option<MasterKey>,
}

impl Subject {
    fn of(args: &VerifyArgs) -> Result<Self, Failure> {
        if let (Some(directory), Some(key)) = (&args.dir, &args.key) {
            return Ok(Self {
                directory: directory.clone(),
                key: VerifierKey::read(key).map_err(Failure::of)?,
                witnesses: args.witness.iter().cloned().map(Witness::File).collect(),
                master: None,
            });
        }
        let audit = Config::load_for_reading(&args.config)
            .map_err(Failure::Problems)?
            .audit;
        Ok(Self {
            key: SigningKey::read(&audit.signing_key)
                .map_err(Failure::of)?
                .verifier()
                .clone(),
            master: Some(MasterKey::read(&audit.master_key).map_err(Failure::of)?),
            directory: audit.directory,
            witnesses: audit.witnesses,
        })
    }
}

pub(super) fn run(
    args: &VerifyArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let scope = match &args.since {
        None => Scope::Whole,
        Some(text) => Scope::Since(trail::since(text, clock.now())?),
    };
    let subject = Subject::of(args)?;
    holds_a_trail(&subject.directory)?;
    let heard = witnesses::ask(&subject.witnesses, &subject.key, clock);
    let mut places = heard.places();
    let mut given = Vec::new();
    for path in &args.checkpoint {
        given.push(read_checkpoints(path, &subject.key, console)?);
    }
    places.extend(
        given
            .iter()
            .map(|(place, text)| (place.as_str(), text.as_str())),
    );
    let report = verify_within(
        scope,
        &RealFiles,
        &subject.directory,
        &subject.key,
        &places,
        subject.master.as_ref(),
    )
    .map_err(Failure::of)?;
    let finding = told::Finding {
        directory: &subject.directory,
        silent: heard.unproven(&report),
        unasked: &heard.unasked,
        report,
    };
    let said = if args.json {
        console.findings(format_args!("{}\n", finding.as_json()))
    } else {
        console.findings(finding.as_text())
    };
    // SECURITY: the verdict decides, whoever reads it or not.
    if finding.is_proven() {
        said
    } else {
        Err(Failure::Unfit)
    }
}

/// Checkpoints that came by another way. They may have been through a mail program, so line ends do not matter; but one
/// that cannot be read must not be taken for none.
fn read_checkpoints(
    path: &Path,
    key: &VerifierKey,
    console: &mut Console<'_>,
) -> Result<(String, String), Failure> {
    let place = path.display().to_string();
    let read = if place == "-" {
        console.input_text(LONGEST_CHECKPOINTS)
    } else {
        std::fs::read_to_string(path)
    };
    let text = read.map_err(|error| Failure::Failed(format!("`{place}`: {error}")))?;
    let mut lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_end_matches('\r'))
        .collect();
    lines.push("");
    // What a syslog receiver wrote will do as well.
    let text = witnesses::received(lines.join("\n"));
    let mut checkpoints = 0_usize;
    let mut reason = None;
    each_note(text.as_bytes(), |note| match Checkpoint::open(note, key) {
        Ok(_) => checkpoints = checkpoints.saturating_add(1),
        Err(error) => reason = Some(error.to_string()),
    })?;
    match (checkpoints, reason) {
        (0, Some(reason)) => Err(Failure::Failed(format!(
            "`{place}` holds no checkpoint of this trail: {reason}"
        ))),
        (0, None) => Err(Failure::Failed(format!(
            "`{place}` holds no checkpoint: a text, an empty line, and a line that begins with a dash"
        ))),
        (_, _) => Ok((place, text)),
    }
}
