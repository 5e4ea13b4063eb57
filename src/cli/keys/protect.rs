//! `chartgate keys protect`: key files that lie in clear are sealed by what the configuration names.
//!
//! Each file is replaced all or nothing, and read back before the next.
//! *Never*: while a gateway runs; a key lost: the recovery files, and the code on paper, stay as they are.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use clap::Args;

use super::rotate;
use crate::audit::log::{Files, LockGuard, MasterKey, RealFiles};
use crate::cli::console::{Console, Failure};
use crate::cli::offline;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::request::Event;

/// Seal the key files of trail, store and backups by what `[keys]` names.
///
/// With the gateway stopped. What lies on the disk from then on opens only with the key management service, or the
/// hardware security module. Files that are sealed already are sealed afresh, under the key that is named now. The keys
/// themselves stay the same, and so do the recovery files: keep the code on paper. Copies of the files in clear that lie
/// elsewhere still open everything: destroy them, or rotate the keys too. It goes on record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate keys protect --config /etc/chartgate/chartgate.toml"
)]
pub struct ProtectArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
}

pub(super) fn run(
    args: &ProtectArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let config = Config::load_for_reading(&args.config).map_err(Failure::Problems)?;
    let Some(home) = config.audit.master_key.home() else {
        return Err(Failure::Configuration(
            "the configuration names nothing that seals key files: add `[keys.kms]` or `[keys.pkcs11]`".to_owned(),
        ));
    };
    let by = home.to_string();
    let operator = offline::operator(&config)?;
    let mut files = vec![&config.audit.master_key, &config.store.key];
    files.extend(config.backup.as_ref().map(|backup| &backup.key));
    let guard = stopped(&config)?;
    let mut names = Vec::new();
    for file in files {
        let key = MasterKey::read_to_protect(file).map_err(Failure::of)?;
        key.replace(file).map_err(Failure::of)?;
        let read = MasterKey::read(file).map_err(Failure::of)?;
        if read.id() != key.id() {
            return Err(Failure::Failed(format!(
                "`{}` does not read back as it was written; get the key back with `chartgate keys recover`",
                file.display()
            )));
        }
        console.line(format_args!("{} is sealed by {by}", file.display()))?;
        names.push(key.id().to_string());
    }
    drop(guard);
    let detail = BTreeMap::from([
        ("operator".to_owned(), operator.to_owned()),
        ("key".to_owned(), "files".to_owned()),
        ("id".to_owned(), names.join(" ")),
        ("sealed_by".to_owned(), by),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let audit = rotate::open(&config, clock).await?;
        let recorded = audit.event(Event::KeyRotated, None, detail).await;
        recorded.map_err(Failure::of)?;
        offline::close(&audit).await
    })
}

/// Holds the trail, so that no gateway starts with keys that are replaced.
fn stopped(config: &Config) -> Result<Option<Box<dyn LockGuard>>, Failure> {
    match RealFiles.lock(&config.audit.directory.join("lock")) {
        Ok(guard) => Ok(Some(guard)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Failure::Failed(
            "the gateway runs; stop it, protect the keys, and start it again".to_owned(),
        )),
        Err(error) => Err(Failure::of(error)),
    }
}
