//! `chartgate factor`: the gateway's own second factors.

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use super::gateway::{self, Common, printable};
use crate::admin::protocol::AdminRequest;
use crate::identity::factor::operators::FactorView;
use crate::operate::factors::Ask;

/// Help users with the gateway's own second factor.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum FactorCommand {
    List(ListArgs),
    /// Make an enrolment code for a user.
    ///
    /// It is good once and for `identity.second_factor.invitation`: hand it to the person, not to a mailbox that opens
    /// with the same password. The user signs in, types it, and enrols a first authenticator. A code that was made
    /// before is void. Who made it and why goes on record; the code does not.
    Invite(UserArgs),
    /// Remove everything that a user enrolled.
    ///
    /// Every authenticator and recovery code goes, and the user's sessions end; a new invitation is needed after that.
    /// Who did it and why goes on record.
    Reset(UserArgs),
    /// Lift the lock that followed too many wrong tries.
    ///
    /// What the user enrolled stays. Who lifted it and why goes on record.
    Unlock(UserArgs),
}

/// List who enrolled what, and who is locked.
///
/// A line for each account, and one for each of its authenticators.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate factor list\n  chartgate factor list nurse.lind"
)]
pub struct ListArgs {
    /// Of this user only: name or stable id.
    #[arg(value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Whose second factors, and why.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate factor invite nurse.lind --reason \"New on ward 3\"\n  \
                             chartgate factor reset nurse.lind --reason \"Lost the phone, seen in person\"\n  \
                             chartgate factor unlock 'main|7f3a' --reason \"Mistyped, called back\""
)]
pub struct UserArgs {
    /// The user: name or stable id, as on record.
    #[arg(value_name = "NAME")]
    user: String,
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
pub fn run(command: &FactorCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    let of = |args: &UserArgs| (args.user.clone(), args.reason.clone());
    let (ask, common) = match command {
        FactorCommand::List(args) => {
            let user = args.user.clone();
            (Ask::List { user }, &args.common)
        }
        FactorCommand::Invite(args) => {
            let (user, reason) = of(args);
            (Ask::Invite { user, reason }, &args.common)
        }
        FactorCommand::Reset(args) => {
            let (user, reason) = of(args);
            (Ask::Reset { user, reason }, &args.common)
        }
        FactorCommand::Unlock(args) => {
            let (user, reason) = of(args);
            (Ask::Unlock { user, reason }, &args.common)
        }
    };
    gateway::ask(&common.config, AdminRequest::Factor(ask), |value| {
        if common.json {
            return console.line(&value);
        }
        let text = |key: &str| {
            let text = value.get(key).map(|value| match value.as_str() {
                Some(text) => text.to_owned(),
                None => value.to_string(),
            });
            text.unwrap_or_default()
        };
        match command {
            FactorCommand::List(_) => {
                let view: FactorView = serde_json::from_value(value).map_err(Failure::of)?;
                list(&view, console)
            }
            FactorCommand::Invite(_) => console.line(printable(&format!(
                "enrolment code for {}: {}  (good once, until {})",
                text("user"),
                text("code"),
                text("until")
            ))),
            FactorCommand::Reset(_) => console.line(printable(&format!(
                "{}: authenticators removed: {}; sessions ended: {}",
                text("reset"),
                text("authenticators"),
                text("ended")
            ))),
            FactorCommand::Unlock(_) => {
                console.line(printable(&format!("{} may try again", text("unlocked"))))
            }
        }
    })
}

fn list(view: &FactorView, console: &mut Console<'_>) -> Result<(), Failure> {
    let locked = view
        .locked_until
        .map_or_else(String::new, |until| format!("  locked until {until}"));
    console.line(printable(&format!(
        "{}  {}  recovery codes: {}  wrong tries: {}{locked}",
        view.user, view.name, view.recovery_codes, view.failures
    )))?;
    for one in &view.authenticators {
        let used = one.last_used.map_or_else(
            || "never used".to_owned(),
            |used| format!("last used {used}"),
        );
        let suspended = one
            .suspended
            .map_or_else(String::new, |since| format!("  suspended since {since}"));
        console.line(printable(&format!(
            "  {}  {}  {}  added {}  {used}{suspended}",
            one.id, one.method, one.name, one.added
        )))?;
    }
    Ok(())
}
