//! The trail, opened by a command where no gateway holds it.
//!
//! *Never*: someone who is no operator of the gateway; a trail that is left without its end on record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::console::Failure;
use super::gateway;
use crate::audit::log::{MasterKey, RealFiles, Truncation};
use crate::audit::open::OpenError;
use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::problem::{Problems, of_file};
use crate::request::Event;
use crate::store::Store;

/// The whole configuration, with the keys that it names, for a command that asked the gateway and found nobody.
///
/// # Errors
/// [`Failure::Problems`] for what cannot be read.
pub(super) fn config(file: &Path) -> Result<Config, Failure> {
    let admin = gateway::admin(file)?;
    Config::load_for_reading(file).map_err(|unreadable| {
        let message = format!(
            "the gateway is not running: nobody answers at `{}`, and this command would have to open its files instead",
            admin.socket.display()
        );
        let remedy = "start the gateway, or put right what is said below";
        let mut problems = Problems::default();
        problems.push(of_file(file, message, remedy.to_owned()));
        problems.append(unreadable);
        Failure::Problems(problems)
    })
}

/// Who runs the command, as the records name them.
///
/// # Errors
/// [`Failure::Configuration`] for someone who is no operator.
pub(super) fn operator(config: &Config) -> Result<&str, Failure> {
    let uid = rustix::process::geteuid().as_raw();
    let operator = config.admin.operators.get(&uid).map(String::as_str);
    operator.ok_or_else(|| {
        Failure::Configuration(format!(
            "user id {uid} is no operator of this gateway; add `{uid} = \"your name\"` to [admin.operators]"
        ))
    })
}

/// Opens the trail, which goes on record.
///
/// # Errors
/// [`OpenError`]; that another process holds it is one of them.
pub(super) async fn open(config: &Config, clock: &SharedClock) -> Result<Audit, OpenError> {
    let (audit, limits) = (&config.audit, &config.limits);
    let files = Arc::new(RealFiles);
    let opened = Audit::open(audit, limits, files, clock.clone(), Truncation::Refuse).await;
    opened.map(|(audit, _)| audit)
}

/// Opens the store, where no gateway holds it.
///
/// # Errors
/// [`Failure`] where its key or its file cannot be read.
pub(super) async fn store(config: &Config, clock: &SharedClock) -> Result<Store, Failure> {
    let key = MasterKey::read(&config.store.key).map_err(Failure::of)?;
    let (path, inputs) = (&config.store.path, key.derive_inputs());
    let opened = Store::embedded_with(path, &inputs, clock.clone()).await;
    opened.map_err(Failure::of)
}

/// Closes it in good order.
///
/// # Errors
/// [`Failure`] where that cannot go on record.
pub(super) async fn close(audit: &Audit) -> Result<(), Failure> {
    audit
        .event(Event::Stopped, None, BTreeMap::new())
        .await
        .map_err(Failure::of)?;
    audit.log().shutdown().map_err(Failure::of)
}
