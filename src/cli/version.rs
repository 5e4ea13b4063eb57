//! `chartgate version`: what this build is and which formats it speaks.

use clap::Args;

use super::console::{Console, Failure};
use crate::admin::protocol;
use crate::audit::log::FORMAT_VERSION;
use crate::posture::sbom;

/// Print the version of this build and of the formats that it reads and writes.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate version\n  chartgate version --sbom > chartgate.cdx.json"
)]
pub struct VersionArgs {
    /// Print the bill of materials of this build instead (`CycloneDX` 1.5, JSON).
    #[arg(long)]
    sbom: bool,
}

/// Prints the versions.
///
/// # Errors
/// [`Failure::Output`].
pub fn run(args: &VersionArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    if args.sbom {
        let bill = sbom::bill().map_err(Failure::of)?;
        return console.line(serde_json::to_string_pretty(&bill).map_err(Failure::of)?);
    }
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
    fn the_bill_of_materials_is_json() {
        let captured = Captured::run(|console| {
            command(
                ["chartgate", "version", "--sbom"],
                console,
                &SystemClock::shared(),
            )
        });
        let bill: serde_json::Value = serde_json::from_str(&captured.out).unwrap();
        assert_eq!(bill["metadata"]["component"]["name"], "chartgate");
    }

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
