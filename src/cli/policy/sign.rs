//! `chartgate policy keygen` and `chartgate policy sign`: bundles that nobody can change unnoticed.

use std::path::PathBuf;

use clap::Args;

use super::Place;
use crate::audit::log::SigningKey;
use crate::cli::console::{Console, Failure};
use crate::operate::permissions::trust;

/// Make a key that signs policy bundles.
///
/// The private key goes into a file that only its owner can read; keep it off the gateway. The public key goes beside it
/// (`.pub`) and is printed: write it into `trusted_keys` in [policy], and `require_signature = true`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate policy keygen --name policy.hospital.example/anna --key anna.key"
)]
pub(in crate::cli) struct KeygenArgs {
    /// Whose key it is: a name without spaces, on record with each bundle that it signs.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The private key's file; it must not exist.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Sign a policy bundle.
///
/// Writes `bundle.sig` into the bundle: an Ed25519 signature over its name, version and SHA-256, as a signed note. The
/// signatures of others stay, where they signed the same. A bundle with a problem is not signed.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate policy sign --key anna.key --policies policies")]
pub(in crate::cli) struct SignArgs {
    #[command(flatten)]
    place: Place,
    /// The private key's file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Makes a key.
pub(super) fn keygen(args: &KeygenArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let key = SigningKey::generate(&args.name).map_err(Failure::of)?;
    let mut public = args.key.clone().into_os_string();
    public.push(".pub");
    let public = PathBuf::from(public);
    key.write(&args.key, &public).map_err(Failure::of)?;
    console.note(format_args!(
        "The private key is in {}, the public one in {}. For [policy] in chartgate.toml:",
        args.key.display(),
        public.display()
    ))?;
    console.line(format_args!("trusted_keys = [\"{}\"]", key.verifier()))
}

/// Signs a bundle.
pub(super) fn sign(args: &SignArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let key = SigningKey::read(&args.key).map_err(Failure::of)?;
    let active = args.place.bundle()?;
    let bundle = active.bundle();
    let file = bundle.directory().join("bundle.sig");
    let next = bundle.directory().join(".bundle.sig.next");
    std::fs::write(&next, trust::signed(bundle, &key))?;
    std::fs::rename(&next, &file)?;
    console.line(format_args!(
        "{} {} is signed by {}: sha256 {}, in {}",
        bundle.name(),
        bundle.version(),
        key.verifier().name(),
        bundle.digest(),
        file.display()
    ))
}
