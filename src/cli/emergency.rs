//! `chartgate emergency-account`: sealed accounts for when the identity provider is down.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::console::{Console, Failure};
use super::gateway::{self, Common, printable};
use crate::admin::protocol::AdminRequest;
use crate::identity::emergency::operators::EmergencyView;
use crate::operate::emergency::Ask;

/// Keep sealed accounts for when the identity provider is down.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum EmergencyCommand {
    List(ListArgs),
    Seal(SealArgs),
    Remove(RemoveArgs),
}

/// List the accounts: sealed, used, or due for their test.
///
/// With where their envelopes lie, the roles that they give now, and when the next test is due.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate emergency-account list")]
pub struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Seal an account, or seal it anew; prints what goes into its two envelopes, once.
///
/// Prints two codes, once: write each on paper, alone, and seal it in an envelope of its own, with the account's name on
/// both. Keep the envelopes so that no single person gets at both. What the envelopes held before is void, and sessions
/// of the account end. The roles come from `roles.toml`: a grant with `issuer = "emergency"`, or one for any issuer.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate emergency-account seal er-1 --group emr-physicians \\\n    \
                       --place \"Safes of ER and pharmacy\" --reason \"Half-yearly renewal\""
)]
pub struct SealArgs {
    /// The account: lower-case letters, digits and hyphens.
    #[arg(value_name = "NAME")]
    name: String,
    /// A value of the role claim, as `roles.toml` maps it; may be given several times.
    #[arg(long = "group", value_name = "VALUE", required = true)]
    groups: Vec<String>,
    /// Where the envelopes will lie.
    #[arg(long, value_name = "TEXT")]
    place: String,
    /// Why; on record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// Remove an account and end its sessions.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate emergency-account remove er-1 --reason \"The ER moved\""
)]
pub struct RemoveArgs {
    /// The account.
    #[arg(value_name = "NAME")]
    name: String,
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
pub fn run(command: &EmergencyCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    let (ask, common) = match command {
        EmergencyCommand::List(args) => (Ask::List, &args.common),
        EmergencyCommand::Seal(args) => (
            Ask::Seal {
                name: args.name.clone(),
                place: args.place.clone(),
                groups: args.groups.clone(),
                reason: args.reason.clone(),
            },
            &args.common,
        ),
        EmergencyCommand::Remove(args) => (
            Ask::Remove {
                name: args.name.clone(),
                reason: args.reason.clone(),
            },
            &args.common,
        ),
    };
    let told = (console, common.json, "no account is sealed");
    let request = AdminRequest::Emergency(ask);
    gateway::list(
        &common.config,
        request,
        told,
        |value, console| match command {
            EmergencyCommand::List(_) => {
                let view: EmergencyView = serde_json::from_value(value).map_err(Failure::of)?;
                console.line(printable(&line(&view)))
            }
            EmergencyCommand::Seal(_) => {
                let lines = [
                format!("account {}, for two envelopes:", text(&value, "account")),
                format!("  first envelope   {}", text(&value, "first")),
                format!("  second envelope  {}", text(&value, "second")),
                "Shown once. Write each code on paper, alone, with the account and the address, and seal it."
                    .to_owned(),
                "Then test both at /.chartgate/emergency (\"Test, without signing in\").".to_owned(),
            ];
                lines
                    .iter()
                    .try_for_each(|line| console.line(printable(line)))
            }
            EmergencyCommand::Remove(_) => console.line(printable(&format!(
                "{} is removed; sessions ended: {}",
                text(&value, "removed"),
                text(&value, "ended")
            ))),
        },
    )
}

fn text(value: &Value, key: &str) -> String {
    let text = value.get(key).map(|value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    });
    text.unwrap_or_default()
}

fn line(view: &EmergencyView) -> String {
    let day = |at: jiff::Timestamp| at.strftime("%Y-%m-%d").to_string();
    let roles: Vec<&str> = view
        .roles
        .iter()
        .map(crate::request::Role::as_str)
        .collect();
    let tested = view.tested.map_or_else(
        || "never tested".to_owned(),
        |at| format!("tested {}", day(at)),
    );
    let used = view
        .used
        .map_or_else(String::new, |at| format!(", used {}", day(at)));
    format!(
        "{}  {}  {}  sealed {} by {}, {tested}{used}, next test by {}  at {}",
        view.name,
        view.state.word(),
        roles.join(" "),
        day(view.sealed),
        view.by,
        day(view.test_due),
        view.place
    )
}
