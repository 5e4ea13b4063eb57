//! Mass-casualty events on the command line: declared, lifted, listed.

use std::path::PathBuf;

use clap::Args;

use crate::admin::protocol::AdminRequest;
use crate::cli::console::{Console, Failure};
use crate::cli::gateway::{self, printable, span};
use crate::operate::break_glass::{Ask, Declared};

/// `chartgate breakglass declare`
#[derive(Debug, Args)]
pub struct DeclareArgs {
    /// The ward, as the care feeds name it.
    #[arg(long, value_name = "NAME")]
    ward: String,
    /// For how long (`30m`, `4h`): at most 24 hours; four, where it is left out. Declaring again prolongs it.
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    span: Option<u64>,
    /// What happened, in 10 characters at least; on record, and on the form of everyone who breaks the glass there.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
}

/// `chartgate breakglass lift`
#[derive(Debug, Args)]
pub struct LiftArgs {
    /// The ward.
    #[arg(long, value_name = "NAME")]
    ward: String,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
}

/// `chartgate breakglass declared`
#[derive(Debug, Args)]
pub struct DeclaredArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print one JSON document for each.
    #[arg(long)]
    json: bool,
}

pub(super) fn declare(args: &DeclareArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let ask = Ask::Declare {
        ward: args.ward.clone(),
        reason: args.reason.clone(),
        seconds: args.span,
    };
    let request = AdminRequest::BreakGlass(ask);
    gateway::tell(&args.config, request, console)
}

pub(super) fn lift(args: &LiftArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let ward = args.ward.clone();
    let request = AdminRequest::BreakGlass(Ask::Lift { ward });
    gateway::tell(&args.config, request, console)
}

pub(super) fn declared(args: &DeclaredArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let ask = AdminRequest::BreakGlass(Ask::Declared);
    let told = (console, args.json, "no mass-casualty event is declared");
    gateway::list(&args.config, ask, told, |value, console| {
        let one: Declared = serde_json::from_value(value).map_err(Failure::of)?;
        let declaration = &one.declaration;
        console.line(printable(&format!(
            "ward {:<12} until {}  {} patients, {} glasses  by {}: {}",
            declaration.ward,
            declaration.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            one.patients,
            one.glasses,
            declaration.by,
            declaration.reason
        )))
    })
}
