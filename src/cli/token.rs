//! `chartgate token`: access tokens and API clients that are not accepted any more.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::console::{Console, Failure};
use super::gateway::{self, Common, printable};
use crate::admin::protocol::AdminRequest;
use crate::identity::Mark;
use crate::operate::tokens::{Ask, Revocation};

/// Revoke access tokens of API clients, and list what is revoked.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum TokenCommand {
    Revoke(RevokeArgs),
    Restore(RestoreArgs),
    List(ListArgs),
}

/// What is meant.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct What {
    /// One token: its `jti`, or the fingerprint that is on record (also of a client certificate).
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// Everything of a client: its client id, or `API|CLIENT` as on record.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Everything for a subject: the token's `sub`, or `API|SUB`.
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
}

impl What {
    fn mark(&self) -> Option<Mark> {
        let token = self.jti.clone().map(Mark::Token);
        let client = || self.client.clone().map(Mark::Client);
        let subject = || self.subject.clone().map(Mark::Subject);
        token.or_else(client).or_else(subject)
    }
}

/// Revoke a token, or all tokens of a client or subject.
///
/// At once: the next request is refused (CG-2018). The authorization server is not told and may go on issuing tokens;
/// those of a revoked client are refused as well. Who revoked what and why goes on record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate token revoke --client mirth --reason \"Key lost, case 12\"\n  \
                             chartgate token revoke --jti 7f3a0c --reason \"In a log\" --until 2027-01-31T00:00:00Z"
)]
pub struct RevokeArgs {
    #[command(flatten)]
    what: What,
    /// Why; on record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Until when (RFC 3339): for one token, its `exp`. For good where it is left out.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    #[command(flatten)]
    common: Common,
}

/// Take a revocation back.
///
/// Tokens that are still valid are accepted again. Who took it back goes on record.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate token restore --client mirth")]
pub struct RestoreArgs {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    common: Common,
}

/// List what is revoked.
///
/// With who revoked it, why, and until when.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate token list")]
pub struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &TokenCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    let (what, common) = match command {
        TokenCommand::Revoke(args) => (Some(&args.what), &args.common),
        TokenCommand::Restore(args) => (Some(&args.what), &args.common),
        TokenCommand::List(args) => (None, &args.common),
    };
    let mark = what.and_then(What::mark);
    let ask = match (command, mark.clone()) {
        (TokenCommand::Revoke(args), Some(mark)) => Ask::Revoke {
            mark,
            reason: args.reason.clone(),
            until: args.until,
        },
        (TokenCommand::Restore(_), Some(mark)) => Ask::Restore { mark },
        // The command line demands what is meant, so that only the list names nothing.
        (TokenCommand::Revoke(_) | TokenCommand::Restore(_), None) | (TokenCommand::List(_), _) => {
            Ask::List
        }
    };
    let named = mark.map_or_else(String::new, |mark| {
        format!("{} {}", mark.word(), mark.value())
    });
    let told = (console, common.json, "nothing is revoked");
    gateway::list(
        &common.config,
        AdminRequest::Token(ask),
        told,
        |value, console| match command {
            TokenCommand::Revoke(_) => console.line(printable(&format!(
                "{named} is revoked, from the next request on"
            ))),
            TokenCommand::Restore(_) => {
                console.line(printable(&format!("{named} is accepted again")))
            }
            TokenCommand::List(_) => {
                let one: Revocation = serde_json::from_value(value).map_err(Failure::of)?;
                let until = one
                    .until
                    .map_or_else(|| "for good".to_owned(), |until| format!("until {until}"));
                let (word, value) = (one.mark.word(), one.mark.value());
                let Revocation {
                    reason, by, since, ..
                } = &one;
                console.line(printable(&format!(
                    "{word} {value}  since {since}  {until}  by {by}: {reason}"
                )))
            }
        },
    )
}
