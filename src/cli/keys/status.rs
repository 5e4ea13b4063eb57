//! `chartgate keys status`: which keys there are, and whether each has a way back.
//!
//! *Never*: shows a key, or needs a running gateway.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::audit::log::{MasterKey, RealFiles, SigningKey, headers};
use crate::cli::console::{Console, Failure};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::keys::KeyFile;
use crate::counted::counted;

/// Show which keys there are, how old each is, what it seals, and whether it can be recovered.
///
/// Exits with 1 where a key has no recovery file, or one that brings back another key.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate keys status\n  chartgate keys status --config /etc/chartgate/chartgate.toml --json"
)]
pub struct StatusArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print the same as one JSON document.
    #[arg(long)]
    json: bool,
}

/// What can be said of a key.
#[derive(Debug, Serialize)]
struct Described {
    name: &'static str,
    file: PathBuf,
    /// What the file is sealed by; nothing where it lies in clear.
    sealed_by: Option<String>,
    id: String,
    age_days: Option<i64>,
    seals: String,
    recovery: Recovery,
    older: Vec<String>,
}

/// Whether a key can be brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Recovery {
    /// A recovery file brings this key back.
    Present,
    /// There is no recovery file.
    Missing,
    /// The recovery file brings another key back.
    OfAnotherKey,
    /// This key can be replaced by a new one.
    NotNeeded,
}

pub(super) fn run(
    args: &StatusArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let config = Config::load_for_reading(&args.config).map_err(Failure::Problems)?;
    let keys = describe(&config, clock.now())?;
    let lacking =
        |key: &Described| matches!(key.recovery, Recovery::Missing | Recovery::OfAnotherKey);
    let unfit = keys.iter().any(lacking);
    if args.json {
        console.line(serde_json::to_string(&keys).map_err(Failure::of)?)?;
    } else {
        for key in &keys {
            print(key, console)?;
        }
    }
    if unfit { Err(Failure::Unfit) } else { Ok(()) }
}

fn print(key: &Described, console: &mut Console<'_>) -> Result<(), Failure> {
    let age = key.age_days.map_or_else(
        || "age unknown".to_owned(),
        |days| format!("{days} days old"),
    );
    console.line(format_args!(
        "{:<8} {:<18} {age:<14} {}",
        key.name, key.id, key.seals
    ))?;
    let recovery = match key.recovery {
        Recovery::Present => "recovery file present".to_owned(),
        Recovery::Missing => format!(
            "NO RECOVERY FILE: `chartgate keys rotate {}` makes one",
            key.name
        ),
        Recovery::OfAnotherKey => format!(
            "the recovery file brings ANOTHER KEY back: `chartgate keys rotate {}` renews it",
            key.name
        ),
        Recovery::NotNeeded => {
            "no recovery needed: a new key goes on, the public key still verifies".to_owned()
        }
    };
    console.line(format_args!("         {} ({recovery})", key.file.display()))?;
    if let Some(by) = &key.sealed_by {
        console.line(format_args!("         sealed by {by}"))?;
    }
    for older in &key.older {
        console.line(format_args!("         older, still opens: {older}"))?;
    }
    Ok(())
}

fn describe(config: &Config, now: Timestamp) -> Result<Vec<Described>, Failure> {
    let mut segments: BTreeMap<String, usize> = BTreeMap::new();
    for header in headers(&RealFiles, &config.audit.directory).map_err(Failure::of)? {
        let count = segments.entry(header.master_key).or_default();
        *count = count.saturating_add(1);
    }
    let of = |id: &str| segments.get(id).copied().unwrap_or_default();
    let mut keys = Vec::new();
    let mut master = described("master", &config.audit.master_key, now)?;
    master.seals = format!("the trail: {}", counted(of(&master.id), "segment"));
    for older in &mut master.older {
        *older = format!("{older} ({})", counted(of(older), "segment"));
    }
    keys.push(master);
    let mut store = described("store", &config.store.key, now)?;
    "every value of the store".clone_into(&mut store.seals);
    keys.push(store);
    if let Some(backup) = &config.backup {
        let mut key = described("backup", &backup.key, now)?;
        "backups".clone_into(&mut key.seals);
        keys.push(key);
    }
    let signing = SigningKey::read(&config.audit.signing_key).map_err(Failure::of)?;
    keys.push(Described {
        name: "signing",
        id: signing.verifier().name().to_owned(),
        age_days: age(&config.audit.signing_key, None, now),
        file: config.audit.signing_key.clone(),
        sealed_by: None,
        seals: "signs checkpoints and backups".to_owned(),
        recovery: Recovery::NotNeeded,
        older: Vec::new(),
    });
    Ok(keys)
}

fn described(name: &'static str, file: &KeyFile, now: Timestamp) -> Result<Described, Failure> {
    let key = MasterKey::read(file).map_err(Failure::of)?;
    let id = key.id().to_string();
    let recovery = match MasterKey::recovered_by(&file.with_extension("recovery")) {
        Ok(found) if found == id => Recovery::Present,
        Ok(_) => Recovery::OfAnotherKey,
        Err(_) => Recovery::Missing,
    };
    Ok(Described {
        name,
        file: file.to_path_buf(),
        sealed_by: file.home().map(ToString::to_string),
        age_days: age(file, key.created(), now),
        seals: String::new(),
        recovery,
        older: key.all().skip(1).map(|key| key.id().to_string()).collect(),
        id,
    })
}

/// Days since the key was made; of a file that does not say, since it was written.
fn age(file: &Path, created: Option<Timestamp>, now: Timestamp) -> Option<i64> {
    let written = || {
        let modified = std::fs::metadata(file).ok()?.modified().ok()?;
        Timestamp::try_from(modified).ok()
    };
    let since = created.or_else(written)?;
    now.duration_since(since).as_hours().checked_div(24)
}
