//! `chartgate keys`: the way back to a lost master key.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use crate::audit::log::{KeyError, MasterKey, RecoveryCode};

/// Recover keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Get the trail's master key back from its recovery file and the code on paper.
    Recover(RecoverArgs),
}

/// Get the trail's master key back from its recovery file and the code on paper.
///
/// `chartgate init` sealed the master key into `master.recovery` under a code that was shown once. With both, this
/// writes the key again, readable for its owner only; it never overwrites a file. The code is read from standard
/// input, so that it stays out of the shell's history.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate keys recover --recovery keys/master.recovery --output keys/master.key"
)]
pub struct RecoverArgs {
    /// The recovery file.
    #[arg(long, value_name = "FILE", default_value = "keys/master.recovery")]
    recovery: PathBuf,
    /// The key file to write; it must not exist.
    #[arg(long, value_name = "FILE", default_value = "keys/master.key")]
    output: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &KeysCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    match command {
        KeysCommand::Recover(args) => recover(args, console),
    }
}

fn recover(args: &RecoverArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let typed = console.ask("Recovery code (eight groups of seven): ")?;
    let code = RecoveryCode::parse(&typed).map_err(Failure::of)?;
    let key = MasterKey::recover(&args.recovery, &code).map_err(|error| match error {
        KeyError::Crypt { .. } => Failure::Failed(format!(
            "the code does not open `{}`: it belongs to another key",
            args.recovery.display()
        )),
        KeyError::Code(_)
        | KeyError::Exposed { .. }
        | KeyError::Io { .. }
        | KeyError::Malformed { .. }
        | KeyError::Name(_) => Failure::of(error),
    })?;
    key.write(&args.output).map_err(Failure::of)?;
    console.line(format_args!(
        "wrote the master key {} to {}",
        key.id(),
        args.output.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::console::testing::Captured;
    use super::super::{Exit, run as command};
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn the_code_brings_the_key_back_and_another_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let key = MasterKey::generate().unwrap();
        let code = key
            .write_recovery(&dir.path().join("master.recovery"))
            .unwrap();
        let recover = |input: &str, output: &str| {
            let (recovery, output) = (path("master.recovery"), path(output));
            let line = [
                "chartgate",
                "keys",
                "recover",
                "--recovery",
                &recovery,
                "--output",
                &output,
            ];
            Captured::run_with(input, |console| {
                command(line, console, &SystemClock::shared())
            })
        };
        let captured = recover(&code.reveal(), "master.key");
        assert_eq!(captured.exit, Exit::Fine, "{}", captured.err);
        assert_eq!(
            MasterKey::read(&dir.path().join("master.key"))
                .unwrap()
                .id(),
            key.id()
        );
        assert!(!captured.out.contains(code.reveal().as_str()));

        let other = RecoveryCode::generate().unwrap();
        let captured = recover(&other.reveal(), "second.key");
        assert_eq!(captured.exit, Exit::Failed);
        assert!(
            captured.err.contains("belongs to another key"),
            "{}",
            captured.err
        );
        let captured = recover("AAAA", "second.key");
        assert!(captured.err.contains("too short"), "{}", captured.err);
        assert!(!dir.path().join("second.key").exists());
        let captured = recover(&code.reveal(), "master.key");
        assert_eq!(captured.exit, Exit::Failed, "it overwrote a key");
    }
}
