//! `chartgate session`: who is signed in, and ending it.

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use super::gateway::{self, Common, printable};
use crate::admin::protocol::AdminRequest;
use crate::config::Config;
use crate::identity::SessionView;
use crate::operate::containment::{Ask, Whose};

/// List sessions, and end them.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List the open sessions.
    List(ListArgs),
    /// End a session, those of a user, or all.
    End(EndArgs),
}

/// List the open sessions.
///
/// Each with its id (the fingerprint that is on every record; not the cookie), its user, and when it was last used.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate session list --user nurse.lind")]
pub struct ListArgs {
    /// Only those of this user (name or stable id).
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// End a session, those of a user, or all.
///
/// At once and everywhere; live connections are cut. The users may sign in again: to keep one out, lock the user.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate session end 9f2c41d0aa17b3e2c55d0e6f1b7a8c90 --reason \"Left open in the corridor\"\n  \
                             chartgate session end --user nurse.lind --reason \"Phone lost\"\n  \
                             chartgate session end --all --reason \"Provider compromised\""
)]
#[group(id = "whose", required = true, multiple = false)]
pub struct EndArgs {
    /// The session's id.
    #[arg(value_name = "ID", group = "whose")]
    id: Option<String>,
    /// Those of this user (name or stable id).
    #[arg(long, value_name = "NAME", group = "whose")]
    user: Option<String>,
    /// Everybody's.
    #[arg(long, group = "whose")]
    all: bool,
    /// Why; on record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &SessionCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    let (ask, common) = match command {
        SessionCommand::List(args) => {
            let user = args.user.clone();
            (Ask::Sessions { user }, &args.common)
        }
        SessionCommand::End(args) => {
            let whose = match (&args.id, &args.user) {
                (Some(id), _) => Whose::Session(id.clone()),
                (None, Some(user)) => Whose::User(user.clone()),
                (None, None) => Whose::All,
            };
            let reason = args.reason.clone();
            (Ask::End { whose, reason }, &args.common)
        }
    };
    let config = Config::load_for_reading(&common.config).map_err(Failure::Problems)?;
    gateway::ask(&config, AdminRequest::Contain(ask), |value| {
        if common.json {
            return console.line(&value);
        }
        match command {
            SessionCommand::List(_) => {
                let session: SessionView = serde_json::from_value(value).map_err(Failure::of)?;
                console.line(printable(&format!(
                    "{}  {} ({})  opened {}  used {}  ends {}",
                    session.id,
                    session.name,
                    session.user,
                    session.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    session.last_active.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    session.ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
                )))
            }
            SessionCommand::End(_) => {
                let ended = value
                    .get("ended")
                    .map_or_else(String::new, ToString::to_string);
                console.line(format_args!("sessions ended: {ended}"))
            }
        }
    })
}
