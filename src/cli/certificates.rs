//! `chartgate certificates`: the certificates of a running gateway.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use super::gateway;
use crate::admin::protocol::AdminRequest;

/// Act on the certificates of a running gateway.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum CertificatesCommand {
    Reload(ReloadArgs),
}

/// Make the running gateway read its certificate files again.
///
/// For renewed certificates: connections that are open go on, new ones get the new certificates. Files that do not
/// fit together change nothing and are named. Who did it and with what result goes on record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate certificates reload --config /etc/chartgate/chartgate.toml"
)]
pub struct ReloadArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &CertificatesCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    match command {
        CertificatesCommand::Reload(args) => reload(args, console),
    }
}

fn reload(args: &ReloadArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    gateway::tell(&args.config, AdminRequest::ReloadCertificates, console)
}

#[cfg(test)]
mod tests {
    use super::super::console::testing::Captured;
    use super::super::{Exit, run as command};
    use crate::clock::SystemClock;
    use crate::config::fixture::{Fixture, TEMPLATE};

    #[test]
    fn without_a_gateway_it_says_so() {
        let fixture = Fixture::new();
        fixture.write("chartgate.toml", TEMPLATE);
        let file = fixture.path("chartgate.toml").display().to_string();
        let captured = Captured::run(|console| {
            command(
                ["chartgate", "certificates", "reload", "--config", &file],
                console,
                &SystemClock::shared(),
            )
        });
        assert_eq!(captured.exit, Exit::Failed);
        assert!(
            captured
                .err
                .starts_with("error: the gateway is not running"),
            "{}",
            captured.err
        );
    }
}
