//! `chartgate audit archive`: the archive of the trail.
//!
//! A running gateway brings it up to date, because it owns trail and store. Without one, listing, verifying and restoring
//! need the archive; restoring needs no key at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::protocol::AdminRequest;
use crate::archive::{Ask, Expected, Ran, Target, Verified, restore, scratch, verify, within};
use crate::audit::archived::{Archived, Shelf};
use crate::audit::log::{SigningKey, VerifierKey};
use crate::audit::query::answer::instant;
use crate::cli::console::{Console, Failure};
use crate::cli::gateway::Common;
use crate::cli::{gateway, offline};
use crate::clock::SharedClock;
use crate::config::{Archive, ArchiveTarget, Config};
use crate::counted::counted;

/// The archive of the trail.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum ArchiveCommand {
    Run(RunArgs),
    List(ListArgs),
    Verify(VerifyArgs),
    Restore(RestoreArgs),
}

/// Bring the archive up to date now, through the running gateway.
///
/// The gateway does so by itself every `audit.archive.every`. Segments that have ended are stored byte for byte, locked
/// for as long as the trail is kept, read back and compared; the newest checkpoint goes with them. Exits with 1 where
/// anything could not be archived.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate audit archive run --config /etc/chartgate/chartgate.toml"
)]
pub struct RunArgs {
    #[command(flatten)]
    common: Common,
}

/// List the segments that the archive holds, as the gateway remembers them.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit archive list\n  chartgate audit archive list --json"
)]
pub struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Read everything in the archive and prove it.
///
/// Reads every segment, checks that each is whole and continues the one before, that none is missing of which a checkpoint
/// or a later segment tells, checks the signatures of checkpoints, and compares with what the gateway remembers to have
/// archived: SHA-256, locks and legal holds. Of a directory alone (also a copy of a bucket) it needs no configuration.
/// Exits with 1 where anything is wrong, and where nothing is archived.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  chartgate audit archive verify\n  \
    chartgate audit archive verify --directory /mnt/archive --key signing.pub")]
pub struct VerifyArgs {
    #[command(flatten)]
    from: From,
    /// The public key of the trail's checkpoints, where no configuration names it.
    #[arg(long, value_name = "FILE", requires = "directory")]
    key: Option<PathBuf>,
    /// Print the findings as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Restore the trail from the archive into an empty directory.
///
/// Nothing is overwritten and no running gateway is touched. `chartgate audit verify --dir DIR --key signing.pub
/// --witness DIR/checkpoints` then proves what came back; the master key opens it (docs/archive.md).
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit archive restore --to /tmp/restored\n  \
    chartgate audit archive restore --directory /mnt/archive --to /tmp/restored"
)]
pub struct RestoreArgs {
    /// The directory to restore into; it must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    from: From,
    /// Print what was restored as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Where an archive is read from.
#[derive(Debug, Args)]
struct From {
    /// The configuration file.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "chartgate.toml",
        conflicts_with = "directory"
    )]
    config: PathBuf,
    /// An archive in a directory, in place of a configuration; also a copy of a bucket.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(super) fn run(
    command: &ArchiveCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    match command {
        ArchiveCommand::Run(args) => bring_up_to_date(args, console),
        ArchiveCommand::List(args) => list(args, console, clock),
        ArchiveCommand::Verify(args) => prove(args, console, clock),
        ArchiveCommand::Restore(args) => bring_back(args, console, clock),
    }
}

fn bring_up_to_date(args: &RunArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut values = Vec::new();
    gateway::ask(
        &args.common.config,
        AdminRequest::Archive(Ask::Run),
        |value| {
            values.push(value);
            Ok(())
        },
    )?;
    let ran: Ran = only(values)?;
    if args.common.json {
        console.line(serde_json::to_string(&ran).map_err(Failure::of)?)?;
    } else {
        console.line(format_args!(
            "{}, {} and {} are new at {}; {} in all; {} ms",
            counted(ran.segments, "segment"),
            counted(ran.bytes, "byte"),
            counted(ran.notes, "note"),
            ran.target,
            counted(ran.total, "segment"),
            ran.millis
        ))?;
        // A directory locks nothing and knows no holds by itself.
        let locks = is_locked(&args.common.config);
        if ran.holds > 0 && locks {
            console.line(format_args!(
                "legal holds changed on {}",
                counted(ran.holds, "object")
            ))?;
        }
        if ran.locks > 0 {
            let what = if locks {
                "locks"
            } else {
                "dates until which objects are to be kept"
            };
            console.line(format_args!("{} {what} were prolonged", ran.locks))?;
        }
    }
    complain(&ran.problems, console)
}

fn list(args: &ListArgs, console: &mut Console<'_>, clock: &SharedClock) -> Result<(), Failure> {
    let all: Vec<Archived> = if let Some(values) = online(&args.common.config, Ask::List)? {
        values
            .into_iter()
            .map(|value| serde_json::from_value(value).map_err(Failure::of))
            .collect::<Result<_, _>>()?
    } else {
        let config = offline::config(&args.common.config)?;
        let known = remembered(&config, configured(&config)?, clock)?;
        known.unwrap_or_default().into_values().collect()
    };
    let kept = if is_locked(&args.common.config) {
        "locked until"
    } else {
        "to be kept until"
    };
    for archived in &all {
        if args.common.json {
            console.line(serde_json::to_string(archived).map_err(Failure::of)?)?;
            continue;
        }
        let held = if archived.holds.is_empty() {
            String::new()
        } else {
            let holds: Vec<String> = archived.holds.iter().map(u64::to_string).collect();
            format!("  hold {}", holds.join(", "))
        };
        console.line(format_args!(
            "{}  records {} to {}, newest of {}  {} bytes  {kept} {}{held}",
            archived.object,
            archived.first,
            archived.last,
            instant(archived.newest),
            archived.bytes,
            instant(archived.locked_until)
        ))?;
    }
    if all.is_empty() && !args.common.json {
        console.note("nothing was archived yet")?;
    }
    Ok(())
}

fn prove(args: &VerifyArgs, console: &mut Console<'_>, clock: &SharedClock) -> Result<(), Failure> {
    let found = match &args.from.directory {
        Some(directory) => {
            let key = args.key.as_deref().map(VerifierKey::read).transpose();
            let key = key.map_err(Failure::of)?;
            let expected = Expected {
                known: None,
                key: key.as_ref(),
            };
            // Objects of a directory are read where they lie.
            verify(&Target::Directory(directory.clone()), expected, directory)
                .map_err(Failure::of)?
        }
        None => proven_by(&args.from.config, clock)?,
    };
    if args.json {
        console.line(serde_json::to_string(&found).map_err(Failure::of)?)?;
    } else {
        console.text(findings(&found))?;
    }
    complain(&found.problems, console)?;
    if found.segments == 0 {
        return Err(Failure::Unfit);
    }
    Ok(())
}

/// The running gateway verifies; without one, this process does.
fn proven_by(file: &Path, clock: &SharedClock) -> Result<Verified, Failure> {
    if let Some(values) = online(file, Ask::Verify)? {
        return only(values);
    }
    let config = offline::config(file)?;
    let archive = configured(&config)?;
    let signer = SigningKey::read(&config.audit.signing_key).map_err(Failure::of)?;
    let known = remembered(&config, archive, clock)?;
    let expected = Expected {
        known: known.as_ref(),
        key: Some(signer.verifier()),
    };
    let target = Target::open(&archive.target, clock.clone()).map_err(Failure::of)?;
    within(&scratch(&config), |scratch| {
        verify(&target, expected, scratch)
    })
    .map_err(Failure::of)
}

fn findings(found: &Verified) -> String {
    let range = match (found.first, found.last) {
        (Some(first), Some(last)) => format!(", records {first} to {last}"),
        (None, _) | (_, None) => String::new(),
    };
    let mut lines = vec![format!(
        "{}, {}{range}; {} checkpoints and notes{}",
        counted(found.segments, "segment"),
        counted(found.bytes, "byte"),
        found.notes,
        if found.signed {
            ""
        } else {
            ", whose signatures were not checked: there is no --key"
        }
    )];
    lines.push(if found.locking {
        format!(
            "{} are locked in compliance mode, {} under legal hold",
            found.locked, found.held
        )
    } else {
        "a directory locks nothing by itself: what keeps them is its file system".to_owned()
    });
    lines.push(if found.compared {
        "compared with what the gateway remembers".to_owned()
    } else {
        behind(found)
    });
    lines.push(if found.segments == 0 {
        "NOTHING IS ARCHIVED".to_owned()
    } else if found.problems.is_empty() {
        "intact".to_owned()
    } else {
        format!("NOT INTACT: {}", counted(found.problems.len(), "problem"))
    });
    lines.push(String::new());
    lines.join("\n")
}

/// What cannot be told where nobody remembers what was archived.
fn behind(found: &Verified) -> String {
    match (found.witnessed, found.last) {
        (Some(witnessed), Some(last)) if witnessed > last => format!(
            "the newest checkpoint is of record {witnessed}, in a segment that is not in the archive: it was still being \
             written then, or is missing; whether more is missing behind it cannot be told from here"
        ),
        (_, Some(last)) => {
            format!("whether segments behind record {last} are missing cannot be told from here")
        }
        (_, None) => "whether there ever was a segment cannot be told from here".to_owned(),
    }
}

fn bring_back(
    args: &RestoreArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let target = if let Some(directory) = &args.from.directory {
        Target::Directory(directory.clone())
    } else {
        let config = Config::load_for_reading(&args.from.config).map_err(Failure::Problems)?;
        let archive = configured(&config)?;
        Target::open(&archive.target, clock.clone()).map_err(Failure::of)?
    };
    let restored = restore(&target, &args.to).map_err(Failure::of)?;
    if args.json {
        console.line(serde_json::to_string(&restored).map_err(Failure::of)?)?;
        return complain(&restored.problems, console);
    }
    let range = match (restored.first, restored.last) {
        (Some(first), Some(last)) => format!("records {first} to {last}"),
        (None, _) | (_, None) => "no record".to_owned(),
    };
    let to = args.to.display();
    console.line(format_args!(
        "restored {}, {}, {range}, and {} of them into {to}",
        counted(restored.segments, "segment"),
        counted(restored.bytes, "byte"),
        counted(restored.checkpoints, "checkpoint")
    ))?;
    if restored.later > 0 {
        console.line(format_args!(
            "{} of later records, which were not archived yet: {to}/checkpoints.later",
            counted(restored.later, "checkpoint")
        ))?;
    }
    console.line(format_args!(
        "prove it: chartgate audit verify --dir {to} --key signing.pub --witness {to}/checkpoints"
    ))?;
    complain(&restored.problems, console)
}

fn complain(problems: &[String], console: &mut Console<'_>) -> Result<(), Failure> {
    for problem in problems {
        console.note(format_args!("PROBLEM {problem}"))?;
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::Unfit)
    }
}

fn configured(config: &Config) -> Result<&Archive, Failure> {
    config.audit.archive.as_ref().ok_or_else(|| {
        Failure::Configuration(
            "no archive is configured: add `[audit.archive]` (docs/archive.md)".to_owned(),
        )
    })
}

/// Whether the configured archive locks what is in it; an operator who may not read the configuration's secrets is told
/// what holds of every archive.
fn is_locked(config: &Path) -> bool {
    offline::config(config).is_ok_and(|config| configured(&config).is_ok_and(locks))
}

/// Whether an archive keeps everybody from removing what is in it.
fn locks(archive: &Archive) -> bool {
    match archive.target {
        ArchiveTarget::S3(_) => true,
        ArchiveTarget::Directory(_) => false,
    }
}

fn only<T: DeserializeOwned>(values: Vec<Value>) -> Result<T, Failure> {
    serde_json::from_value(gateway::only(values)?).map_err(Failure::of)
}

/// What the running gateway answers; `None` where there is none to ask.
fn online(config: &Path, ask: Ask) -> Result<Option<Vec<Value>>, Failure> {
    gateway::ask_if_running(config, AdminRequest::Archive(ask))
}

/// What a gateway that does not run remembers to have archived, where its store is here.
fn remembered(
    config: &Config,
    archive: &Archive,
    clock: &SharedClock,
) -> Result<Option<BTreeMap<u64, Archived>>, Failure> {
    if !config.store.path.exists() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let store = offline::store(config, clock).await?;
        let shelf = Shelf::new(store, &archive.target.describe());
        shelf.all().await.map(Some).map_err(Failure::of)
    })
}
