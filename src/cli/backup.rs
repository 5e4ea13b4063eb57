//! `chartgate backup`: making, listing, verifying, practising and restoring backups.
//!
//! A running gateway does the work, because it owns trail and store. Without one, listing, verifying and restoring
//! need the target, the backup key and the public signing key.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::console::{Console, Failure};
use super::{gateway, offline};
use crate::admin::protocol::AdminRequest;
use crate::audit::log::{MasterKey, VerifierKey};
use crate::backup::{Ask, Drilled, Keys, Link, Made, State, Target, Vault, Verified};
use crate::clock::SharedClock;
use crate::config::{Config, Store as StoreConfig};
use crate::counted::counted;
use crate::store::Store;

/// Make, list, verify, practise and restore backups.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum BackupCommand {
    Run(RunArgs),
    List(ListArgs),
    Verify(VerifyArgs),
    Drill(DrillArgs),
    Restore(RestoreArgs),
}

/// Make a backup now, through the running gateway.
///
/// Saves the trail up to its newest durable record, the checkpoints of its witnesses, a consistent copy of the store,
/// policies, configuration, public keys, recovery files, and each `[[backup.source]]`. What an earlier backup stored
/// is referred to. Private keys are never in it. Exits with 1 where anything could not be saved.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate backup run --config /etc/chartgate/chartgate.toml"
)]
pub struct RunArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print what was made as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Where backups are read from.
#[derive(Debug, Args)]
struct From {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml", conflicts_with_all = ["target", "key", "signed_by"])]
    config: PathBuf,
    /// A directory with backups, in place of a configuration; also a copy of a bucket.
    #[arg(long, value_name = "DIR", requires_all = ["key", "signed_by"])]
    target: Option<PathBuf>,
    /// The backup key.
    #[arg(long, value_name = "FILE", requires = "target")]
    key: Option<PathBuf>,
    /// The public key of the gateway that made them.
    #[arg(long, value_name = "FILE", requires = "target")]
    signed_by: Option<PathBuf>,
}

/// List the backups at the target, oldest first.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  chartgate backup list\n  \
    chartgate backup list --target /mnt/backups --key backup.key --signed-by signing.pub")]
pub struct ListArgs {
    #[command(flatten)]
    from: From,
    /// Print one JSON document for each.
    #[arg(long)]
    json: bool,
}

/// Prove that every stored object is what was backed up, and that no backup is missing.
///
/// Reads, decrypts and compares every object of every backup (or of one), checks the signature of each manifest and
/// that each continues the one before; against the gateway's own memory also that the newest is still there.
/// Exits with 1 where anything is wrong.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate backup verify\n  chartgate backup verify 20261125T091500000Z-1a2b3c4d\n  \
    chartgate backup verify --target /mnt/backups --key backup.key --signed-by signing.pub"
)]
pub struct VerifyArgs {
    /// Only this backup.
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    from: From,
    /// Print the findings as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Practise a restore, through the running gateway, and measure what it would cost.
///
/// Restores the newest backup (or one) into scratch, verifies its trail against its checkpoints and the witnesses,
/// opens every value of the store, and puts on record how old the newest saved record is (RPO) and how long it took
/// until all of it was proven (RTO). Exits with 1 where it would not have worked.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate backup drill --config /etc/chartgate/chartgate.toml"
)]
pub struct DrillArgs {
    /// This backup instead of the newest.
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print the outcome as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Restore a backup into an empty directory.
///
/// Nothing is overwritten and no running gateway is touched: move what you need into place yourself
/// (docs/backup.md). A gateway that is started on the restored store ends every session and says so on record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate backup restore --to /var/lib/chartgate/restored\n  \
    chartgate backup restore 20261125T091500000Z-1a2b3c4d --to /tmp/restored \\\n      \
    --target /mnt/backups --key backup.key --signed-by signing.pub"
)]
pub struct RestoreArgs {
    /// This backup instead of the newest.
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// The directory to restore into; it must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    from: From,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(
    command: &BackupCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    match command {
        BackupCommand::Run(args) => make(args, console),
        BackupCommand::List(args) => list(args, console, clock),
        BackupCommand::Verify(args) => verify(args, console, clock),
        BackupCommand::Drill(args) => drill(args, console),
        BackupCommand::Restore(args) => restore(args, console, clock),
    }
}

fn make(args: &RunArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let value = gateway::only(asked(&args.config, Ask::Run)?)?;
    let made: Made = read(&value)?;
    if args.json {
        console.line(&value)?;
    } else {
        console.line(format_args!(
            "backup {} at {}\n{} files, {} bytes; {} sealed bytes were new at the target; trail up to record {}; {} ms",
            made.id, made.target, made.files, made.bytes, made.stored, made.sequence, made.millis
        ))?;
    }
    complain(&made.problems, console)
}

fn list(args: &ListArgs, console: &mut Console<'_>, clock: &SharedClock) -> Result<(), Failure> {
    let values = if let Some(values) = args.from.online(Ask::List)? {
        values
    } else {
        let vault = args.from.vault(offline::config, clock)?;
        crate::backup::listed(&vault).map_err(Failure::of)?
    };
    for value in &values {
        if args.json {
            console.line(value)?;
            continue;
        }
        let part = |name: &str| {
            let value = value.get(name).unwrap_or(&Value::Null);
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        let problems: Vec<&str> = match value.get("problems").and_then(Value::as_array) {
            Some(problems) => problems.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        console.line(format_args!(
            "{}  {}  {:>6} files {:>12} bytes  record {}  {}",
            part("id"),
            part("time"),
            part("files"),
            part("bytes"),
            part("trail_sequence"),
            problems.join("; "),
        ))?;
    }
    if values.is_empty() {
        console.note("there is no backup at the target")?;
    }
    Ok(())
}

fn verify(
    args: &VerifyArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let asked = args.from.online(Ask::Verify {
        id: args.id.clone(),
    })?;
    let found: Verified = if let Some(values) = asked {
        read(&gateway::only(values)?)?
    } else {
        let vault = args.from.vault(offline::config, clock)?;
        let expected = args.from.remembered(&vault, clock)?;
        crate::backup::verify(&vault, args.id.as_deref(), expected.as_ref()).map_err(Failure::of)?
    };
    if args.json {
        console.line(serde_json::to_string(&found).map_err(Failure::of)?)?;
    } else {
        console.line(format_args!(
            "{}, {}, {}; newest {}{}",
            counted(found.backups, "backup"),
            counted(found.objects, "object"),
            counted(found.bytes, "byte"),
            found.newest.as_deref().unwrap_or("none"),
            if found.compared {
                ", which was compared with the gateway's memory"
            } else {
                "; whether newer ones were taken away cannot be told from here"
            }
        ))?;
        if found.unreferenced > 0 {
            let count = found.unreferenced;
            console.line(format_args!("{count} objects belong to no backup"))?;
        }
        if found.problems.is_empty() {
            console.line("intact")?;
        }
    }
    complain(&found.problems, console)
}

fn drill(args: &DrillArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let value = gateway::only(asked(
        &args.config,
        Ask::Drill {
            id: args.id.clone(),
        },
    )?)?;
    let drilled: Drilled = read(&value)?;
    if args.json {
        console.line(&value)?;
    } else {
        console.line(format_args!(
            "drilled {}: {} records, proven up to checkpoint {}, {} values of the store opened\nRPO {} s, RTO {} ms",
            drilled.backup,
            drilled.records,
            drilled.witnessed.map_or_else(|| "(none)".to_owned(), |sequence| sequence.to_string()),
            drilled.values,
            drilled.rpo_seconds,
            drilled.rto_millis
        ))?;
    }
    complain(&drilled.problems, console)
}

fn restore(
    args: &RestoreArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let vault = args.from.vault(whole, clock)?;
    let kept = vault.backup(args.id.as_deref()).map_err(Failure::of)?;
    crate::backup::restore(&vault, &kept.manifest, &args.to).map_err(Failure::of)?;
    let manifest = &kept.manifest;
    console.line(format_args!(
        "restored {} of {} into {}: {} files, trail up to record {}\n\
         Nothing of it is in use yet; docs/backup.md says what to move where.",
        manifest.id,
        manifest.time,
        args.to.display(),
        manifest.files.len(),
        manifest.trail.sequence
    ))?;
    complain(&manifest.problems, console)
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

fn asked(config: &Path, ask: Ask) -> Result<Vec<Value>, Failure> {
    let mut values = Vec::new();
    gateway::ask(config, AdminRequest::Backup(ask), |value| {
        values.push(value);
        Ok(())
    })?;
    Ok(values)
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    T::deserialize(value).map_err(Failure::of)
}

impl From {
    /// What the running gateway answers; `None` where there is none to ask.
    fn online(&self, ask: Ask) -> Result<Option<Vec<Value>>, Failure> {
        if self.target.is_some() {
            return Ok(None);
        }
        gateway::ask_if_running(&self.config, AdminRequest::Backup(ask))
    }

    fn vault(
        &self,
        load: fn(&Path) -> Result<Config, Failure>,
        clock: &SharedClock,
    ) -> Result<Vault, Failure> {
        if let (Some(target), Some(key), Some(public)) = (&self.target, &self.key, &self.signed_by)
        {
            let master = MasterKey::read(key).map_err(Failure::of)?;
            return Ok(Vault {
                target: Target::Directory(target.clone()),
                keys: Keys::of(&master),
                verifier: VerifierKey::read(public).map_err(Failure::of)?,
            });
        }
        let config = load(&self.config)?;
        let backup = config.backup.as_ref().ok_or_else(|| {
            Failure::Configuration("no backups are configured: add [backup]".to_owned())
        })?;
        Vault::of(&config, backup, clock.clone()).map_err(Failure::of)
    }

    /// What a gateway that does not run remembers as its newest backup, where its store is here.
    fn remembered(&self, vault: &Vault, clock: &SharedClock) -> Result<Option<Link>, Failure> {
        if self.target.is_some() {
            return Ok(None);
        }
        let config = offline::config(&self.config)?;
        if !config.store.path.exists() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let state = runtime.block_on(state_of(&config.store, clock))?;
        Ok(state.link_at(&vault.target.describe()))
    }
}

/// The configuration, whether or not a gateway runs.
fn whole(file: &Path) -> Result<Config, Failure> {
    Config::load_for_reading(file).map_err(Failure::Problems)
}

async fn state_of(config: &StoreConfig, clock: &SharedClock) -> Result<State, Failure> {
    let path: &Path = &config.path;
    let key = MasterKey::read(&config.key).map_err(Failure::of)?;
    let store = Store::embedded_with(path, &key.derive_inputs(), clock.clone()).await;
    State::of(&store.map_err(Failure::of)?)
        .await
        .map_err(Failure::of)
}
