//! `chartgate incident`: what may have to be notified, and its evidence.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::audit::show::parse_since;
use super::console::{Console, Failure};
use super::gateway::{self, Common, printable};
use crate::admin::protocol::AdminRequest;
use crate::audit::log::VerifierKey;
use crate::audit::show::{Shown, line};
use crate::clock::SharedClock;
use crate::operate::incidents::{Ask, Clock, Incident, State, Verified, Which, verify};

/// Open incidents, watch their clocks, pack and verify their evidence.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum IncidentCommand {
    List(ListArgs),
    Show(ShowArgs),
    Open(OpenArgs),
    Evidence(EvidenceArgs),
    Close(CloseArgs),
    Verify(VerifyArgs),
}

/// List the newest incidents with their clocks.
///
/// At most 500, newest first. Clocks run from the opening, which counts as the discovery.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate incident list --open")]
pub struct ListArgs {
    /// Only incidents that are open.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    common: Common,
}

/// Show an incident with its clocks, cases and bundles.
///
/// The clocks say by when whom the law wants told; whether it applies is for the privacy officer to decide.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  chartgate incident show 2")]
pub struct ShowArgs {
    /// Its number.
    #[arg(value_name = "N")]
    number: u64,
    #[command(flatten)]
    common: Common,
}

/// Open an incident.
///
/// About a case, or about what the title says; then a case is opened too. Its clocks start now.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  chartgate incident open --case 7\n  \
                             chartgate incident open --title \"Laptop with charts stolen from a car\"")]
pub struct OpenArgs {
    /// About this case.
    #[arg(long, value_name = "N", required_unless_present = "title")]
    case: Option<u64>,
    /// What it is about, in a line; the case's title where it is left out.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Pack the evidence of an incident into a signed bundle.
///
/// The records that its cases name, and all about the users and patients of the cases, each with the key that opens it
/// alone, the frames that prove it, and the signed checkpoint behind them. The packing goes on record. The file is a
/// tar archive; it holds patient data.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate incident evidence 2 --output incident-2.tar\n  \
                             chartgate incident evidence 2 --since 2026-11-01 --output incident-2.tar"
)]
pub struct EvidenceArgs {
    /// The incident's number.
    #[arg(value_name = "N")]
    number: u64,
    /// The bundle; must not exist yet.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Records about users and patients from then on: a span (`72h`), a day or a time. Default: 30 days before the
    /// first case.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Close an incident.
///
/// Who closed it, and with what result, goes on record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate incident close 2 --note \"Low probability of compromise; assessment filed as 2026-14\""
)]
pub struct CloseArgs {
    /// Its number.
    #[arg(value_name = "N")]
    number: u64,
    /// With what result.
    #[arg(long, value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    common: Common,
}

/// Verify a bundle, offline, with the public key alone.
///
/// The signature, the hash of every file, that every record opens under its key to the text that is shown, and that
/// its frame stands in the chain below a signed checkpoint. Exit code 1 where anything is wrong; it is named.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate incident verify incident-2.tar --key signing.pub\n  \
                             chartgate incident verify incident-2.tar --key signing.pub --records"
)]
pub struct VerifyArgs {
    /// The bundle.
    #[arg(value_name = "FILE")]
    bundle: PathBuf,
    /// The public key of the trail's checkpoints (`keys/signing.pub`).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Also print the records.
    #[arg(long)]
    records: bool,
    /// Print the findings as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(
    command: &IncidentCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let now = clock.now();
    match command {
        IncidentCommand::List(args) => {
            let which = if args.open { Which::Open } else { Which::All };
            ask(
                Ask::List { which },
                &args.common,
                console,
                |incident, console| console.line(summary(incident, now)),
            )
        }
        IncidentCommand::Show(args) => {
            let number = args.number;
            ask(
                Ask::Show { number },
                &args.common,
                console,
                |incident, console| show(incident, now, console),
            )
        }
        IncidentCommand::Open(args) => {
            let open = Ask::Open {
                case: args.case,
                title: args.title.clone(),
            };
            ask(open, &args.common, console, |incident, console| {
                show(incident, now, console)
            })
        }
        IncidentCommand::Evidence(args) => evidence(args, console, now),
        IncidentCommand::Close(args) => {
            let close = Ask::Close {
                number: args.number,
                note: args.note.clone(),
            };
            ask(close, &args.common, console, |incident, console| {
                console.line(format_args!("incident {} is closed", incident.number))
            })
        }
        IncidentCommand::Verify(args) => verify_bundle(args, console),
    }
}

fn ask(
    ask: Ask,
    common: &Common,
    console: &mut Console<'_>,
    print: impl Fn(&Incident, &mut Console<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let told = (console, common.json, "there is no incident like that");
    gateway::list(
        &common.config,
        AdminRequest::Incident(ask),
        told,
        |value, console| {
            let incident = serde_json::from_value(value).map_err(Failure::of)?;
            print(&incident, console)
        },
    )
}

fn summary(incident: &Incident, now: Timestamp) -> String {
    let state = match &incident.state {
        State::Closed(ended) => format!("closed {}", ended.at.strftime("%Y-%m-%d")),
        State::Open => {
            let clocks = Clock::ALL.iter().map(|clock| {
                let name = clock.name().split(' ').next().unwrap_or_default();
                format!("{name} {}", left(*clock, incident, now))
            });
            clocks.collect::<Vec<_>>().join(", ")
        }
    };
    printable(&format!(
        "{:>5}  {}  {}  {state}",
        incident.number,
        incident.opened.strftime("%Y-%m-%dT%H:%M:%SZ"),
        incident.title
    ))
}

fn show(incident: &Incident, now: Timestamp, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut say = |name: &str, value: &str| console.line(printable(&format!("{name:<10} {value}")));
    say("incident", &incident.number.to_string())?;
    say("title", &incident.title)?;
    say("opened", &format!("{} by {}", incident.opened, incident.by))?;
    for case in &incident.cases {
        say("case", &case.to_string())?;
    }
    for clock in Clock::ALL {
        let until = clock.until(incident.opened);
        let left = left(*clock, incident, now);
        say("clock", &format!("{}: until {until}, {left}", clock.name()))?;
    }
    for packed in &incident.packed {
        let text = format!(
            "{} by {}: {} records, SHA-256 {}",
            packed.at, packed.by, packed.records, packed.sha256
        );
        say("evidence", &text)?;
    }
    match &incident.state {
        State::Open => say("state", "open"),
        State::Closed(ended) => {
            let text = format!("closed at {} by {}: {}", ended.at, ended.by, ended.note);
            say("state", &text)
        }
    }
}

/// What is left on a clock.
fn left(clock: Clock, incident: &Incident, now: Timestamp) -> String {
    let left = clock.until(incident.opened).duration_since(now);
    if left <= SignedDuration::ZERO {
        return "OVERDUE".to_owned();
    }
    match left.as_hours() {
        hours @ ..=96 => format!("{hours} h left"),
        hours => format!("{} days left", hours.checked_div(24).unwrap_or_default()),
    }
}

fn evidence(args: &EvidenceArgs, console: &mut Console<'_>, now: Timestamp) -> Result<(), Failure> {
    let since = match &args.since {
        None => None,
        Some(text) => Some(parse_since(text, now).ok_or_else(|| {
            Failure::Configuration(format!("`--since {text}` is no span (72h), day or time"))
        })?),
    };
    if args.output.exists() {
        let shown = args.output.display();
        return Err(Failure::Failed(format!(
            "`{shown}` exists; name another file"
        )));
    }
    let number = args.number;
    let mut bundle = Vec::new();
    let ask = AdminRequest::Incident(Ask::Evidence { number, since });
    gateway::ask(&args.common.config, ask, |value| {
        let part = value.as_str().and_then(|part| BASE64.decode(part).ok());
        let part = part.ok_or_else(|| Failure::of("a part of the bundle cannot be read"))?;
        bundle.extend_from_slice(&part);
        Ok(())
    })?;
    write_new(&args.output, &bundle)?;
    let shown = args.output.display();
    if args.common.json {
        return console.line(json!({ "bundle": shown.to_string(), "bytes": bundle.len() }));
    }
    console.line(format_args!(
        "{shown}: {} bytes. It holds patient data.",
        bundle.len()
    ))?;
    console.line(format_args!(
        "Verify it with: chartgate incident verify {shown} --key signing.pub"
    ))
}

/// SECURITY: the bundle holds patient data: for its owner's eyes only from the first byte on.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    })
    .map_err(|error| Failure::Failed(format!("`{}`: {error}", path.display())))
}

fn verify_bundle(args: &VerifyArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let key = VerifierKey::read(&args.key).map_err(Failure::of)?;
    let bundle = std::fs::read(&args.bundle)
        .map_err(|error| Failure::Failed(format!("`{}`: {error}", args.bundle.display())))?;
    match verify(&bundle, &key) {
        Ok(verified) if args.json => {
            let records: Vec<_> = verified.records.iter().map(|(seq, _)| *seq).collect();
            console.line(json!({
                "genuine": true,
                "manifest": verified.manifest,
                "records": records,
                "checkpoints": verified.checkpoints,
            }))
        }
        Ok(verified) => genuine(&verified, args, &key, console),
        Err(wrong) => {
            let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            if args.json {
                console.line(json!({ "genuine": false, "problems": wrong }))?;
            } else {
                console.line("NOT GENUINE")?;
                for problem in &wrong {
                    console.line(printable(&format!("  {problem}")))?;
                }
            }
            Err(Failure::Unfit)
        }
    }
}

fn genuine(
    verified: &Verified,
    args: &VerifyArgs,
    key: &VerifierKey,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let manifest = &verified.manifest;
    console.line(printable(&format!(
        "genuine: incident {} ({}), packed {} by {}, signed by {}",
        manifest.incident,
        manifest.title,
        manifest.made,
        manifest.by,
        key.name()
    )))?;
    console.line(format_args!(
        "{} records, each opened and proven by one of {} signed checkpoints",
        verified.records.len(),
        verified.checkpoints
    ))?;
    if args.records {
        for (seq, entry) in &verified.records {
            let shown = Shown {
                seq: *seq,
                entry: entry.clone(),
            };
            console.line(line(&shown))?;
        }
    }
    Ok(())
}
