//! `chartgate serve`: the arguments of a running gateway.

use std::path::PathBuf;

use clap::Parser;

/// Run the gateway.
///
/// Reads and checks the configuration, recovers the trail, then serves until it is told to stop (SIGTERM or
/// Ctrl-C), and drains: requests in flight are finished, the rest is refused with CG-6003. What `chartgate check`
/// calls an error keeps it from starting (exit code 64).
#[derive(Debug, Parser)]
#[command(
    name = "serve",
    after_long_help = "Examples:\n  chartgate serve --config /etc/chartgate/chartgate.toml\n  \
                       chartgate check && chartgate serve"
)]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    pub config: PathBuf,
    /// Start although the trail ends before its newest witnessed checkpoint. The loss is put on record.
    ///
    /// Only after finding out why records are missing: it is what an attacker who cut the trail would leave.
    #[arg(long)]
    pub accept_truncated_trail: bool,
}
