//! Break-glass: who needs a closed chart now opens it for reading, in their own name, and is asked about it afterwards.
//!
//! *Owns*: the broken glasses and their reviews, and the mass-casualty events that are declared; the durable part is in
//! the store, what is in force in the policies' standing.
//! *Never*: a grant that is in force before it is stored and on record; a patient that the client named; a review by
//! whoever broke the glass.
//! *On failure*: without store or trail nobody can break the glass, and what was open stays open until its time.

mod ask;
mod book;
mod declaration;
mod desk;
mod form;
mod glass;
mod upkeep;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::audit::log::MasterKey;
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::config;
use crate::desk::offers::Offers;
use crate::identity::Identity;
use crate::policy::decide::Policies;
use crate::refusal::Refusal;
use crate::request::{Event, Facts, Offer, Principal};
use crate::store::{Durability, Store, StoreError, Table};
use crate::telemetry::metrics as names;

pub use ask::{Access, Ask, AskError, Which};
use book::Book;

pub use declaration::{Declaration, Declared};
pub use glass::{
    Choice, Ended, Glass, Outcome, Reason, Recording, Reminder, Review, UNCONFIRMED, beyond,
};
pub use upkeep::Condition;

/// The time in which a user's grants are counted.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long a reviewed grant stays at hand; the trail keeps it longer.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);
/// How long one that nobody reviewed stays at hand.
const KEPT_UNREVIEWED: SignedDuration = SignedDuration::from_hours(24 * 366 * 6);

/// What the room stands on.
#[derive(Debug)]
pub struct Ground {
    /// How long, how often, how fresh.
    pub settings: config::BreakGlass,
    /// Where grants are kept.
    pub store: Store,
    /// The trail, to write in.
    pub audit: Audit,
    /// Where the trail lies, to read from.
    pub trail: PathBuf,
    /// The key that opens it.
    pub master: Arc<MasterKey>,
    /// Policies and standing.
    pub policies: Arc<Policies>,
    /// What seals offers.
    pub offers: Arc<Offers>,
    /// Who knows whether a sign-in can be confirmed.
    pub providers: Arc<dyn Confirms>,
    /// Time.
    pub clock: SharedClock,
}

/// Whether sign-ins can be confirmed now.
pub trait Confirms: std::fmt::Debug + Send + Sync {
    /// Whether the provider of this issuer answers; it is asked.
    fn answers<'a>(&'a self, issuer: &'a str) -> BoxFuture<'a, bool>;
}

impl Confirms for Identity {
    fn answers<'a>(&'a self, issuer: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(self.provider_answers(issuer))
    }
}

/// The room.
#[derive(Debug, Clone)]
pub struct BreakGlass {
    ground: Arc<Ground>,
    book: Arc<Mutex<Book>>,
}

/// Why the glass was not broken.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The user has broken it too often.
    #[error("the user has broken the glass {0} times within a day")]
    Quota(usize),
    /// The whole ward was chosen, and that is not offered, or not any more.
    #[error("no event is declared for a ward on which the patient lies")]
    NoWard,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// It could not be written down.
    #[error("a grant could not be encoded: {0}")]
    Encoding(#[from] serde_json::Error),
    /// The gateway is stopping, or a defect.
    #[error("the work was cut short: {0}")]
    Cut(#[from] tokio::task::JoinError),
}

impl Stopped {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Quota(_) => Refusal::BreakGlassQuota,
            Self::NoWard => Refusal::BreakGlassVoid,
            Self::Store(_) => Refusal::StoreUnavailable,
            Self::Audit(_) => Refusal::AuditUnavailable,
            Self::Encoding(_) | Self::Cut(_) => Refusal::Internal,
        }
    }
}

/// What someone stated on the form.
#[derive(Debug, Clone)]
pub struct Stated {
    /// The offer that the form was shown for.
    pub offer: Offer,
    /// What they chose to open.
    pub choice: Choice,
    /// Who they are.
    pub principal: Principal,
    /// The request, as it goes on record.
    pub facts: Facts,
    /// Why.
    pub reason: Reason,
    /// In their words.
    pub text: String,
}

impl BreakGlass {
    /// Opens the room; the grants that the store holds are in force when this returns.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn open(ground: Ground) -> Result<Self, StoreError> {
        let book = Book::read(&ground.store).await?;
        let room = Self {
            ground: Arc::new(ground),
            book: Arc::new(Mutex::new(book)),
        };
        {
            let book = room.book.lock().await;
            room.restate(&book);
        }
        Ok(room)
    }

    fn now(&self) -> Timestamp {
        self.ground.clock.now()
    }

    /// Puts what is open in force, and nothing else.
    fn restate(&self, book: &Book) {
        let now = self.now();
        let mut grants: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for glass in book.open(now) {
            grants
                .entry(glass.user.clone())
                .or_default()
                .push(glass.grant());
        }
        let grants: BTreeMap<String, Arc<[_]>> = grants
            .into_iter()
            .map(|(user, grants)| (user, grants.into()))
            .collect();
        self.ground
            .policies
            .restate(|standing| standing.grants.clone_from(&grants));
    }

    /// Stores a glass durably.
    async fn keep(&self, glass: &Glass) -> Result<(), Stopped> {
        let value = serde_json::to_vec(glass)?;
        let gone = match &glass.review {
            Some(review) => review.at.saturating_add(KEPT),
            None => glass.opened.saturating_add(KEPT_UNREVIEWED),
        };
        self.ground
            .store
            .put(
                Table::Grants,
                &glass.id,
                &value,
                gone.unwrap_or(Timestamp::MAX),
                Durability::Immediate,
            )
            .await?;
        Ok(())
    }

    /// Breaks the glass, or finds it broken. Once begun it is done to the end, even if the client hangs up.
    ///
    /// # Errors
    /// [`Stopped`]; nothing is in force then.
    pub async fn break_it(&self, stated: Stated) -> Result<Glass, Stopped> {
        let room = self.clone();
        tokio::spawn(async move { room.breaking(stated).await }).await?
    }

    async fn breaking(&self, stated: Stated) -> Result<Glass, Stopped> {
        let now = self.now();
        let mut book = self.book.lock().await;
        let ward = match stated.choice {
            Choice::Patient => None,
            Choice::Ward => {
                let stands = self.stands(&book, &stated.offer, now);
                Some(stands.cloned().ok_or(Stopped::NoWard)?)
            }
        };
        let declaration = ward.as_ref().map(|ward| ward.id.as_str());
        let open = book
            .open(now)
            .find(|glass| glass.is_for(&stated.offer, declaration));
        if let Some(open) = open {
            return Ok(open.clone());
        }
        let since = now.saturating_sub(DAY).unwrap_or(Timestamp::MIN);
        let recent = |glass: &&Glass| glass.user == stated.offer.user && glass.opened > since;
        let count = book.glasses.values().filter(recent).count();
        let mut glass = self.made(&stated, ward.as_ref(), now);
        if count >= self.ground.settings.per_day {
            // Care goes on while an event is declared, for whomever; it is said all the same.
            if book.declared(now).next().is_none() {
                self.alarm_quota(&glass, count, "Somebody wants to break the glass again")
                    .await;
                return Err(Stopped::Quota(count));
            }
            glass.beyond = Some(count);
        }
        self.keep(&glass).await?;
        let facts = facts_of(stated.facts, &stated.offer);
        let recorded = self
            .ground
            .audit
            .event(Event::BreakGlass, Some(facts), glass.detail())
            .await;
        if let Err(error) = recorded {
            self.ground.store.delete(Table::Grants, &glass.id).await?;
            return Err(error.into());
        }
        glass.recording = Recording::Done;
        self.keep(&glass).await?;
        book.glasses.insert(glass.id.clone(), glass.clone());
        // INVARIANT: stored and on record; only now it opens anything.
        self.restate(&book);
        metrics::counter!(names::BREAK_GLASS).increment(1);
        self.measure(&book);
        drop(book);
        self.alarm_broken(&glass).await;
        if let Some(count) = glass.beyond {
            let what = "While a mass-casualty event is declared, somebody broke the glass again";
            self.alarm_quota(&glass, count, what).await;
        }
        Ok(glass)
    }

    fn made(&self, stated: &Stated, ward: Option<&Declaration>, now: Timestamp) -> Glass {
        let Stated {
            offer, principal, ..
        } = stated;
        let settings = &self.ground.settings;
        let after = |time: std::time::Duration| now.saturating_add(time).unwrap_or(Timestamp::MAX);
        let signed_in = principal.proof().auth_time;
        let random = Uuid::now_v7().simple().to_string();
        let tail: String = random.chars().skip(26).collect();
        Glass {
            id: format!("bg-{}-{tail}", now.strftime("%Y%m%d")),
            user: offer.user.clone(),
            name: principal.display().to_owned(),
            request: stated.facts.request.clone(),
            emr: offer.emr.clone(),
            patient: offer.patient.clone(),
            section: offer.section.clone(),
            policies: offer.policies.clone(),
            reason: stated.reason,
            text: stated.text.clone(),
            sign_in_age: signed_in.map(|at| now.duration_since(at).as_secs().max(0)),
            unconfirmed: offer.unconfirmed,
            opened: now,
            expires: ward
                .map_or(Timestamp::MAX, |ward| ward.expires)
                .min(after(settings.duration)),
            due: after(settings.review_within),
            recording: Recording::Pending,
            ended: None,
            review: None,
            reminder: Reminder::Open,
            ward: ward.map(Declaration::offered),
            beyond: None,
        }
    }

    async fn alarm_broken(&self, glass: &Glass) {
        let reason = glass.reason.label();
        let title = match &glass.ward {
            None => format!("The glass was broken ({reason})"),
            Some(ward) => format!("The glass was broken for ward {} ({reason})", ward.name),
        };
        self.alarm("break-glass", title, glass).await;
    }

    async fn alarm_quota(&self, glass: &Glass, count: usize, what: &str) {
        let detail = [
            ("rule", "break-glass-quota".to_owned()),
            ("title", format!("{what} after {count} times within a day")),
            ("level", "high".to_owned()),
            ("user", glass.name.clone()),
            ("user_id", glass.user.clone()),
            ("patient", glass.patient.id.clone()),
            ("records", glass.request.clone()),
        ];
        self.record_alarm(&detail).await;
    }

    /// SECURITY: who and whose chart are particulars of their own. A title leaves for every receiver, whatever it may
    /// know about people.
    async fn alarm(&self, rule: &str, title: String, glass: &Glass) {
        let mut detail = vec![
            ("rule", rule.to_owned()),
            ("title", title),
            ("level", "high".to_owned()),
            ("user", glass.name.clone()),
            ("user_id", glass.user.clone()),
            ("patient", glass.patient.id.clone()),
            ("records", glass.request.clone()),
            ("grant", glass.id.clone()),
        ];
        let ward = glass.ward.as_ref();
        detail.extend(ward.map(|ward| ("ward", ward.name.clone())));
        self.record_alarm(&detail).await;
    }

    /// What is alarmed about is on record already; care does not wait for the alarm.
    async fn record_alarm(&self, detail: &[(&str, String)]) {
        let detail = detail
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        if let Err(error) = self.ground.audit.event(Event::Alarm, None, detail).await {
            tracing::error!(%error, "an alarm could not be recorded");
        }
    }
}

/// The request that broke the glass, with the chart that it opened, so that the record is found by patient.
fn facts_of(mut facts: Facts, offer: &Offer) -> Facts {
    facts.emr = Some(offer.emr.clone());
    facts.mapping = Some(Arc::new(crate::request::facts::Mapping {
        route: offer.route.clone(),
        action: offer.action,
        section: offer.section.clone(),
        sensitivity: offer.sensitivity.clone(),
        information_types: crate::request::situation::Words::new(),
        patients: vec![offer.patient.clone()],
        fields: BTreeMap::new(),
        poll: false,
        emr_user: None,
        inspected: crate::request::facts::Inspected::default(),
        demand: crate::request::Demand::NONE,
        disclosure: None,
    }));
    facts
}
