//! `chartgate disclosure`: what left otherwise than through the gateway.

use std::path::Path;

use clap::{Args, Subcommand};
use jiff::civil::Date;
use uuid::Uuid;

use super::console::{Console, Failure};
use super::gateway::{self, Common, printable};
use super::offline;
use super::trail::{self, Asides};
use crate::admin::client::{AdminClient, ClientError};
use crate::admin::protocol::AdminRequest;
use crate::audit::answers;
use crate::audit::filter::Filter;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::operate::disclosures::{Ask, Disclosures, Done, Particulars, Said, Taken, Withdrawal};
use crate::request::Event;

/// Disclosures that do not pass the gateway: paper, telephone, a CD.
#[derive(Debug, Subcommand)]
pub enum DisclosureCommand {
    /// Put a disclosure on record.
    ///
    /// It is listed by `chartgate report disclosures` with those that passed the gateway (45 CFR 164.528). The purpose is a
    /// code of HL7 v3 `PurposeOfUse` (HLEGAL, PUBHLTH, HRESCH, PATRQT, TREAT, HPAYMT, HOPERAT), or words. Where no gateway
    /// runs, the trail is opened here.
    #[command(
        after_long_help = "Examples:\n  chartgate disclosure record --patient 4 --to 'County Court' --address '1 Main Street' --what 'discharge letter' --purpose HLEGAL\n  \
                           chartgate disclosure record --patient 4 --to 'Health Department' --what 'test result' --purpose PUBHLTH --date 2026-10-02"
    )]
    Record(RecordArgs),
    /// Withdraw what was put on record by mistake, for another patient for instance.
    ///
    /// Nothing is removed: the withdrawal is a record of its own, with your name and the reason. `chartgate report
    /// disclosures` leaves the entry out from then on and says that it did. Its id is what that report shows as
    /// `request`. Only what was put on record by `chartgate disclosure record` can be withdrawn.
    #[command(
        after_long_help = "Example:\n  chartgate disclosure withdraw 01a22e9d-5b1c-7f30-9b7e-3d1f4a5b6c7d --reason 'patient 5 was meant'"
    )]
    Withdraw(WithdrawArgs),
}

/// What was disclosed.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The patient's identifier in the EMR.
    #[arg(long, value_name = "ID")]
    patient: String,
    /// The person or organisation that received it.
    #[arg(long, value_name = "NAME")]
    to: String,
    /// Their address, if it is known.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// What was handed over.
    #[arg(long, value_name = "TEXT")]
    what: String,
    /// What for: a code (HLEGAL, PUBHLTH, …) or words.
    #[arg(long, value_name = "PURPOSE")]
    purpose: String,
    /// The day on which it left; today, if none is named.
    #[arg(long, value_name = "DAY", value_parser = day)]
    date: Option<Date>,
    #[command(flatten)]
    common: Common,
}

/// What is withdrawn.
#[derive(Debug, Args)]
pub struct WithdrawArgs {
    /// The id of the record.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Why; on record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(
    command: &DisclosureCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    match command {
        DisclosureCommand::Record(args) => record(args, console, clock),
        DisclosureCommand::Withdraw(args) => withdraw(args, console, clock),
    }
}

fn record(
    args: &RecordArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let said = Said {
        patient: args.patient.clone(),
        to: args.to.clone(),
        address: args.address.clone(),
        what: args.what.clone(),
        purpose: args.purpose.clone(),
        date: args.date,
    };
    let particulars =
        Particulars::try_from(said).map_err(|error| Failure::Configuration(error.to_string()))?;
    let done = put(&args.common.config, Ask::Record(particulars), clock)?;
    say(&done, args.common.json, console)
}

fn withdraw(
    args: &WithdrawArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    // Whose it is stands in the record itself.
    let filter = Filter {
        request: Some(args.id.to_string()),
        event: Some(Event::DisclosureRecorded),
        ..Filter::default()
    };
    let question = answers::Ask::Query {
        filter,
        limit: Some(1),
    };
    let mut patient = None;
    let mut asides = Asides::default();
    trail::ask(&args.common.config, question, clock, |piece| {
        if let Some(joined) = asides.row(piece) {
            patient = joined.entry.detail.get("patient").cloned();
        }
        Ok(())
    })?;
    let patient = patient.ok_or_else(|| {
        Failure::Failed(format!(
            "no disclosure that an operator put on record has the id {}; `chartgate report disclosures` shows these ids as \
             `request`. What passed the gateway cannot be withdrawn",
            args.id
        ))
    })?;
    let taken = Taken {
        disclosure: args.id,
        patient,
        reason: args.reason.clone(),
    };
    let withdrawal =
        Withdrawal::try_from(taken).map_err(|error| Failure::Configuration(error.to_string()))?;
    let done = put(&args.common.config, Ask::Withdraw(withdrawal), clock)?;
    say(&done, args.common.json, console)
}

fn say(done: &Done, json: bool, console: &mut Console<'_>) -> Result<(), Failure> {
    if json {
        return console.line(serde_json::to_string(done).map_err(Failure::of)?);
    }
    console.line(printable(&match done {
        Done::Recorded(recorded) => format!(
            "on record: disclosure of patient {} to {} on {}, by {}",
            recorded.patient, recorded.to, recorded.date, recorded.operator
        ),
        Done::Withdrawn(withdrawn) => format!(
            "on record: disclosure {} of patient {} withdrawn by {}; the accounting leaves it out",
            withdrawn.disclosure, withdrawn.patient, withdrawn.operator
        ),
    }))
}

/// Has it put on record: by the running gateway, or here where none runs.
fn put(config: &Path, ask: Ask, clock: &SharedClock) -> Result<Done, Failure> {
    let admin = gateway::admin(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let request = AdminRequest::Disclosure(ask.clone());
        match AdminClient::ask(&admin.socket, request).await {
            Ok(client) => from_gateway(client).await,
            Err(ClientError::NotRunning(_)) => {
                let config = offline::config(config)?;
                here(&config, ask, clock).await
            }
            Err(error) => Err(Failure::of(error)),
        }
    })
}

async fn from_gateway(mut client: AdminClient) -> Result<Done, Failure> {
    let value = client.next().await.map_err(Failure::of)?;
    let value = value.ok_or_else(|| Failure::of("the gateway did not say that it is on record"))?;
    serde_json::from_value(value).map_err(Failure::of)
}

/// Opens the trail where no gateway does; the same room answers.
async fn here(config: &Config, ask: Ask, clock: &SharedClock) -> Result<Done, Failure> {
    let operator = offline::operator(config)?;
    let audit = offline::open(config, clock).await.map_err(Failure::of)?;
    let room = Disclosures::new(audit.clone(), clock.clone());
    let done = room.answer(operator, ask).await.map_err(Failure::of);
    offline::close(&audit).await?;
    done
}

fn day(text: &str) -> Result<Date, String> {
    let day = text.parse().ok();
    day.ok_or_else(|| "it is no day; write it as 2026-10-02".to_owned())
}
