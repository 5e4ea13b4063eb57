//! The patient link feed: which identifiers are the same patient, from a CSV file and from ADT messages about merges.
//!
//! What it says is stated to `audit::links`, where questions to the trail find it; no policy looks at it.
//!
//! *Owns*: what messages told, kept in the store, because a message says a merge once; what the file said last.
//! *Never*: links that are not on record; a patient's number in a log or an error.
//! *On failure*: what was known before counts on; an alarm, and the status, say why.

mod csv;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use tokio::sync::Mutex;

use self::told::{News, Pair, Tie, Told};
use super::directory::Directory;
use super::hl7::messages;
use super::numbering::Numbering;
use crate::audit::links::{Known, Links};
use crate::audit::trail::{Audit, AuditError};
use crate::config::links::{LinkMessages, PatientLinks};
use crate::request::Event;
use crate::store::{NEVER, Store, StoreError, Table};
use crate::watched::Watched;

/// Most bytes of a CSV file.
const LARGEST: u64 = 256 * 1024 * 1024;
/// Merges of one look that go on record one by one; more are summed.
const ONE_BY_ONE: usize = 1_000;

/// Why the feed cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A change could not be recorded.
    #[error("what patient links say cannot be put on record: {0}")]
    Trail(#[from] AuditError),
    /// What messages told could not be kept, or read back.
    #[error("what patient links say cannot be kept: {0}")]
    Store(#[from] StoreError),
    /// What was kept does not read back.
    #[error("what patient links said before cannot be read: {0}")]
    Kept(#[from] serde_json::Error),
    /// The reading of a feed was cut short.
    #[error("the reading of patient links was cut short")]
    Cut(#[from] tokio::task::JoinError),
}

/// What the feed stands on.
#[derive(Debug)]
pub struct Ground {
    /// Settings.
    pub settings: PatientLinks,
    /// Where questions find what is known.
    pub known: Known,
    /// The trail.
    pub audit: Audit,
    /// What messages told is kept here.
    pub store: Store,
}

/// How the feed is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// Patients with more than one identifier.
    pub patients: usize,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// The room.
#[derive(Debug, Clone)]
pub struct LinkFeed {
    ground: Arc<Ground>,
    said: Arc<Mutex<Said>>,
}

/// What was said so far, and what is wrong.
#[derive(Debug, Default)]
struct Said {
    file: BTreeSet<Pair>,
    watched: Watched,
    /// Nothing while messages are read.
    told: Option<Told>,
    directory: Directory,
    /// What is not on record or not kept yet.
    pending: News,
    /// Whether more was said than is in force.
    is_ahead: bool,
    condition: Condition,
}

/// What was read of the messages: everything told, where it was read from, what is new, what is wrong.
type Looked = (Told, Directory, News, Option<String>);

fn key(shelf: u8) -> String {
    format!("links-{shelf:02x}")
}

/// What messages told, as it was kept.
async fn kept(store: &Store) -> Result<Told, LinkError> {
    let mut all: Vec<(Pair, Tie)> = Vec::new();
    for shelf in 0..=u8::MAX {
        if let Some(entry) = store.get(Table::Upkeep, &key(shelf)).await? {
            let ties: Vec<(Pair, Tie)> = serde_json::from_slice(entry.value.expose())?;
            all.extend(ties);
        }
    }
    Ok(Told::of(all))
}

/// What is known where no gateway runs: the file as it is, and what was kept. Nothing is recorded or kept. What could
/// not be read, and messages that the gateway has not taken over, are a gap in it.
///
/// # Errors
/// [`LinkError`]. A file that is missing or wrong counts as one that says nothing, and is logged.
pub async fn at_rest(settings: &PatientLinks, store: &Store) -> Result<Known, LinkError> {
    let mut told = kept(store).await?;
    let mut file = BTreeSet::new();
    let mut gaps = Vec::new();
    if let Some(path) = &settings.file {
        let system = settings.system.clone();
        let parse = move |text: &str| csv::read(text, &system);
        let news = Watched::default().news(path, LARGEST, parse).await?;
        match news.map(|news| news.read) {
            Some(Ok(pairs)) => file = pairs,
            Some(Err(problem)) => {
                tracing::warn!(problem, "the file of patient links is not taken over");
                gaps.push(format!(
                    "the file of patient links is not taken over: {problem}"
                ));
            }
            None => {}
        }
    }
    let known = Known::default();
    known.state(links(&file, &told));
    if let Some(adt) = &settings.adt {
        let (adt, numbering) = (adt.clone(), numbering(adt, settings));
        let waiting = tokio::task::spawn_blocking(move || {
            let mut news = News::default();
            let read = read(
                &adt,
                &numbering,
                &mut Directory::default(),
                (&mut told, &mut news),
            );
            match read {
                Ok(()) => (!news.shelves.is_empty()).then(|| {
                    "the gateway has not taken over all ADT messages yet; start it".to_owned()
                }),
                Err(problem) => Some(format!(
                    "an ADT message about identities cannot be read: {problem}"
                )),
            }
        });
        gaps.extend(waiting.await?);
    }
    known.state_gap(gaps.into_iter().next());
    Ok(known)
}

fn numbering(adt: &LinkMessages, settings: &PatientLinks) -> Numbering {
    Numbering {
        authorities: adt.authorities.clone(),
        system: settings.system.clone(),
    }
}

/// Reads the messages that are new.
fn read(
    adt: &LinkMessages,
    numbering: &Numbering,
    directory: &mut Directory,
    (told, news): (&mut Told, &mut News),
) -> Result<(), String> {
    let looked = directory.look(&adt.directory, |text| {
        messages(text).try_for_each(|message| told.take(&message, numbering, &adt.time_zone, news))
    });
    looked.map(|_newest| ())
}

fn links(file: &BTreeSet<Pair>, told: &Told) -> Links {
    Links::of(
        file.iter()
            .map(|(one, other)| (one, other))
            .chain(told.linked()),
    )
}

impl LinkFeed {
    /// Reads what was kept and what is there; it is in force when this returns.
    ///
    /// # Errors
    /// [`LinkError`]. A file that is missing or wrong is no error, but an alarm.
    pub async fn open(ground: Ground) -> Result<Self, LinkError> {
        let room = Self {
            ground: Arc::new(ground),
            said: Arc::default(),
        };
        room.look().await?;
        Ok(room)
    }

    /// Looks again and again.
    pub async fn run(self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(self.ground.settings.refresh) => {}
            }
            if let Err(error) = self.look().await {
                tracing::error!(%error, "patient links are not kept up");
            }
        }
    }

    /// How it is.
    pub async fn condition(&self) -> Condition {
        self.said.lock().await.condition.clone()
    }

    async fn look(&self) -> Result<(), LinkError> {
        let looked = self.taken_over().await;
        if let Err(error) = &looked {
            self.ground.known.state_gap(Some(error.to_string()));
        }
        looked
    }

    async fn taken_over(&self) -> Result<(), LinkError> {
        let mut said = self.said.lock().await;
        if said.told.is_none() {
            said.told = Some(kept(&self.ground.store).await?);
            said.is_ahead = true;
        }
        let mut problems = Vec::new();
        if let Some(path) = &self.ground.settings.file {
            problems.extend(self.read_file(path, &mut said).await?);
        }
        if let Some(adt) = &self.ground.settings.adt {
            problems.extend(self.read_messages(adt, &mut said).await?);
        }
        if said.is_ahead {
            let none = Told::default();
            let told = said.told.as_ref().unwrap_or(&none);
            self.ground.known.state(links(&said.file, told));
            said.is_ahead = false;
        }
        self.ground.known.state_gap(problems.first().cloned());
        let links = self.ground.known.now();
        if links.refused() > 0 {
            problems.push(format!(
                "{} patients would have more than 64 identifiers: those links are not believed",
                links.refused()
            ));
        }
        let condition = Condition {
            patients: links.patients(),
            problems,
        };
        for problem in &condition.problems {
            if !said.condition.problems.contains(problem) {
                self.alarm(problem).await?;
            }
        }
        said.condition = condition;
        Ok(())
    }

    async fn read_file(
        &self,
        path: &std::path::Path,
        said: &mut Said,
    ) -> Result<Option<String>, LinkError> {
        let system = self.ground.settings.system.clone();
        let parse = move |text: &str| csv::read(text, &system);
        let Some(mut news) = said.watched.news(path, LARGEST, parse).await? else {
            return Ok(said.watched.problem().cloned());
        };
        let read = std::mem::replace(&mut news.read, Ok(BTreeSet::new()));
        let told =
            |problem: &String| format!("the file of patient links is not taken over: {problem}");
        let problem = read.as_ref().err().map(told);
        if let Ok(pairs) = read
            && pairs != said.file
        {
            let (more, less) = (pairs.difference(&said.file), said.file.difference(&pairs));
            let counts = [("added", more.count()), ("removed", less.count())];
            let detail = counts.map(|(name, count)| (name.to_owned(), count.to_string()));
            self.record(Event::IdentifiersLinked, "file", detail.into())
                .await?;
            said.file = pairs;
            said.is_ahead = true;
        }
        said.watched.settle(&news, problem.clone());
        Ok(problem)
    }

    async fn read_messages(
        &self,
        adt: &LinkMessages,
        said: &mut Said,
    ) -> Result<Option<String>, LinkError> {
        let numbering = numbering(adt, &self.ground.settings);
        let adt = adt.clone();
        let mut told = said.told.take().unwrap_or_default();
        let mut news = std::mem::take(&mut said.pending);
        let mut directory = std::mem::take(&mut said.directory);
        let look = move || -> Looked {
            let looked = read(&adt, &numbering, &mut directory, (&mut told, &mut news));
            (told, directory, news, looked.err())
        };
        let (told, directory, news, problem) = tokio::task::spawn_blocking(look).await?;
        said.directory = directory;
        let taken = self.take_over(&news, &told).await;
        said.told = Some(told);
        said.is_ahead |= news.changed;
        if taken.is_err() {
            said.pending = news;
        }
        taken?;
        Ok(problem
            .map(|problem| format!("an ADT message about identities is not taken over: {problem}")))
    }

    /// Puts what is new on record, and keeps it.
    async fn take_over(&self, news: &News, told: &Told) -> Result<(), LinkError> {
        let named = |(one, other): &Pair| {
            [("patient", one), ("same_as", other)]
                .map(|(key, value)| (key.to_owned(), value.to_string()))
        };
        for (pair, trigger) in news.merged.iter().take(ONE_BY_ONE) {
            let mut detail = BTreeMap::from(named(pair));
            detail.insert("trigger".to_owned(), trigger.clone());
            self.record(Event::IdentifiersLinked, "adt", detail).await?;
        }
        for pair in news.parted.iter().take(ONE_BY_ONE) {
            let detail = named(pair).into();
            self.record(Event::IdentifiersUnlinked, "adt", detail)
                .await?;
        }
        let more = news.merged.len().saturating_sub(ONE_BY_ONE);
        let fewer = news.parted.len().saturating_sub(ONE_BY_ONE);
        if news.aliases > 0 || more > 0 || fewer > 0 {
            let detail = [
                ("aliases", news.aliases.to_string()),
                ("added", more.to_string()),
                ("removed", fewer.to_string()),
            ];
            let detail = detail.map(|(key, value)| (key.to_owned(), value));
            self.record(Event::IdentifiersLinked, "adt", detail.into())
                .await?;
        }
        for (shelf, ties) in told.on(&news.shelves) {
            self.ground
                .store
                .keep(Table::Upkeep, &key(shelf), &ties, NEVER)
                .await?;
        }
        Ok(())
    }

    async fn record(
        &self,
        event: Event,
        by: &str,
        mut detail: BTreeMap<String, String>,
    ) -> Result<(), LinkError> {
        detail.insert("feed".to_owned(), by.to_owned());
        Ok(self.ground.audit.event(event, None, detail).await?)
    }

    async fn alarm(&self, problem: &str) -> Result<(), LinkError> {
        tracing::warn!(problem, "the patient link feed is not in order");
        let alarm = [
            ("rule", "patient-links"),
            ("level", "medium"),
            ("title", problem),
        ];
        let alarm = alarm.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(self
            .ground
            .audit
            .event(Event::Alarm, None, alarm.into())
            .await?)
    }
}
