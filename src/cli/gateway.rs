//! Asking the running gateway, for commands that do.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::console::{Console, Failure};
use crate::admin::client::{AdminClient, ClientError};
use crate::admin::protocol::AdminRequest;
pub(super) use crate::audit::show::printable;
use crate::config::Admin;
use crate::config::unit::parse_duration;

/// What commands take that ask the gateway.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    pub(super) config: PathBuf,
    /// Print the answer as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Where the gateway is asked, and by whom it may be.
///
/// Nothing else of the configuration is read, and no file that it names: an operator need not be able to read the
/// gateway's keys.
///
/// # Errors
/// [`Failure::Problems`] for a file that does not say so.
pub(super) fn admin(config: &Path) -> Result<Admin, Failure> {
    Admin::load(config).map_err(Failure::Problems)
}

/// Asks the gateway that has this configuration file, and hands each value of its answer to `each`.
///
/// # Errors
/// [`Failure`], where there is no gateway, it refuses, or `each` fails.
pub(super) fn ask(
    config: &Path,
    request: AdminRequest,
    mut each: impl FnMut(Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let admin = admin(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let asked = AdminClient::ask(&admin.socket, request).await;
        let mut client = asked.map_err(Failure::of)?;
        while let Some(value) = client.next().await.map_err(Failure::of)? {
            each(value)?;
        }
        Ok(())
    })
}

/// Everything that the gateway answers; `None` where none runs.
///
/// # Errors
/// [`Failure`], where it refuses.
pub(super) fn ask_if_running(
    config: &Path,
    request: AdminRequest,
) -> Result<Option<Vec<Value>>, Failure> {
    let admin = admin(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut client = match AdminClient::ask(&admin.socket, request).await {
            Ok(client) => client,
            Err(ClientError::NotRunning(_)) => return Ok(None),
            Err(error) => return Err(Failure::of(error)),
        };
        let mut values = Vec::new();
        while let Some(value) = client.next().await.map_err(Failure::of)? {
            values.push(value);
        }
        Ok(Some(values))
    })
}

/// The value that an answer must have.
///
/// # Errors
/// [`Failure`] for an answer without one.
pub(super) fn only(values: Vec<Value>) -> Result<Value, Failure> {
    let mut values = values.into_iter();
    values
        .next()
        .ok_or_else(|| Failure::of("the gateway said nothing"))
}

/// Asks the gateway for a list and prints each of its values; of an empty one it notes `nothing`.
///
/// # Errors
/// As [`ask`].
pub(super) fn list(
    config: &Path,
    request: AdminRequest,
    (console, json, nothing): (&mut Console<'_>, bool, &str),
    mut print: impl FnMut(Value, &mut Console<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut is_empty = true;
    ask(config, request, |value| {
        is_empty = false;
        if json {
            return console.line(&value);
        }
        print(value, console)
    })?;
    if is_empty && !json {
        console.note(nothing)?;
    }
    Ok(())
}

/// Asks the gateway and prints what it says, a line for each value.
///
/// # Errors
/// As [`ask`].
pub(super) fn tell(
    config: &Path,
    request: AdminRequest,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    ask(config, request, |value| match value {
        Value::String(text) => console.line(text),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => console.line(other),
    })
}

/// A word of a command line, as the type that stands for it: the words are those of records and answers.
///
/// # Errors
/// A message that names the words there are.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let word = Value::String(text.to_owned());
    serde_json::from_value(word).map_err(|error| error.to_string())
}

/// A span of a command line, in whole seconds.
///
/// # Errors
/// A message that says how spans are written.
pub(super) fn span(text: &str) -> Result<u64, String> {
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    if span.as_secs() == 0 {
        return Err("the shortest span is a second".to_owned());
    }
    Ok(span.as_secs())
}
