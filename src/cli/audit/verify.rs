//! `chartgate audit verify`: proves the trail against its chain, its checkpoints and its witnesses.
//!
//! *Never*: needs a running gateway, or a secret beside what the configuration names; it only reads.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::audit::log::{
    Checkpoint, Damage, LogEnd, MasterKey, RealFiles, Scope, SigningKey, VerifierKey, VerifyReport,
    each_note, verify_within,
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
/// Exit code 1 where anything is wrong; the first bad record is named, and what kind of damage it is.
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
    if !subject.directory.is_dir() {
        let shown = subject.directory.display();
        return Err(Failure::Failed(format!("there is no trail in `{shown}`")));
    }
    let heard = witnesses::ask(&subject.witnesses, &subject.key, clock);
    let silent = &heard.silent;
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
    if args.json {
        console.line(as_json(&report, silent))?;
    } else {
        console.text(as_text(&report, silent, &subject.directory))?;
    }
    if report.is_intact() && silent.is_empty() {
        Ok(())
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
    let text = lines.join("\n");
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

fn as_text(report: &VerifyReport, silent: &[String], directory: &Path) -> String {
    let mut lines = vec![format!(
        "{}: {} records in {} segments, {} checkpoints",
        directory.display(),
        report.records,
        report.segments,
        report.checkpoints
    )];
    if report.from > 0 {
        lines.push(format!("records before {} were not looked at", report.from));
    }
    lines.push(match report.newest_witnessed {
        Some(sequence) => format!("witnessed up to record {sequence}"),
        None => {
            "no witnessed checkpoint: a cut tail could not be told from a short trail".to_owned()
        }
    });
    lines.push(end(report.end).to_owned());
    lines.extend(
        report
            .notices
            .iter()
            .map(|notice| format!("on record: {notice:?}")),
    );
    lines.extend(
        silent
            .iter()
            .map(|reason| format!("PROBLEM witness cannot be read: {reason}")),
    );
    lines.extend(
        report
            .problems
            .iter()
            .map(|problem| format!("PROBLEM {problem}")),
    );
    if report.unlisted > 0 {
        lines.push(format!("PROBLEM and {} more", report.unlisted));
    }
    if let Some(damage) = report.damage() {
        lines.push(format!("kind of damage there: {}", damage.name()));
    }
    lines.push(match report.first_bad() {
        Some(first) => format!("NOT INTACT: the first record in doubt is {first}"),
        None if silent.is_empty() => format!(
            "intact up to record {}, chain head {}",
            report.last, report.head
        ),
        None => "NOT PROVEN: a witness is missing".to_owned(),
    });
    lines.push(String::new());
    lines.join("\n")
}

const fn end(end: LogEnd) -> &'static str {
    match end {
        LogEnd::Empty => "there is no segment yet",
        LogEnd::Sealed => "the gateway closed it in good order",
        LogEnd::Torn { .. } => {
            "the last segment is torn, as a crash leaves it; the next start cuts it and says so"
        }
        LogEnd::Unsealed => "the last segment is open, as a running gateway or a crash leaves it",
    }
}

fn as_json(report: &VerifyReport, silent: &[String]) -> serde_json::Value {
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|problem| {
            json!({
                "first_bad": problem.first_bad,
                "kind": problem.damage.name(),
                "place": problem.place,
                "message": problem.fault.to_string(),
            })
        })
        .collect();
    json!({
        "intact": report.is_intact() && silent.is_empty(),
        "first_bad": report.first_bad(),
        "kind": report.damage().map(Damage::name),
        "from": report.from,
        "records": report.records,
        "segments": report.segments,
        "last": report.last,
        "head": report.head.to_string(),
        "end": end(report.end),
        "checkpoints": report.checkpoints,
        "newest_witnessed": report.newest_witnessed,
        "problems": problems,
        "unlisted": report.unlisted,
        "silent_witnesses": silent,
        "notices": report.notices.iter().map(|notice| format!("{notice:?}")).collect::<Vec<_>>(),
    })
}
