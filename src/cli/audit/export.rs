//! `chartgate audit export`: the trail's records in the formats that other systems read.

use std::path::PathBuf;

use aws_lc_rs::digest;
use clap::{Args, ValueEnum};

use crate::audit::answers::{Ask, Manifest, Piece};
use crate::audit::export::Format;
use crate::cli::console::{Console, Failure};
use crate::cli::output::Output;
use crate::cli::trail::{self, Asides, Narrowing};
use crate::clock::SharedClock;
use crate::counted::counted;

/// Export records: FHIR R4 `AuditEvent`s (IHE BALP), OCSF, ATNA, CEF, CSV, or the records themselves.
///
/// The export is on record with format, filter, count and the SHA-256 of what came out, which is printed too; with
/// --output it also stands in FILE.sha256, for `sha256sum -c`. FILE is readable for its owner only; it names patients.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit export --format fhir --since 2026-11-01 --output november.ndjson\n  \
                             chartgate audit export --format ocsf --since 24h > events.jsonl\n  \
                             chartgate audit export --format atna --since 24h --output messages.log\n  \
                             chartgate audit export --format csv --patient 4 --output patient-4.csv"
)]
pub struct ExportArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// The format.
    #[arg(long, value_enum)]
    format: Form,
    #[command(flatten)]
    narrowing: Narrowing,
    /// Write into this file, which must not exist yet, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A format's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// FHIR R4 `AuditEvent`s as NDJSON, one for each patient; IHE BALP profiles where they fit.
    Fhir,
    /// OCSF 1.8 events, one JSON document a line.
    Ocsf,
    /// DICOM PS3.15 audit messages as IHE ATNA sends them, one for each patient, each in a line of RFC 5424.
    Atna,
    /// Common Event Format, one event a line.
    Cef,
    /// One row for each request, refusal and event.
    Csv,
    /// The records themselves with their sequence numbers, one JSON document a line.
    Jsonl,
}

impl From<Form> for Format {
    fn from(form: Form) -> Self {
        match form {
            Form::Fhir => Self::Fhir,
            Form::Ocsf => Self::Ocsf,
            Form::Atna => Self::Atna,
            Form::Cef => Self::Cef,
            Form::Csv => Self::Csv,
            Form::Jsonl => Self::Jsonl,
        }
    }
}

pub(super) fn run(
    args: &ExportArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let question = Ask::Export {
        format: args.format.into(),
        filter: args.narrowing.filter(clock.now())?,
    };
    if args.format == Form::Jsonl && args.narrowing.names_an_outcome() {
        let message = "`--format jsonl` has admissions and outcomes apart, so --outcome says nothing of the admissions; \
                       use another format";
        return Err(Failure::Configuration(message.to_owned()));
    }
    let mut asides = Asides::default();
    let mut output = Output::to(args.output.as_deref())?;
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut manifest: Option<Manifest> = None;
    trail::ask(&args.config, question, clock, |piece| match piece {
        Piece::Text(text) => {
            digest.update(text.as_bytes());
            output.text(&text, console)
        }
        Piece::Manifest(said) => {
            manifest = Some(said);
            Ok(())
        }
        beside @ (Piece::Row(_)
        | Piece::Expired(_)
        | Piece::Age(_)
        | Piece::Removed(_)
        | Piece::Aliases(_)
        | Piece::Proof(_)
        | Piece::Kept(_)
        | Piece::Hold(_)
        | Piece::ReadThrough(_)
        | Piece::Indexed(_)
        | Piece::Shredded(_)
        | Piece::Asked(_)) => {
            // No row comes of an export; what is said beside it is said at the end.
            let _none = asides.row(beside);
            Ok(())
        }
    })?;
    asides.say(console)?;
    let manifest = manifest.ok_or_else(|| {
        Failure::Failed("the export broke off; it is not on record as complete".to_owned())
    })?;
    let written = hex::encode(digest.finish());
    if written != manifest.sha256 {
        let message = "what was written is not what is on record; the export cannot be relied on";
        return Err(Failure::Failed(message.to_owned()));
    }
    let name = args.output.as_deref().and_then(|path| path.file_name());
    let name = name.map_or_else(|| "-".into(), |name| name.to_string_lossy());
    let mut sum = format!("{written}  {name}\n");
    if let Some(records) = manifest.passed_over() {
        // `sha256sum -c` passes over a line that begins so.
        sum.insert_str(
            0,
            &format!("# without records {records}, which are shredded\n"),
        );
    }
    output.finish(&[(".sha256", &sum)])?;
    console.note(format_args!(
        "{}, {}, of records up to {}; on record.\nsha256 {written}",
        counted(manifest.lines, "line"),
        counted(manifest.bytes, "byte"),
        manifest.through
    ))
}
