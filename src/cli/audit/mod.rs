//! `chartgate audit`: reading and verifying the trail.

pub mod show;
pub mod verify;

use clap::Subcommand;

use super::console::{Console, Failure};
use crate::clock::SharedClock;

/// Read and verify the trail.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show the entries of the trail.
    Show(show::ShowArgs),
    /// Prove that no record was altered, removed, inserted or reordered.
    Verify(verify::VerifyArgs),
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &AuditCommand, console: &mut Console<'_>, clock: &SharedClock) -> Result<(), Failure> {
    match command {
        AuditCommand::Show(args) => show::run(args, console, clock),
        AuditCommand::Verify(args) => verify::run(args, console),
    }
}
