//! Asking the trail: the running gateway answers, or, where none runs, the trail itself is opened here.
//!
//! *Never*: an answer whose asking is not on record: the room that answers records it in both cases.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde_json::Value;
use uuid::Uuid;

use super::console::{Console, Failure};
use super::{gateway, offline};
use crate::admin::client::{AdminClient, ClientError};
use crate::admin::protocol::AdminRequest;
use crate::audit::answers::{Answers, Ask, Asked, Holdings, Piece};
use crate::audit::events;
use crate::audit::filter::{Ending, Filter};
use crate::audit::links::Known;
use crate::audit::log::{MasterKey, RealFiles, Retired};
use crate::audit::query::join::Joined;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::unit::parse_duration;
use crate::feeds::links;
use crate::refusal::Refusal;
use crate::request::Event;
use crate::request::facts::{Action, Verdict};

/// What narrows a question down. Everything that is given must match.
#[derive(Debug, Clone, Args)]
pub(super) struct Narrowing {
    /// Only about this patient: an identifier of the EMR, or `system|identifier`.
    #[arg(long, value_name = "ID", value_parser = identifier)]
    patient: Option<String>,
    /// Only of this user (name or stable id) or operator.
    #[arg(long, value_name = "ID", value_parser = identifier)]
    user: Option<String>,
    #[command(flatten)]
    period: Period,
    /// Only requests that were admitted (`allow`) or refused (`deny`).
    #[arg(long, value_name = "DECISION", value_parser = ["allow", "deny"])]
    decision: Option<String>,
    /// Only refusals with this code (`CG-3001`).
    #[arg(long, value_name = "CODE", value_parser = refusal)]
    refusal: Option<String>,
    /// Only this clinical action (`Read`, `Export`, …).
    #[arg(long, value_name = "ACTION", value_parser = action)]
    action: Option<Action>,
    /// Only this section of the chart (`notes`, `results`, …).
    #[arg(long, value_name = "SECTION")]
    section: Option<String>,
    /// Only the request with this id, as refusal pages show it.
    #[arg(long, value_name = "ID", value_parser = request)]
    request: Option<String>,
    /// Only from this address, or from a network (`10.20.0.0/16`).
    #[arg(long, value_name = "ADDRESS", value_parser = network)]
    address: Option<IpNet>,
    /// Only this event (`login`, `break-glass`, `policy`, …); a name that is none lists all.
    #[arg(long, value_name = "EVENT", value_parser = event)]
    event: Option<Event>,
    /// Only admitted requests that ended so (`complete`, `abandoned`, `upstream_failed`, `cut`, `unknown`), or are `open`.
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    outcome: Option<Ending>,
    /// With `--patient`: only this identifier, not those that the link feed says are the same patient's.
    #[arg(long, requires = "patient")]
    exact: bool,
}

/// A period.
#[derive(Debug, Clone, Args)]
pub(super) struct Period {
    /// Nothing older: a span (`24h`), a day (`2026-11-22`, from 00:00 UTC) or a time (`2026-11-22T08:00:00Z`).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Nothing newer: as `--since`; a day counts to its end, 24:00 UTC.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Period {
    /// Its beginning and its end.
    ///
    /// # Errors
    /// [`Failure::Configuration`] for what is no time, and where the end is before the beginning.
    pub(super) fn bounds(
        &self,
        now: Timestamp,
    ) -> Result<(Option<Timestamp>, Option<Timestamp>), Failure> {
        let read = |name: &str, text: &Option<String>, of_day: Time| {
            match text {
            None => Ok(None),
            Some(text) => instant(text, now, of_day).map(Some).ok_or_else(|| {
                let message = format!(
                    "`--{name} {text}` is no span (24h), day (2026-11-22) or time (2026-11-22T08:00:00Z)"
                );
                Failure::Configuration(message)
            }),
        }
        };
        let since = read("since", &self.since, Time::MIN)?;
        let until = read("until", &self.until, Time::MAX)?;
        match (since, until) {
            (Some(since), Some(until)) if since > until => {
                let message = format!(
                    "`--since` ({since:.0}) is after `--until` ({until:.0}): nothing can lie between; name the earlier first"
                );
                Err(Failure::Configuration(message))
            }
            _ => Ok((since, until)),
        }
    }
}

impl Narrowing {
    /// Whether it asks how requests ended.
    pub(super) const fn names_an_outcome(&self) -> bool {
        self.outcome.is_some()
    }

    /// The filter that it means.
    ///
    /// # Errors
    /// [`Failure::Configuration`] for what is no time.
    pub(super) fn filter(&self, now: Timestamp) -> Result<Filter, Failure> {
        let (since, until) = self.period.bounds(now)?;
        let decision = self.decision.as_deref().map(|decision| match decision {
            "allow" => Verdict::Allow,
            _ => Verdict::Deny,
        });
        Ok(Filter {
            patient: self.patient.clone(),
            user: self.user.clone(),
            request: self.request.clone(),
            since,
            until,
            decision,
            refusal: self.refusal.clone(),
            action: self.action,
            section: self.section.clone(),
            aliases: BTreeSet::new(),
            exact: self.exact,
            address: self.address,
            event: self.event,
            outcome: self.outcome,
        })
    }
}

/// The time that `--since` means: a span, a day from its beginning, or a time.
///
/// # Errors
/// [`Failure::Configuration`] for what is no time.
pub(super) fn since(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let period = Period {
        since: Some(text.to_owned()),
        until: None,
    };
    let (since, _) = period.bounds(now)?;
    Ok(since.unwrap_or(now))
}

fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network = text.parse::<IpNet>().map(|network| network.trunc());
    network
        .ok()
        .ok_or_else(|| "no address (`10.20.4.17`) and no network (`10.20.0.0/16`)".to_owned())
}

/// An identifier of a patient, or the name or id of a user: never nothing.
pub(super) fn identifier(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it names nobody".to_owned()),
        named => Ok(named.to_owned()),
    }
}

fn refusal(text: &str) -> Result<String, String> {
    let asked = text.to_ascii_uppercase();
    let is_it = |refusal: &&Refusal| {
        let code = refusal.code();
        code == asked || code.strip_prefix("CG-") == Some(&asked)
    };
    let found = Refusal::ALL.iter().find(is_it);
    found
        .map(|refusal| refusal.code().to_owned())
        .ok_or_else(|| "no refusal has this code; `chartgate refusals` lists them".to_owned())
}

fn request(text: &str) -> Result<String, String> {
    let id = text.trim().parse::<Uuid>();
    id.map(|id| id.to_string()).map_err(|error| {
        format!("it is no whole id, as 01a22e9d-5b1c-7f30-9b7e-3d1f4a5b6c7d: {error}")
    })
}

fn event(text: &str) -> Result<Event, String> {
    events::by_name(text).ok_or_else(|| {
        let names: Vec<&str> = events::all().map(events::name).collect();
        format!("no event of that name; there are {}", names.join(", "))
    })
}

fn outcome(text: &str) -> Result<Ending, String> {
    let read = serde_json::from_value(Value::String(text.replace('-', "_")));
    read.ok().ok_or_else(|| {
        "it is `open`, `complete`, `abandoned`, `upstream_failed`, `cut` or `unknown`".to_owned()
    })
}

fn action(text: &str) -> Result<Action, String> {
    let mut all = Action::ALL.iter();
    let found = all.find(|action| action.name().eq_ignore_ascii_case(text));
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
        format!("no action of that name; there are {}", names.join(", "))
    })
}

fn instant(text: &str, now: Timestamp, of_day: Time) -> Option<Timestamp> {
    if let Ok(span) = parse_duration(text) {
        return now.checked_sub(span).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let day = text.parse::<Date>().ok()?;
    let zoned = day.to_datetime(of_day).to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

/// What an answer says beside its rows.
#[derive(Debug, Default)]
pub(super) struct Asides {
    unindexed: usize,
    rows: u64,
    /// Which trail answered, up to which record.
    pub(super) asked: Option<Asked>,
    /// Further identifiers of the patient asked about.
    pub(super) aliases: Vec<String>,
    /// Segments that the answer says nothing of.
    shredded: Vec<Retired>,
}

impl Asides {
    /// The row that a piece is; what else it says is kept.
    pub(super) fn row(&mut self, piece: Piece) -> Option<Box<Joined>> {
        match piece {
            Piece::Row(joined) => {
                self.rows = self.rows.saturating_add(1);
                return Some(joined);
            }
            Piece::Asked(asked) => self.asked = Some(asked),
            Piece::ReadThrough(count) => self.unindexed = self.unindexed.max(count),
            Piece::Aliases(aliases) => self.aliases = aliases,
            Piece::Shredded(mut shredded) => self.shredded.append(&mut shredded),
            Piece::Text(_)
            | Piece::Manifest(_)
            | Piece::Expired(_)
            | Piece::Age(_)
            | Piece::Removed(_)
            | Piece::Proof(_)
            | Piece::Kept(_)
            | Piece::Hold(_)
            | Piece::Indexed(_) => {}
        }
        None
    }

    /// Says it, on standard error.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub(super) fn say(&self, console: &mut Console<'_>) -> Result<(), Failure> {
        if !self.aliases.is_empty() {
            console.note(format_args!(
                "the same patient is also known as {}: the answer is about all of these (`--exact` for one)",
                self.aliases.join(", ")
            ))?;
        }
        match self.unindexed {
            0 => {}
            // As after every question where no gateway runs: it ended the segment before it could be indexed.
            1 => console.note("one segment was not indexed yet and was read through; the answer is complete")?,
            many => console.note(format_args!(
                "{many} segments were not indexed, or their index was of no use, and were read through; the answer is \
                 complete, and they are indexed now"
            ))?,
        }
        if let (0, Some(asked)) = (self.rows, &self.asked) {
            console.note(format_args!(
                "nothing on the trail matches (records up to {} were asked)",
                asked.through
            ))?;
        }
        say_shredded(&self.shredded, console)
    }
}

/// Says of which segments an answer says nothing, on standard error.
///
/// # Errors
/// [`Failure::Output`].
pub(super) fn say_shredded(shredded: &[Retired], console: &mut Console<'_>) -> Result<(), Failure> {
    let mut numbers: Vec<u64> = shredded.iter().map(|note| note.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let Some(note) = shredded.iter().find(|note| note.number == number) else {
            continue;
        };
        console.note(format_args!(
            "segment {number} (records {} to {}): shredded on {}, its retention was over; nothing is said of it",
            note.first, note.last, note.time
        ))?;
    }
    Ok(())
}

/// Asks, and hands each piece of the answer to `each`.
///
/// # Errors
/// [`Failure`], where nobody answers, this user is no operator, or `each` fails.
pub(super) fn ask(
    config: &Path,
    question: Ask,
    clock: &SharedClock,
    mut each: impl FnMut(Piece) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let admin = gateway::admin(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let request = AdminRequest::Answers(question.clone());
        match AdminClient::ask(&admin.socket, request).await {
            Ok(client) => from_gateway(client, &mut each).await,
            Err(ClientError::NotRunning(_)) => {
                let config = offline::config(config)?;
                from_disk(&config, question, clock, &mut each).await
            }
            Err(error) => Err(Failure::of(error)),
        }
    })
}

async fn from_gateway(
    mut client: AdminClient,
    each: &mut impl FnMut(Piece) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while let Some(value) = client.next().await.map_err(Failure::of)? {
        each(read(value)?)?;
    }
    Ok(())
}

fn read(value: Value) -> Result<Piece, Failure> {
    serde_json::from_value(value)
        .map_err(|error| Failure::Failed(format!("what the gateway said cannot be read: {error}")))
}

/// Opens the trail where no gateway does; the same room answers.
async fn from_disk(
    config: &Config,
    question: Ask,
    clock: &SharedClock,
    each: &mut impl FnMut(Piece) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let operator = offline::operator(config)?;
    // Before the trail is opened: where the store is not to be had, nothing was begun that has to be ended.
    let mut known = Known::default();
    let mut store = None;
    if question.needs_store() || config.patient_links.is_some() {
        store = Some(offline::store(config, clock).await?);
    }
    if let (Some(settings), Some(store)) = (&config.patient_links, &store) {
        let links = links::at_rest(settings, store).await;
        known = links.map_err(Failure::of)?;
    }
    let master = Arc::new(MasterKey::read(&config.audit.master_key).map_err(Failure::of)?);
    let audit = offline::open(config, clock).await.map_err(Failure::of)?;
    let mut holdings = Holdings::new(&config.audit, Arc::new(RealFiles), master);
    if let Some(store) = store {
        holdings = holdings.with_store(store);
    }
    let answers = Answers::new(audit.clone(), holdings, clock.clone()).with_links(known);
    let answered = answer(&answers, operator, question, each).await;
    offline::close(&audit).await?;
    answered
}

async fn answer(
    answers: &Answers,
    operator: &str,
    question: Ask,
    each: &mut impl FnMut(Piece) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let begun = answers.begin(operator, question).await;
    let mut answering = begun.map_err(Failure::of)?;
    while let Some(pieces) = answering.step().map_err(Failure::of)? {
        for piece in pieces {
            each(piece)?;
        }
    }
    for piece in answers.finish(answering).await.map_err(Failure::of)? {
        each(piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::outcome::End;

    #[test]
    fn a_day_counts_from_its_beginning_to_its_end() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let period = |since: &str, until: &str| {
            let some = |text: &str| Some(text.to_owned());
            let period = Period {
                since: some(since),
                until: some(until),
            };
            let bounds = period.bounds(now).ok()?;
            Some((bounds.0?.to_string(), bounds.1?.to_string()))
        };
        let (since, until) = period("2026-11-20", "2026-11-21").unwrap();
        assert_eq!(since, "2026-11-20T00:00:00Z");
        assert_eq!(until, "2026-11-21T23:59:59.999999999Z");
        let (since, until) = period("24h", "1h").unwrap();
        assert_eq!(
            (since.as_str(), until.as_str()),
            ("2026-11-21T12:00:00Z", "2026-11-22T11:00:00Z")
        );
        assert_eq!(period("yesterday", "1h"), None);
        assert_eq!(period("1h", "2h"), None);
        assert_eq!(period("2026-11-22", "2026-11-21"), None);
        assert!(period("2026-11-21", "2026-11-21").is_some());
    }

    #[test]
    fn addresses_events_and_outcomes_are_read() {
        let read = |text: &str| network(text).map(|net| net.to_string());
        assert_eq!(read("10.20.4.17"), Ok("10.20.4.17/32".to_owned()));
        assert_eq!(read("::ffff:10.20.4.17"), Ok("10.20.4.17/32".to_owned()));
        assert_eq!(read("10.20.4.17/16"), Ok("10.20.0.0/16".to_owned()));
        assert_eq!(read("2001:db8::/48"), Ok("2001:db8::/48".to_owned()));
        assert!(read("10.20").unwrap_err().contains("10.20.0.0/16"));
        assert_eq!(event("break-glass"), Ok(Event::BreakGlass));
        assert!(event("tea").unwrap_err().contains("break-glass"));
        assert_eq!(outcome("open"), Ok(Ending::Open));
        assert_eq!(
            outcome("upstream-failed"),
            Ok(Ending::Ended(End::UpstreamFailed))
        );
        assert!(outcome("good").unwrap_err().contains("abandoned"));
    }

    #[test]
    fn what_can_name_nothing_is_refused() {
        assert_eq!(refusal("CG-3001").as_deref(), Ok("CG-3001"));
        assert_eq!(refusal("cg-3001").as_deref(), Ok("CG-3001"));
        assert_eq!(refusal("3001").as_deref(), Ok("CG-3001"));
        for wrong in ["CG-9999", "", "CG-", "300"] {
            assert!(refusal(wrong).is_err(), "{wrong}");
        }
        let id = "01A22E9D-5B1C-7F30-9B7E-3D1F4A5B6C7D";
        assert_eq!(request(id), Ok(id.to_lowercase()));
        assert!(request("01a22e9d").is_err());
        assert_eq!(identifier(" 4 ").as_deref(), Ok("4"));
        assert!(identifier(" ").is_err());
    }

    #[test]
    fn actions_are_known_by_name() {
        assert_eq!(action("read"), Ok(Action::Read));
        assert!(action("peek").unwrap_err().contains("Export"));
    }
}
