//! What operators ask of the room: who broke the glass, what they opened, what the review says, and for which wards a
//! mass-casualty event is declared.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::upkeep::Cause;
use super::{BreakGlass, Glass, Outcome, Review, Stopped};
use crate::audit::entry::{Entry, Phase};
use crate::audit::log::RealFiles;
use crate::audit::show::{Filter, Show, ShowError};
use crate::audit::trail::AuditError;
use crate::request::Event;

/// The most accesses that one grant is shown with.
const MOST: usize = 10_000;
/// The longest note of a review.
const LONGEST_NOTE: usize = 2_000;

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// One value for each broken glass, the newest first.
    List {
        /// Which.
        which: Which,
    },
    /// The broken glass, then one value for each access under it.
    Show {
        /// Its id.
        id: String,
    },
    /// States what the review found; one value that says so.
    Review {
        /// Its id.
        id: String,
        /// What was found.
        outcome: Outcome,
        /// In the reviewer's words.
        note: String,
    },
    /// Ends an open grant at once; one value that says so.
    End {
        /// Its id.
        id: String,
    },
    /// Declares a mass-casualty event for a ward, or prolongs it; values that say so.
    Declare {
        /// The ward, as care feeds name it.
        ward: String,
        /// What happened.
        reason: String,
        /// For how long.
        seconds: Option<u64>,
    },
    /// Lifts it; one value that says so.
    Lift {
        /// The ward.
        ward: String,
    },
    /// One [`Declared`](super::Declared) for each event that is declared.
    Declared,
}

/// Which broken glasses are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All that are at hand.
    All,
    /// Those in force.
    Open,
    /// Those that nobody has reviewed.
    Unreviewed,
}

/// Something that was opened under a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Its position on the trail.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// What was done, with which part of the chart.
    pub action: String,
    /// Where.
    pub place: String,
    /// Whether it was let through: the refusal's code, if not.
    pub refusal: Option<String>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// The request.
    pub request: String,
    /// Whose charts.
    #[serde(default)]
    pub patients: Vec<String>,
}

/// Why an operator gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No such grant.
    #[error("there is no grant `{0}`; `chartgate breakglass list` shows those there are")]
    Unknown(String),
    /// Nobody reviews their own access.
    #[error("`{0}` is the one who broke this glass; somebody else must review it")]
    OwnAccess(String),
    /// More may still be opened under it.
    #[error(
        "grant `{0}` is open until {1}; wait, or end it first with `chartgate breakglass end {0}`"
    )]
    StillOpen(String, Timestamp),
    /// It was reviewed.
    #[error("`{by}` reviewed grant `{id}` already: {outcome}")]
    Reviewed {
        /// The grant.
        id: String,
        /// Who.
        by: String,
        /// What they found.
        outcome: &'static str,
    },
    /// It is not in force any more.
    #[error("grant `{0}` is not open")]
    NotOpen(String),
    /// A review without a word, or with too many.
    #[error("the note must say something, in at most {LONGEST_NOTE} characters")]
    Note,
    /// No name of a ward.
    #[error("a ward is named as the care feeds name it, in at most 128 bytes")]
    Ward,
    /// A declaration without a word, or with too many.
    #[error(
        "say what happened in 10 to 1000 characters: everyone who breaks the glass for the ward reads it"
    )]
    Event,
    /// Too short, or too long.
    #[error(
        "an event is declared for 5 minutes at least and 24 hours at most; it can be prolonged"
    )]
    Span,
    /// Too many at once.
    #[error("events are declared for 16 wards already; lift one first")]
    TooMany,
    /// It is declared, and for longer.
    #[error("ward `{0}` is declared until {1} already; to end it sooner, lift it")]
    DeclaredLonger(String, Timestamp),
    /// It is not declared.
    #[error(
        "no event is declared for ward `{0}`; `chartgate breakglass declared` shows those there are"
    )]
    NotDeclared(String),
    /// Store or trail.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The trail, to write in.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The trail, to read from.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// A value could not be written down.
    #[error(transparent)]
    Encoding(#[from] serde_json::Error),
    /// The reading was cut short.
    #[error("the reading of the trail was cut short: {0}")]
    Cut(#[from] tokio::task::JoinError),
}

impl BreakGlass {
    /// Answers an operator; what they read and change is on record under their name.
    ///
    /// # Errors
    /// [`AskError`] says why there is no answer.
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Vec<Value>, AskError> {
        self.settle().await;
        match ask {
            Ask::List { which } => self.list(operator, which).await,
            Ask::Show { id } => self.show(operator, &id).await,
            Ask::Review { id, outcome, note } => self.review(operator, &id, outcome, &note).await,
            Ask::End { id } => self.end(operator, &id).await,
            Ask::Declare {
                ward,
                reason,
                seconds,
            } => self.declare(operator, &ward, &reason, seconds).await,
            Ask::Lift { ward } => self.lift(operator, &ward).await,
            Ask::Declared => self.declarations(operator).await,
        }
    }

    pub(super) async fn read_noted(&self, operator: &str, what: String) -> Result<(), AskError> {
        let detail = BTreeMap::from([
            ("operator".to_owned(), operator.to_owned()),
            ("filter".to_owned(), what),
        ]);
        Ok(self
            .ground
            .audit
            .event(Event::AuditRead, None, detail)
            .await?)
    }

    async fn list(&self, operator: &str, which: Which) -> Result<Vec<Value>, AskError> {
        self.read_noted(
            operator,
            format!("breakglass list {which:?}").to_lowercase(),
        )
        .await?;
        let now = self.now();
        let book = self.book.lock().await;
        let mut listed: Vec<&Glass> = book
            .glasses
            .values()
            .filter(|glass| match which {
                Which::All => true,
                Which::Open => book.is_in_force(glass, now),
                Which::Unreviewed => glass.review.is_none(),
            })
            .collect();
        listed.sort_by_key(|glass| std::cmp::Reverse(glass.opened));
        Ok(listed
            .into_iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?)
    }

    async fn found(&self, id: &str) -> Result<Glass, AskError> {
        let book = self.book.lock().await;
        book.glasses
            .get(id)
            .cloned()
            .ok_or_else(|| AskError::Unknown(id.to_owned()))
    }

    async fn show(&self, operator: &str, id: &str) -> Result<Vec<Value>, AskError> {
        let glass = self.found(id).await?;
        self.read_noted(operator, format!("breakglass show {id}"))
            .await?;
        let filter = Filter {
            patient: match glass.ward {
                None => Some(glass.patient.id.clone()),
                Some(_) => None,
            },
            user: Some(glass.user.clone()),
            since: Some(glass.opened),
            ..Filter::default()
        };
        let end = self.ground.audit.log().status().sequence;
        let ground = Arc::clone(&self.ground);
        let grant = glass.id.clone();
        let accesses = tokio::task::spawn_blocking(move || {
            let show = Show::new(
                Arc::new(RealFiles),
                &ground.trail,
                Arc::clone(&ground.master),
                filter,
                end,
            );
            accesses(show, &grant)
        })
        .await??;
        let mut values = vec![serde_json::to_value(&glass)?];
        for access in accesses {
            values.push(serde_json::to_value(access)?);
        }
        Ok(values)
    }

    async fn review(
        &self,
        operator: &str,
        id: &str,
        outcome: Outcome,
        note: &str,
    ) -> Result<Vec<Value>, AskError> {
        let now = self.now();
        let note = note.trim();
        if note.is_empty() || note.chars().count() > LONGEST_NOTE {
            return Err(AskError::Note);
        }
        let mut book = self.book.lock().await;
        let glass = book
            .glasses
            .get(id)
            .ok_or_else(|| AskError::Unknown(id.to_owned()))?;
        if glass.is_by(operator) {
            return Err(AskError::OwnAccess(operator.to_owned()));
        }
        if glass.is_open(now) {
            return Err(AskError::StillOpen(id.to_owned(), glass.expires));
        }
        if let Some(before) = &glass.review
            && before.outcome != Outcome::Unclear
        {
            return Err(AskError::Reviewed {
                id: id.to_owned(),
                by: before.by.clone(),
                outcome: before.outcome.word(),
            });
        }
        let mut reviewed = glass.clone();
        reviewed.review = Some(Review {
            at: now,
            by: operator.to_owned(),
            outcome,
            note: note.to_owned(),
        });
        // On record first: a review that nobody can read up is none.
        let detail = [
            ("operator", operator),
            ("grant", id),
            ("user", &reviewed.name),
            ("user_id", &reviewed.user),
            ("patient", &reviewed.patient.id),
            ("outcome", outcome.word()),
            ("note", note),
        ];
        let ward = reviewed.ward.iter().map(|ward| ("ward", &*ward.name));
        let detail = detail
            .into_iter()
            .chain(ward)
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        self.ground
            .audit
            .event(Event::BreakGlassReviewed, None, detail)
            .await?;
        self.keep(&reviewed).await?;
        book.glasses.insert(id.to_owned(), reviewed.clone());
        self.measure(&book);
        drop(book);
        if outcome == Outcome::Inappropriate {
            let title = "A broken glass was found inappropriate".to_owned();
            self.alarm("break-glass-inappropriate", title, &reviewed)
                .await;
        }
        Ok(vec![Value::String(format!(
            "{id}: reviewed by {operator}, {}",
            outcome.word()
        ))])
    }

    async fn end(&self, operator: &str, id: &str) -> Result<Vec<Value>, AskError> {
        let mut book = self.book.lock().await;
        let glass = book
            .glasses
            .get(id)
            .ok_or_else(|| AskError::Unknown(id.to_owned()))?;
        if !glass.is_open(self.now()) {
            return Err(AskError::NotOpen(id.to_owned()));
        }
        self.end_one(&mut book, id, Cause::Operator(operator))
            .await?;
        self.measure(&book);
        Ok(vec![Value::String(format!(
            "{id}: ended by {operator}; what it opened is closed again"
        ))])
    }
}

/// What was asked for under a grant.
fn accesses(mut show: Show, grant: &str) -> Result<Vec<Access>, ShowError> {
    let mut found = Vec::new();
    while let Some(shown) = show.next_match()? {
        if found.len() >= MOST {
            break;
        }
        found.extend(access(shown.seq, &shown.entry, grant));
    }
    Ok(found)
}

fn access(seq: u64, entry: &Entry, grant: &str) -> Option<Access> {
    if !matches!(entry.phase, Phase::Admit | Phase::Refuse) {
        return None;
    }
    let facts = entry.facts.as_ref()?;
    let decision = facts.decision.as_ref()?;
    if decision.grant.as_deref() != Some(grant) {
        return None;
    }
    let action = facts.mapping.as_ref().map_or_else(String::new, |mapping| {
        format!("{} {}", mapping.action.name(), mapping.section)
    });
    Some(Access {
        seq,
        time: entry.time,
        action,
        place: format!("{} {}", facts.method, facts.path),
        refusal: entry.refusal.clone(),
        policies: decision.policies.clone(),
        request: facts.request.clone(),
        patients: entry.patients().map(|one| one.id.clone()).collect(),
    })
}
