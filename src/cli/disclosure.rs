//! `chartgate disclosure`: what left otherwise than through the gateway.

use clap::{Args, Subcommand};
use jiff::civil::Date;

use super::console::{Console, Failure};
use super::gateway::{Common, printable};
use super::offline;
use crate::admin::client::{AdminClient, ClientError};
use crate::admin::protocol::AdminRequest;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::operate::disclosures::{Ask, Disclosures, Particulars, Recorded, Said};

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
    #[arg(long, value_name = "DAY")]
    date: Option<Date>,
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
    let config = Config::load_for_reading(&args.common.config).map_err(Failure::Problems)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let recorded = runtime.block_on(async {
        let ask = Ask::Record(particulars);
        let request = AdminRequest::Disclosure(ask.clone());
        match AdminClient::ask(&config.admin.socket, request).await {
            Ok(client) => from_gateway(client).await,
            Err(ClientError::NotRunning(_)) => here(&config, ask, clock).await,
            Err(error) => Err(Failure::of(error)),
        }
    })?;
    if args.common.json {
        return console.line(serde_json::to_string(&recorded).map_err(Failure::of)?);
    }
    console.line(printable(&format!(
        "on record: disclosure of patient {} to {} on {}, by {}",
        recorded.patient, recorded.to, recorded.date, recorded.operator
    )))
}

async fn from_gateway(mut client: AdminClient) -> Result<Recorded, Failure> {
    let value = client.next().await.map_err(Failure::of)?;
    let value = value.ok_or_else(|| Failure::of("the gateway did not say that it is on record"))?;
    serde_json::from_value(value).map_err(Failure::of)
}

/// Opens the trail where no gateway does; the same room answers.
async fn here(config: &Config, ask: Ask, clock: &SharedClock) -> Result<Recorded, Failure> {
    let operator = offline::operator(config)?;
    let audit = offline::open(config, clock).await.map_err(Failure::of)?;
    let room = Disclosures::new(audit.clone(), clock.clone());
    let recorded = room.answer(operator, ask).await.map_err(Failure::of);
    offline::close(&audit).await?;
    recorded
}
