//! `chartgate demo`: the arguments of the sample clinic.

use std::path::PathBuf;

use clap::Parser;

/// Run the sample clinic: an identity provider, a small EMR and the gateway in front of it.
///
/// Everything is invented and runs in this process, on loopback only, with certificates made on the fly. It prints
/// the address, the users with their passwords and one-time codes, and five things to try, one of which is refused.
/// Ctrl-C drains it and prints how to verify the trail. Never put real data into it.
#[derive(Debug, Parser)]
#[command(
    name = "demo",
    after_long_help = "Examples:\n  chartgate demo\n  chartgate demo --port 0 --json --data-dir /tmp/clinic"
)]
pub struct DemoArgs {
    /// The gateway's HTTPS port on loopback; 0 takes any free one.
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    pub port: u16,
    /// Where trail, keys and certificates go; a temporary directory, if left out.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print the same facts as one line of JSON, once everything answers.
    #[arg(long)]
    pub json: bool,
}
