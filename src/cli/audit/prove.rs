//! `chartgate audit prove`: a proof that one record stands in the trail, for somebody who sees no other.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::audit::answers::{Ask, Named, Piece};
use crate::audit::log::Content;
use crate::cli::console::{Console, Failure};
use crate::cli::output::Output;
use crate::cli::trail::{self, Asides};
use crate::clock::SharedClock;

/// Prove to somebody else that a record stands in the trail, and what it says, without showing any other.
///
/// ID is a sequence number, the id of a record, or the id of a request as pages show it: then its admission and its
/// outcome are proven. Whoever has the public key checks the proof with `chartgate audit check-proof`. It asks the running
/// gateway, so it must be run by an operator ([admin.operators]), and is on record; where no gateway runs, the trail is
/// opened here, with the same record. FILE is readable for its owner only: it names the patient.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit prove 41872 --output proof.json\n  \
                             chartgate audit prove 0199c5a2-7c1e-7d5c-9d1e-3f0a5b2c7e11 --without-content > proof.json"
)]
pub struct ProveArgs {
    /// A sequence number, or the id of a record or a request.
    #[arg(value_name = "ID")]
    named: Named,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Write into this file, which must not exist yet, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave the record's key out: prove only that it exists.
    #[arg(long)]
    without_content: bool,
}

pub(super) fn run(
    args: &ProveArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let content = if args.without_content {
        Content::Sealed
    } else {
        Content::Opened
    };
    let question = Ask::Prove {
        named: args.named.clone(),
        content,
    };
    let mut output = Output::to(args.output.as_deref())?;
    let mut proof = None;
    let mut asides = Asides::default();
    trail::ask(&args.config, question, clock, |piece| {
        if let Piece::Proof(made) = piece {
            proof = Some(made);
        } else {
            drop(asides.row(piece));
        }
        Ok(())
    })?;
    asides.say(console)?;
    let proof = proof.ok_or_else(|| Failure::Failed("the proof broke off".to_owned()))?;
    let mut text = serde_json::to_string_pretty(&proof).map_err(Failure::of)?;
    text.push('\n');
    output.text(&text, console)?;
    output.finish(&[])?;
    let count = proof.records();
    let records = if count == 1 { "record" } else { "records" };
    let file = args.output.as_deref().unwrap_or_else(|| Path::new("FILE"));
    console.note(format_args!(
        "{count} {records} proven; on record. To check it: chartgate audit check-proof {} --key signing.pub",
        file.display()
    ))
}
