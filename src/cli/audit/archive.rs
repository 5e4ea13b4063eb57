//! `chartgate audit archive`: the archive of the trail.
//!
//! A running gateway brings it up to date, because it owns trail and store. Without one, listing, verifying and restoring
//! need the archive; restoring needs no key at all.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
use crate::config::{Archive, Config};

/// The archive of the trail.
#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Bring the archive up to date now, through the running gateway.
    Run(RunArgs),
    /// List the segments that the archive holds.
    List(ListArgs),
    /// Read everything in the archive and prove it.
    Verify(VerifyArgs),
    /// Restore the trail from the archive into an empty directory.
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
/// Reads every segment, checks that each is whole and continues the one before, checks the signatures of checkpoints,
/// and compares with what the gateway remembers to have archived: SHA-256, locks and legal holds. Of a directory alone
/// (also a copy of a bucket) it needs no configuration. Exits with 1 where anything is wrong.
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
    let config = load(&args.common.config)?;
    let mut values = Vec::new();
    gateway::ask(&config, AdminRequest::Archive(Ask::Run), |value| {
        values.push(value);
        Ok(())
    })?;
    let ran: Ran = only(values)?;
    if args.common.json {
        console.line(serde_json::to_string(&ran).map_err(Failure::of)?)?;
    } else {
        console.line(format_args!(
            "{} segments, {} bytes and {} notes are new at {}; {} segments in all; {} ms",
            ran.segments, ran.bytes, ran.notes, ran.target, ran.total, ran.millis
        ))?;
        if ran.holds > 0 {
            console.line(format_args!("legal holds changed on {} objects", ran.holds))?;
        }
        if ran.locks > 0 {
            console.line(format_args!("{} locks were prolonged", ran.locks))?;
        }
    }
    complain(&ran.problems, console)
}

fn list(args: &ListArgs, console: &mut Console<'_>, clock: &SharedClock) -> Result<(), Failure> {
    let config = load(&args.common.config)?;
    let all: Vec<Archived> = match online(&config, Ask::List)? {
        Some(values) => values
            .into_iter()
            .map(|value| serde_json::from_value(value).map_err(Failure::of))
            .collect::<Result<_, _>>()?,
        None => remembered(&config, configured(&config)?, clock)?
            .unwrap_or_default()
            .into_values()
            .collect(),
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
            "{}  records {} to {}, newest of {}  {} bytes  locked until {}{held}",
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
        None => proven_by(&load(&args.from.config)?, clock)?,
    };
    if args.json {
        console.line(serde_json::to_string(&found).map_err(Failure::of)?)?;
    } else {
        console.text(findings(&found))?;
    }
    complain(&found.problems, console)
}

/// The running gateway verifies; without one, this process does.
fn proven_by(config: &Config, clock: &SharedClock) -> Result<Verified, Failure> {
    if let Some(values) = online(config, Ask::Verify)? {
        return only(values);
    }
    let archive = configured(config)?;
    let signer = SigningKey::read(&config.audit.signing_key).map_err(Failure::of)?;
    let known = remembered(config, archive, clock)?;
    let expected = Expected {
        known: known.as_ref(),
        key: Some(signer.verifier()),
    };
    let target = Target::open(&archive.target, clock.clone()).map_err(Failure::of)?;
    within(&scratch(config), |scratch| {
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
        "{} segments, {} bytes{range}; {} checkpoints and notes{}",
        found.segments,
        found.bytes,
        found.notes,
        if found.signed {
            ""
        } else {
            ", whose signatures were not checked: there is no --key"
        }
    )];
    lines.push(format!(
        "{} are locked in compliance mode, {} under legal hold",
        found.locked, found.held
    ));
    lines.push(if found.compared {
        "compared with what the gateway remembers".to_owned()
    } else {
        "whether segments at the end are missing cannot be told from here".to_owned()
    });
    if found.problems.is_empty() {
        lines.push("intact".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn bring_back(
    args: &RestoreArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let target = if let Some(directory) = &args.from.directory {
        Target::Directory(directory.clone())
    } else {
        let config = load(&args.from.config)?;
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
        "restored {} segments, {} bytes, {range}, and {} checkpoints of them into {to}",
        restored.segments, restored.bytes, restored.checkpoints
    ))?;
    if restored.later > 0 {
        console.line(format_args!(
            "{} checkpoints are of later records, which were not archived yet: {to}/checkpoints.later",
            restored.later
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

fn load(path: &std::path::Path) -> Result<Config, Failure> {
    Config::load_for_reading(path).map_err(Failure::Problems)
}

fn configured(config: &Config) -> Result<&Archive, Failure> {
    config.audit.archive.as_ref().ok_or_else(|| {
        Failure::Configuration("no archive is configured: add [audit.archive]".to_owned())
    })
}

fn only<T: DeserializeOwned>(values: Vec<Value>) -> Result<T, Failure> {
    serde_json::from_value(gateway::only(values)?).map_err(Failure::of)
}

/// What the running gateway answers; `None` where there is none to ask.
fn online(config: &Config, ask: Ask) -> Result<Option<Vec<Value>>, Failure> {
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
