//! `chartgate audit show`: entries of the trail, for a person or a program.
//!
//! *Never*: a reading that is not on record: a running gateway records it; where none runs, this does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::admin::client::{AdminClient, ClientError};
use crate::admin::protocol::AdminRequest;
use crate::audit::answers::Piece;
use crate::audit::index::Index;
use crate::audit::log::{LogError, MasterKey, RealFiles};
use crate::audit::open::OpenError;
use crate::audit::show::{Filter, Show, Shown, line};
use crate::cli::console::{Console, Failure};
use crate::cli::trail::say_shredded;
use crate::cli::{gateway, offline};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::unit::parse_duration;
use crate::request::Event;

/// Show the entries of the trail: who did what to whose chart, and what was refused.
///
/// ID is the id of a request, as pages show it, or of a record. Filters narrow it down; everything that is given must
/// match, and is looked up in the index; what narrows nothing down is read in order. Outcomes are shown with their
/// admissions. It asks the running gateway, so it must be run by an operator ([admin.operators]), and the reading itself
/// goes on record. Where no gateway runs, the trail is opened here, with the same rules and the same record.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit show 0199c5a2-7c1e-7d5c-9d1e-3f0a5b2c7e11\n  \
                             chartgate audit show --patient 4 --since 24h\n  \
                             chartgate audit show --user dr.grey --json | jq .entry.facts.path\n  \
                             chartgate audit show --follow"
)]
pub struct ShowArgs {
    /// Only the request with this id, as pages show it, or the record with this id.
    #[arg(value_name = "ID", conflicts_with = "request")]
    id: Option<String>,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Only entries about this patient (an identifier of the EMR).
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// Only entries of this user (name or stable id).
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only the request with this id, as refusal pages show it.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Nothing older: a span (`24h`), a day (`2026-11-22`) or a time (`2026-11-22T08:00:00Z`).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Go on with new entries until Ctrl-C. Needs a running gateway.
    #[arg(long)]
    follow: bool,
    /// Print one JSON document for each entry.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    args: &ShowArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let since = match &args.since {
        Some(text) => Some(parse_since(text, clock.now()).ok_or_else(|| {
            let message = format!(
                "`--since {text}` is no span (24h), day (2026-11-22) or time (2026-11-22T08:00:00Z)"
            );
            Failure::Configuration(message)
        })?),
        None => None,
    };
    let filter = Filter {
        patient: args.patient.clone(),
        user: args.user.clone(),
        request: args.id.clone().or_else(|| args.request.clone()),
        since,
        ..Filter::default()
    };
    let admin = gateway::admin(&args.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let ask = || {
            let request = AdminRequest::AuditShow {
                filter: filter.clone(),
                follow: args.follow,
            };
            AdminClient::ask(&admin.socket, request)
        };
        match ask().await {
            Ok(client) => return from_gateway(client, args, console).await,
            Err(ClientError::NotRunning(_)) if !args.follow => {}
            Err(error) => return Err(Failure::of(error)),
        }
        let config = offline::config(&args.config)?;
        match from_disk(&config, &filter, args, console, clock).await? {
            Read::Done => Ok(()),
            // Whoever holds the trail was starting, and answers by now.
            Read::Held(held) => match ask().await {
                Ok(client) => from_gateway(client, args, console).await,
                Err(_) => Err(Failure::of(held)),
            },
        }
    })
}

async fn from_gateway(
    mut client: AdminClient,
    args: &ShowArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    while let Some(value) = client.next().await.map_err(Failure::of)? {
        print(&value, args, console)?;
    }
    Ok(())
}

fn print(value: &Value, args: &ShowArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    if value.get("entry").is_none()
        && let Ok(Piece::Shredded(shredded)) = serde_json::from_value(value.clone())
    {
        return say_shredded(&shredded, console);
    }
    if args.json {
        return console.line(value);
    }
    let shown: Shown = serde_json::from_value(value.clone()).map_err(|error| {
        Failure::Failed(format!("an entry of the gateway cannot be read: {error}"))
    })?;
    console.line(line(&shown))
}

/// What became of reading without a gateway.
enum Read {
    Done,
    /// Another process has the trail.
    Held(OpenError),
}

/// Opens the trail where no gateway does, puts the reading on record, then reads.
async fn from_disk(
    config: &Config,
    filter: &Filter,
    args: &ShowArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<Read, Failure> {
    let operator = offline::operator(config)?;
    let audit = match offline::open(config, clock).await {
        Ok(audit) => audit,
        Err(held @ OpenError::Log(LogError::Locked { .. })) => return Ok(Read::Held(held)),
        Err(error) => return Err(Failure::of(error)),
    };
    let asked = serde_json::to_string(filter).map_err(Failure::of)?;
    let detail = BTreeMap::from([
        ("operator".to_owned(), operator.to_owned()),
        ("filter".to_owned(), asked),
    ]);
    audit
        .event(Event::AuditRead, None, detail)
        .await
        .map_err(Failure::of)?;
    let master = Arc::new(MasterKey::read(&config.audit.master_key).map_err(Failure::of)?);
    let last = audit.log().status().sequence;
    let index = Index::new(Arc::new(RealFiles), &config.audit.directory, master);
    let mut show = Show::through(&index, filter.clone(), last);
    let printed = print_all(&mut show, args, console);
    offline::close(&audit).await?;
    printed.map(|()| Read::Done)
}

fn print_all(show: &mut Show, args: &ShowArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    while let Some(shown) = show.next_match().map_err(Failure::of)? {
        let value = serde_json::to_value(&shown).map_err(Failure::of)?;
        print(&value, args, console)?;
    }
    say_shredded(&show.take_shredded(), console)
}

/// When `--since` begins: a span before now, a day, or a time.
pub(in crate::cli) fn parse_since(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(span) = parse_duration(text) {
        return now.checked_sub(span).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let day = text.parse::<Date>().ok()?;
    day.to_zoned(TimeZone::UTC)
        .ok()
        .map(|start| start.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_span_a_day_or_a_time() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let since = |text| parse_since(text, now).map(|time| time.to_string());
        assert_eq!(since("24h").as_deref(), Some("2026-11-21T12:00:00Z"));
        assert_eq!(since("2026-11-20").as_deref(), Some("2026-11-20T00:00:00Z"));
        assert_eq!(
            since("2026-11-20T08:00:00+01:00").as_deref(),
            Some("2026-11-20T07:00:00Z")
        );
        assert_eq!(since("yesterday"), None);
    }
}
