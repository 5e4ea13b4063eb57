//! `chartgate version`: what this build is and which formats it speaks.

use clap::Args;

use super::console::{Console, Failure};
use crate::admin::protocol;
use crate::audit::log::FORMAT_VERSION;

/// Print the version of this build and of the formats that it reads and writes.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate version")]
pub struct VersionArgs {}

/// Prints the versions.
///
/// # Errors
/// [`Failure::Output`].
pub fn run(VersionArgs {}: &VersionArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    console.line(format_args!("chartgate {}", env!("CARGO_PKG_VERSION")))?;
    console.line(format_args!("trail format {FORMAT_VERSION}"))?;
    console.line(format_args!("admin protocol {}", protocol::VERSION))
}

#[cfg(test)]
mod tests {
    use super::super::console::testing::Captured;
    use super::super::{Exit, run as command};
    use crate::clock::SystemClock;

    #[test]
    fn the_version_is_the_crates() {
        let captured = Captured::run(|console| {
            command(["chartgate", "version"], console, &SystemClock::shared())
        });
        assert_eq!(captured.exit, Exit::Fine);
        assert!(
            captured
                .out
                .starts_with(&format!("chartgate {}\n", env!("CARGO_PKG_VERSION")))
        );
    }
}
