//! `chartgate user`: locking users out, and letting them in again.

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use super::gateway::{self, Common, printable, span};
use crate::admin::protocol::AdminRequest;
use crate::operate::containment::{Ask, Lock};

/// Lock users out, and let them in again.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum UserCommand {
    Lock(LockArgs),
    Unlock(UnlockArgs),
    List(ListArgs),
}

/// Lock a user out, and end the user's sessions.
///
/// At once and everywhere: open pages get a refusal, live connections are cut, a new sign-in is refused (CG-2014). The
/// account at the identity provider stays as it is. Who locked whom and why goes on record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate user lock nurse.lind --reason \"Badge and phone stolen\"\n  \
                             chartgate user lock 'main|7f3a' --reason \"Case 12\" --for 8h"
)]
pub struct LockArgs {
    /// The user: name or stable id, as on record.
    #[arg(value_name = "NAME")]
    user: String,
    /// Why; on record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long (`8h`, `3d`); until further notice where it is left out.
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    span: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// Let a user in again.
///
/// The user signs in anew. Who let them in goes on record.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate user unlock nurse.lind")]
pub struct UnlockArgs {
    /// The user, as `chartgate user list` names them.
    #[arg(value_name = "NAME")]
    user: String,
    #[command(flatten)]
    common: Common,
}

/// List who is locked out.
///
/// With who locked them, why, and until when.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate user list")]
pub struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &UserCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    let (ask, common) = match command {
        UserCommand::Lock(args) => {
            let lock = Ask::Lock {
                user: args.user.clone(),
                reason: args.reason.clone(),
                seconds: args.span,
            };
            (lock, &args.common)
        }
        UserCommand::Unlock(args) => {
            let user = args.user.clone();
            (Ask::Unlock { user }, &args.common)
        }
        UserCommand::List(args) => (Ask::Locks, &args.common),
    };
    gateway::ask(&common.config, AdminRequest::Contain(ask), |value| {
        if common.json {
            return console.line(&value);
        }
        match command {
            UserCommand::Lock(args) => {
                let ended = value
                    .get("ended")
                    .map_or_else(String::new, ToString::to_string);
                let user = &args.user;
                console.line(printable(&format!(
                    "{user} is locked out; sessions ended: {ended}"
                )))
            }
            UserCommand::Unlock(args) => {
                console.line(printable(&format!("{} may sign in again", args.user)))
            }
            UserCommand::List(_) => {
                let lock: Lock = serde_json::from_value(value).map_err(Failure::of)?;
                let until = lock.until.map_or_else(
                    || "until further notice".to_owned(),
                    |until| format!("until {until}"),
                );
                let Lock {
                    user,
                    reason,
                    by,
                    since,
                    ..
                } = lock;
                console.line(printable(&format!(
                    "{user}  since {since}  {until}  by {by}: {reason}"
                )))
            }
        }
    })
}
