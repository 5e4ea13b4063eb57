//! `chartgate lockdown`: taking access away step by step, and giving it back.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use super::gateway::{self, printable, span};
use crate::admin::protocol::AdminRequest;
use crate::operate::lockdown::{Answer, Ask, Lockdown, in_words};
use crate::policy::standing::Scope;

/// Take access away step by step, for everyone or for a part, and give it back.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum LockdownCommand {
    Set(SetArgs),
    Status(StatusArgs),
    Lift(LiftArgs),
}

/// Set the level of everyone, an EMR, a role or a user.
///
/// L1: no export or disclosure, and every change needs a sign-in of the last five minutes. L2: read only. L3: only who
/// treats patients, and only from networks of the zone `on-site`. L4: the EMR is closed; users see the downtime page.
/// L0 lifts. Each level includes those below. Break-glass still opens a chart for reading up to L3. In force for
/// every following request; live connections are cut and decided anew. Where several levels concern a request, the
/// highest counts.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate lockdown set L2 --reason \"Ransomware in the billing network\"\n  \
                             chartgate lockdown set L4 --emr archive --reason \"Vendor breach\" --for 4h\n  \
                             chartgate lockdown set L1 --role billing --reason \"Case 12\""
)]
pub struct SetArgs {
    /// L0 to L4.
    #[arg(value_name = "LEVEL", value_parser = level)]
    level: u8,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Why; on record, and in the alarm.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long (`30m`, `4h`); until further notice where it is left out.
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    span: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// Show what is locked down.
///
/// With who did it, why, and until when.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate lockdown status")]
pub struct StatusArgs {
    #[command(flatten)]
    common: Common,
}

/// Take a lockdown back.
///
/// That of everyone where no scope is given; others stay in force.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate lockdown lift\n  chartgate lockdown lift --role billing"
)]
pub struct LiftArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct ScopeArgs {
    /// Requests to one EMR, by its name in the configuration.
    #[arg(long, value_name = "NAME")]
    emr: Option<String>,
    /// Everyone with a role of the policy bundle.
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// One user (name or stable id).
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl ScopeArgs {
    fn scope(&self) -> Scope {
        let emr = self.emr.clone().map(Scope::Emr);
        let role = self.role.clone().map(Scope::Role);
        let user = self.user.clone().map(Scope::User);
        emr.or(role).or(user).unwrap_or(Scope::All)
    }
}

#[derive(Debug, Args)]
struct Common {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print what is in force as one JSON document.
    #[arg(long)]
    json: bool,
}

fn level(text: &str) -> Result<u8, String> {
    match text.to_ascii_uppercase().as_str() {
        "L0" => Ok(0),
        "L1" => Ok(1),
        "L2" => Ok(2),
        "L3" => Ok(3),
        "L4" => Ok(4),
        _ => Err("the levels are L0, L1, L2, L3 and L4".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &LockdownCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    let (ask, common) = match command {
        LockdownCommand::Set(args) => {
            let set = Ask::Set {
                scope: args.scope.scope(),
                level: args.level,
                reason: args.reason.clone(),
                seconds: args.span,
            };
            (set, &args.common)
        }
        LockdownCommand::Status(args) => (Ask::Status, &args.common),
        LockdownCommand::Lift(args) => {
            let scope = args.scope.scope();
            (Ask::Lift { scope }, &args.common)
        }
    };
    gateway::ask(&common.config, AdminRequest::Lockdown(ask), |value| {
        if common.json {
            return console.line(&value);
        }
        let answer: Answer = serde_json::from_value(value).map_err(Failure::of)?;
        if answer.nobody_on_site {
            console.note(
                "warning: networks.toml names no zone `on-site`; at L3 nobody gets through without breaking the glass",
            )?;
        }
        if answer.lockdowns.is_empty() {
            return console.line("nothing is locked down");
        }
        answer
            .lockdowns
            .iter()
            .try_for_each(|lockdown| console.line(printable(&line(lockdown))))
    })
}

fn line(lockdown: &Lockdown) -> String {
    let until = lockdown.until.map_or_else(
        || "until further notice".to_owned(),
        |until| format!("until {until}"),
    );
    format!(
        "L{}  {}  since {}  {until}  by {}: {}",
        lockdown.level,
        in_words(&lockdown.scope),
        lockdown.since,
        lockdown.by,
        lockdown.reason
    )
}
