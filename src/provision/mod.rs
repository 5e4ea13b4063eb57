//! Who works here, as a directory (SCIM 2.0) and the personnel system (CSV) say it: whoever does not any more is kept
//! out, and what they or their changed roles had open ends.
//!
//! *Owns*: `Table::Provisioned`; the list of deactivated users that sign-in and every request ask.
//! *Never*: someone active because one of the two sources is silent; a change that is not on record first.
//! *On failure*: what could not be ended is ended later, and the deactivated are refused meanwhile.

mod ask;
mod feed;
mod hatch;
mod import;
mod patch;
mod person;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::config::provision::{KnownBy, Provisioning};
use crate::identity::{Deactivated, Identity};
use crate::operate::break_glass::BreakGlass;
use crate::operate::containment::{Containment, ContainmentError};
use crate::operate::{By, key_of};
use crate::refusal::Refusal;
use crate::request::Event;
use crate::store::{NEVER, Store, StoreError, Table};
use crate::telemetry::metrics as names;
use crate::watched::Watched;

pub use ask::{Ask, Condition, Piece};
use feed::Stated;
use person::Person;

/// Most users that are known of a directory.
const MOST: usize = 100_000;
/// How often the file is looked at, and whoever's last day is over is noticed.
const LOOK: Duration = Duration::from_secs(1);
const PERSON: &str = "person-";
const STATED: &str = "stated-";

/// What the room stands on.
#[derive(Debug)]
pub struct Ground {
    /// Settings.
    pub settings: Provisioning,
    /// Where users are kept.
    pub store: Store,
    /// The trail.
    pub audit: Audit,
    /// Sign-in, which asks who is deactivated.
    pub identity: Arc<Identity>,
    /// Who ends sessions.
    pub containment: Arc<Containment>,
    /// Who ends grants.
    pub break_glass: BreakGlass,
    /// Time.
    pub clock: SharedClock,
}

/// The room.
#[derive(Debug, Clone)]
pub struct Provisions {
    ground: Arc<Ground>,
    book: Arc<Mutex<Book>>,
}

/// All that is known.
#[derive(Debug, Default)]
struct Book {
    /// Users of the directory, by id.
    people: BTreeMap<String, Person>,
    /// What the personnel system says, by user in lower case.
    stated: BTreeMap<String, Stated>,
    /// The list in force.
    inactive: Deactivated,
    /// Whose sessions and grants have still to be ended.
    to_end: BTreeSet<Whom>,
    /// The personnel system's file.
    feed: Watched,
}

/// Someone, as they are known when they sign in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    /// By name, in lower case.
    Name(String),
    /// By `sub`.
    Subject(String),
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The trail.
    #[error("the trail: {0}")]
    Audit(#[from] AuditError),
    /// Sessions or grants are left over; they are ended later.
    #[error("not everything was ended yet: {0}")]
    LeftOver(#[from] ContainmentError),
    /// Grants are left over; they are ended later.
    #[error("not every grant was ended yet: {0}")]
    Grants(#[from] crate::operate::break_glass::Stopped),
    /// The gateway is stopping, or a defect.
    #[error("the work was cut short: {0}")]
    Cut(#[from] tokio::task::JoinError),
    /// Nobody of this name or id is known.
    #[error("neither the directory nor the file names `{0}`")]
    Unknown(String),
    /// A value could not be written down.
    #[error("it could not be encoded: {0}")]
    Encoding(#[from] serde_json::Error),
}

impl ProvisionError {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Store(_) | Self::LeftOver(_) | Self::Grants(_) => Refusal::StoreUnavailable,
            Self::Audit(_) => Refusal::AuditUnavailable,
            Self::Cut(_) | Self::Unknown(_) | Self::Encoding(_) => Refusal::Internal,
        }
    }
}

impl Provisions {
    /// Opens the room; who is deactivated is in force when this returns.
    ///
    /// # Errors
    /// [`ProvisionError::Store`]. A gateway that does not know whom to keep out does not start.
    pub async fn open(ground: Ground) -> Result<Self, ProvisionError> {
        let mut book = Book::default();
        for (key, entry) in ground.store.read_all(Table::Provisioned).await? {
            if !book.load(&key, entry.value.expose()) {
                tracing::error!(key, "a provisioned user cannot be read and was passed over");
            }
        }
        let room = Self {
            ground: Arc::new(ground),
            book: Arc::new(Mutex::new(book)),
        };
        room.enforce(&mut *room.book.lock().await);
        Ok(room)
    }

    /// Follows the file, notices whose last day is over, and ends what could not be ended before.
    pub async fn run(self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            if let Err(error) = self.look().await {
                tracing::error!(%error, "provisioning is not kept up");
            }
        }
    }

    async fn look(&self) -> Result<(), ProvisionError> {
        let mut book = self.book.lock().await;
        self.follow_feed(&mut book).await?;
        self.end_days(&mut book).await?;
        self.end_what_is_left(&mut book).await
    }

    /// Whoever's last day is over since the last look.
    async fn end_days(&self, book: &mut Book) -> Result<(), ProvisionError> {
        let now = self.ground.clock.now();
        let over: Vec<Stated> = book
            .stated
            .values()
            .filter(|stated| stated.status == feed::Status::Active && !stated.is_active(now))
            .filter(|stated| !self.whom_of(stated).is_in(&book.inactive))
            .cloned()
            .collect();
        if over.is_empty() {
            return Ok(());
        }
        for stated in over {
            let detail = detail("file", &stated.user, [("why", "last day over")]);
            self.record(Event::UserDeprovisioned, detail).await?;
            book.to_end.insert(self.whom_of(&stated));
        }
        self.enforce(book);
        Ok(())
    }

    /// Puts who is deactivated in force, where that is not what is in force already.
    fn enforce(&self, book: &mut Book) {
        let now = self.ground.clock.now();
        let mut list = Deactivated::of(&self.ground.settings.issuer);
        let known_by = self.known_by();
        let people = book.people.values().filter(|person| !person.active);
        let stated = book.stated.values().filter(|stated| !stated.is_active(now));
        let whom = people
            .map(|person| whom_is(known_by, person))
            .chain(stated.map(|stated| self.whom_of(stated)));
        for whom in whom {
            match whom {
                Whom::Name(name) => list.add_name(&name),
                Whom::Subject(subject) => list.add_subject(&subject),
            }
        }
        if list != book.inactive {
            self.ground.identity.deactivate(list.clone());
            book.inactive = list;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus numbers are floating point"
        )]
        metrics::gauge!(names::DEACTIVATED_USERS).set(book.inactive.len() as f64);
    }

    /// Ends sessions and grants of whoever lost something. What fails stays on the list.
    async fn end_what_is_left(&self, book: &mut Book) -> Result<(), ProvisionError> {
        while let Some(whom) = book.to_end.first().cloned() {
            let issuer = &self.ground.settings.issuer;
            let subject = match &whom {
                Whom::Subject(subject) => Some(format!("{issuer}|{subject}")),
                Whom::Name(_) => None,
            };
            let prefix = format!("{issuer}|");
            let meant = |user: &str, name: &str| match (&whom, &subject) {
                (Whom::Name(wanted), _) => {
                    user.starts_with(&prefix) && name.to_lowercase() == *wanted
                }
                (Whom::Subject(_), Some(wanted)) => user == wanted,
                (Whom::Subject(_), None) => false,
            };
            let reason = "deactivated, or roles changed";
            self.ground
                .containment
                .end_where(
                    |session| meant(&session.user, &session.name),
                    reason,
                    &By::Directory,
                )
                .await?;
            self.ground
                .break_glass
                .end_where(meant, "directory")
                .await?;
            book.to_end.remove(&whom);
        }
        Ok(())
    }

    fn known_by(&self) -> KnownBy {
        let scim = self.ground.settings.scim.as_ref();
        scim.map_or(KnownBy::UserName, |scim| scim.known_by)
    }

    fn whom_of(&self, stated: &Stated) -> Whom {
        let own = format!("{}|", self.ground.settings.issuer);
        match stated.user.strip_prefix(&own) {
            Some(subject) => Whom::Subject(subject.to_owned()),
            None => Whom::Name(stated.user.to_lowercase()),
        }
    }

    async fn record(
        &self,
        event: Event,
        detail: BTreeMap<String, String>,
    ) -> Result<(), ProvisionError> {
        Ok(self.ground.audit.event(event, None, detail).await?)
    }

    async fn keep_person(&self, person: &Person) -> Result<(), ProvisionError> {
        let key = format!("{PERSON}{}", key_of(&person.id));
        let store = &self.ground.store;
        Ok(store.keep(Table::Provisioned, &key, person, NEVER).await?)
    }

    async fn keep_stated(&self, stated: &Stated) -> Result<(), ProvisionError> {
        let key = format!("{STATED}{}", key_of(&stated.user.to_lowercase()));
        let store = &self.ground.store;
        Ok(store.keep(Table::Provisioned, &key, stated, NEVER).await?)
    }

    async fn forget_person(&self, id: &str) -> Result<(), ProvisionError> {
        let key = format!("{PERSON}{}", key_of(id));
        Ok(self.ground.store.delete(Table::Provisioned, &key).await?)
    }
}

impl Book {
    fn load(&mut self, key: &str, value: &[u8]) -> bool {
        if key.starts_with(PERSON) {
            let read = serde_json::from_slice::<Person>(value);
            read.map(|person| self.people.insert(person.id.clone(), person))
                .is_ok()
        } else if key.starts_with(STATED) {
            let read = serde_json::from_slice::<Stated>(value);
            read.map(|stated| self.stated.insert(stated.user.to_lowercase(), stated))
                .is_ok()
        } else {
            false
        }
    }
}

/// How a user of the directory is known when they sign in.
fn whom_is(known_by: KnownBy, person: &Person) -> Whom {
    match (known_by, &person.external_id) {
        (KnownBy::ExternalId, Some(subject)) => Whom::Subject(subject.clone()),
        // Whoever has no `externalId` can only be meant by name.
        (KnownBy::ExternalId, None) | (KnownBy::UserName, _) => {
            Whom::Name(person.user_name.to_lowercase())
        }
    }
}

impl Whom {
    fn is_in(&self, list: &Deactivated) -> bool {
        match self {
            Self::Name(name) => list.has_name(name),
            Self::Subject(subject) => list.has_subject(subject),
        }
    }
}

fn detail<const N: usize>(
    source: &str,
    user: &str,
    more: [(&str, &str); N],
) -> BTreeMap<String, String> {
    let always = [("source", source), ("user", user)];
    let all = always.into_iter().chain(more);
    all.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
