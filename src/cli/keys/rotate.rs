//! `chartgate keys rotate`: a new key from here on, while the old one still opens what it sealed.
//!
//! Each step can be interrupted: the recovery code is shown before anything is written, the recovery file comes before
//! the key, and a key file holds old and new before anything is sealed afresh.
//! *Never*: while a gateway runs, which holds the keys that it started with; an old key thrown away, for older segments
//! and backups need it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::audit::log::{LogError, MasterKey, RecoveryCode};
use crate::audit::open::OpenError;
use crate::audit::trail::Audit;
use crate::cli::console::{Console, Failure};
use crate::cli::offline;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::keys::KeyFile;
use crate::request::Event;
use crate::store::Store;

/// Put a new key in force, and renew the recovery files of all keys under a new code, which is shown once.
///
/// With the gateway stopped. `master`: the next segment of the trail is sealed under the new key. `store`: every value
/// is sealed afresh. `backup`: the next backup is sealed under the new key, with everything in it. Old keys stay in
/// the key file behind the new one and open what they sealed. The rotation is on record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate keys rotate master --config /etc/chartgate/chartgate.toml\n  chartgate keys rotate store"
)]
pub struct RotateArgs {
    /// Which key.
    #[arg(value_enum, value_name = "KEY")]
    key: Which,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
}

/// A key that can be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The trail's.
    Master,
    /// The store's.
    Store,
    /// That of backups.
    Backup,
}

impl Which {
    const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Store => "store",
            Self::Backup => "backup",
        }
    }

    fn file(self, config: &Config) -> Result<&KeyFile, Failure> {
        match self {
            Self::Master => Ok(&config.audit.master_key),
            Self::Store => Ok(&config.store.key),
            Self::Backup => config
                .backup
                .as_ref()
                .map(|backup| &backup.key)
                .ok_or_else(|| {
                    Failure::Configuration("no backups are configured: add [backup]".to_owned())
                }),
        }
    }
}

pub(super) fn run(
    args: &RotateArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let config = Config::load_for_reading(&args.config).map_err(Failure::Problems)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(rotate(args.key, &config, console, clock))
}

async fn rotate(
    which: Which,
    config: &Config,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let operator = offline::operator(config)?;
    let file = which.file(config)?;
    // The trail is held for as long as keys change, so that no gateway starts in between.
    let audit = open(config, clock).await?;
    let old = MasterKey::read(file).map_err(Failure::of)?;
    let replaced = old.id().to_string();
    let new = old.succeeded(clock.now()).map_err(Failure::of)?;
    let code = RecoveryCode::generate().map_err(Failure::of)?;
    console.line(format_args!(
        "New recovery code of all keys. It is shown once and kept nowhere; the old one opens nothing any more:\n\n    {}\n",
        code.reveal().as_str()
    ))?;
    new.replace_recovery(&file.with_extension("recovery"), &code)
        .map_err(Failure::of)?;
    new.replace(file).map_err(Failure::of)?;
    for other in [Which::Master, Which::Store, Which::Backup] {
        if let Ok(path) = other.file(config)
            && path != file
        {
            let key = MasterKey::read(path).map_err(Failure::of)?;
            key.replace_recovery(&path.with_extension("recovery"), &code)
                .map_err(Failure::of)?;
        }
    }
    let resealed = match which {
        Which::Store => Some(reseal(config, &new, clock).await?),
        Which::Master | Which::Backup => None,
    };
    let mut detail = BTreeMap::from([
        ("operator".to_owned(), operator.to_owned()),
        ("key".to_owned(), which.name().to_owned()),
        ("id".to_owned(), new.id().to_string()),
        ("replaces".to_owned(), replaced.clone()),
    ]);
    if let Some(count) = resealed {
        detail.insert("values".to_owned(), count.to_string());
    }
    audit
        .event(Event::KeyRotated, None, detail)
        .await
        .map_err(Failure::of)?;
    offline::close(&audit).await?;
    // A segment under the new key is the proof that it works.
    offline::close(&open(config, clock).await?).await?;
    let what = match (which, resealed) {
        (Which::Master, _) => "new segments are sealed under it".to_owned(),
        (Which::Store, count) => format!("{} values were sealed afresh", count.unwrap_or_default()),
        (Which::Backup, _) => "the next backup is sealed under it, whole".to_owned(),
    };
    console.line(format_args!(
        "the {} key is {} from here on, in place of {replaced}: {what}",
        which.name(),
        new.id()
    ))
}

pub(super) async fn open(config: &Config, clock: &SharedClock) -> Result<Audit, Failure> {
    match offline::open(config, clock).await {
        Ok(audit) => Ok(audit),
        Err(OpenError::Log(LogError::Locked { .. })) => Err(Failure::Failed(
            "the gateway runs with the keys that it started with; stop it, rotate, and start it again".to_owned(),
        )),
        Err(error) => Err(Failure::of(error)),
    }
}

async fn reseal(config: &Config, keys: &MasterKey, clock: &SharedClock) -> Result<u64, Failure> {
    let path = &config.store.path;
    let store = Store::embedded_with(path, &keys.derive_inputs(), clock.clone()).await;
    store
        .map_err(Failure::of)?
        .reseal()
        .await
        .map_err(Failure::of)
}
