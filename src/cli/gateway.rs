//! Asking the running gateway, for commands that do.

use std::path::PathBuf;

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::console::{Console, Failure};
use crate::admin::client::{AdminClient, ClientError};
use crate::admin::protocol::AdminRequest;
use crate::config::Config;
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

/// Asks the gateway and hands each value of its answer to `each`.
///
/// # Errors
/// [`Failure`], where there is no gateway, it refuses, or `each` fails.
pub(super) fn ask(
    config: &Config,
    request: AdminRequest,
    mut each: impl FnMut(Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let asked = AdminClient::ask(&config.admin.socket, request).await;
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
    config: &Config,
    request: AdminRequest,
) -> Result<Option<Vec<Value>>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut client = match AdminClient::ask(&config.admin.socket, request).await {
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
    config: &Config,
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
    config: &Config,
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

/// SECURITY: what came from outside cannot move the cursor or forge a line on the reader's terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
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
