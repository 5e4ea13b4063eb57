//! `chartgate witness`: the other end of an HTTPS witness, on another machine.

mod endpoint;
mod serve;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use crate::audit::log::CosigningKey;
use crate::clock::SharedClock;

/// Hold checkpoints of a gateway's trail on another machine.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum WitnessCommand {
    Keygen(KeygenArgs),
    Serve(Box<serve::ServeArgs>),
}

/// Make the key by which a witness says what it holds.
///
/// The private key goes into a file that only its owner can read; it belongs on the witness's machine and nowhere else. The
/// public key goes beside it (`.pub`): name it as `cosigner` of the witness in the gateway's configuration, and a yes
/// counts only with the witness's signature.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate witness keygen --name witness.hospital.example --key witness.key"
)]
pub struct KeygenArgs {
    /// Whose key it is: a name without spaces, in every line that it signs.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The private key's file; it must not exist.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(
    command: &WitnessCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    match command {
        WitnessCommand::Keygen(args) => keygen(args, console),
        WitnessCommand::Serve(args) => serve::run(args, console, clock),
    }
}

fn keygen(args: &KeygenArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let key = CosigningKey::generate(&args.name).map_err(Failure::of)?;
    let mut public = args.key.clone().into_os_string();
    public.push(".pub");
    let public = PathBuf::from(public);
    key.write(&args.key, &public).map_err(Failure::of)?;
    console.note(format_args!(
        "The private key is in {}, the public one in {}: `cosigner` of the witness in chartgate.toml.",
        args.key.display(),
        public.display()
    ))?;
    console.line(key.verifier())
}
