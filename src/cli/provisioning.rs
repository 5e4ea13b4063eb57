//! `chartgate provisioning`: who works here, as the directory and the personnel system say it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use super::gateway::{self, printable};
use crate::admin::protocol::AdminRequest;
use crate::provision::{Ask, Piece};

/// Show what the directory and the personnel system say of users.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum ProvisioningCommand {
    Status(StatusArgs),
    Show(ShowArgs),
}

/// Count who is known, and name who is kept out.
///
/// Whoever one of the two sources does not let work is refused with CG-2028, at sign-in and at every request.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate provisioning status")]
pub struct StatusArgs {
    /// Print one JSON document a line.
    #[arg(long)]
    json: bool,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
}

/// Show what is said of one user.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate provisioning show nurse.lind")]
pub struct ShowArgs {
    /// The name, the stable id (issuer|sub), or the directory's `externalId`.
    #[arg(value_name = "USER")]
    user: String,
    /// Print one JSON document a line.
    #[arg(long)]
    json: bool,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &ProvisioningCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    let (ask, json, path) = match command {
        ProvisioningCommand::Status(args) => (Ask::Status, args.json, &args.config),
        ProvisioningCommand::Show(args) => {
            let user = args.user.clone();
            (Ask::Show { user }, args.json, &args.config)
        }
    };
    gateway::ask(path, AdminRequest::Provision(ask), |value| {
        if json {
            return console.line(&value);
        }
        let piece: Piece = serde_json::from_value(value).map_err(Failure::of)?;
        console.line(printable(&line(&piece)))
    })
}

fn line(piece: &Piece) -> String {
    match piece {
        Piece::Count(count) => {
            let problem = count.problem.as_ref().map_or_else(String::new, |problem| {
                format!("\nthe file is not taken over: {problem}")
            });
            format!(
                "{} known of the directory, {} of the file, {} kept out{problem}",
                count.people, count.stated, count.inactive
            )
        }
        Piece::Person {
            user,
            source,
            active,
            says,
            at,
        } => {
            let state = if *active { "active" } else { "kept out" };
            let at = at.map_or_else(String::new, |at| {
                format!("  {}", at.strftime("%Y-%m-%d %H:%M:%SZ"))
            });
            format!("{state:<8} {user}  ({source}: {}){at}", says.join(", "))
        }
    }
}
