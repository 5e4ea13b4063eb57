//! Mass-casualty events: an operator declares one for a ward, and while it lasts, whoever breaks the glass for a patient
//! there may open the charts of the whole ward.
//!
//! *Never*: a ward glass beyond its declaration; a declaration that is in force before it is stored and on record.
//! *On failure*: without store or trail nothing is declared; what was lifted is out of force before it is on record.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::upkeep::Cause;
use super::{AskError, Book, BreakGlass, Ended, Recording, Stopped};
use crate::desk::page::plain;
use crate::request::statement;
use crate::request::{Event, Offer, OfferedWard};
use crate::store::{Durability, Table};

/// For how long a declaration holds where nothing else is said.
const USUAL: Duration = Duration::from_hours(4);
/// The shortest and the longest that one is made for.
const SHORTEST: Duration = Duration::from_mins(5);
const LONGEST: Duration = Duration::from_hours(24);
/// The most wards at a time.
const MOST: usize = 16;
/// The longest name of a ward, in bytes.
const LONGEST_NAME: usize = 128;
/// How long a declaration is stored at most after its time: what is over is deleted once that is on record.
const KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(24 * 7);

/// A declared mass-casualty event, as the store keeps it and as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// Its id, for people: `mc-20261122-5f1c9a`.
    pub id: String,
    /// The ward, as care feeds name it.
    pub ward: String,
    /// What happened.
    pub reason: String,
    /// The operator who declared it, or prolonged it last.
    pub by: String,
    /// Since when.
    pub declared: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// Whether it is on record.
    pub recording: Recording,
    /// How it ended, until that is on record.
    pub ended: Option<Ended>,
}

impl Declaration {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.expires
    }

    /// What is sealed into the form.
    pub(super) fn offered(&self) -> OfferedWard {
        OfferedWard {
            name: self.ward.clone(),
            declaration: self.id.clone(),
        }
    }
}

/// A declaration, and what has come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// The declaration.
    pub declaration: Declaration,
    /// How many patients at least lie on the ward, as care feeds say.
    pub patients: usize,
    /// How many glasses are broken for the ward and open.
    pub glasses: usize,
}

impl BreakGlass {
    /// The declaration that a form was shown with, if it still stands and the patient still lies there.
    pub(super) async fn standing_ward(&self, offer: &Offer) -> Option<Declaration> {
        let book = self.book.lock().await;
        self.stands(&book, offer, self.now()).cloned()
    }

    /// The declared ward on which the patient of an offer lies.
    pub(super) async fn ward_to_offer(&self, offer: &Offer) -> Option<Declaration> {
        let now = self.now();
        let book = self.book.lock().await;
        let ward = self.lies_on(offer, now)?;
        book.declared(now).find(|one| *one.ward == *ward).cloned()
    }

    /// SECURITY: the ward is what was sealed into the form that this user was shown, and it is judged anew: the event is
    /// still on, and feeds still say that the patient lies there.
    pub(super) fn stands<'b>(
        &self,
        book: &'b Book,
        offer: &Offer,
        now: Timestamp,
    ) -> Option<&'b Declaration> {
        let sealed = offer.ward.as_ref()?;
        let declaration = book.live(&sealed.declaration, now)?;
        let ward = self.lies_on(offer, now)?;
        (*declaration.ward == *ward && *sealed.name == *ward).then_some(declaration)
    }

    fn lies_on(&self, offer: &Offer, now: Timestamp) -> Option<std::sync::Arc<str>> {
        let in_force = self.ground.policies.in_force();
        in_force.care().ward_of(&offer.patient, now)
    }

    /// Declares an event, or prolongs the one that is declared. Once begun it is done to the end.
    pub(super) async fn declare(
        &self,
        operator: &str,
        ward: &str,
        reason: &str,
        seconds: Option<u64>,
    ) -> Result<Vec<Value>, AskError> {
        let ward = ward.trim().to_owned();
        if ward.is_empty() || ward.len() > LONGEST_NAME || ward.chars().any(char::is_control) {
            return Err(AskError::Ward);
        }
        let reason = plain(reason);
        statement::judge(&reason).map_err(|_lack| AskError::Event)?;
        let span = seconds.map_or(USUAL, Duration::from_secs);
        if !(SHORTEST..=LONGEST).contains(&span) {
            return Err(AskError::Span);
        }
        let (room, operator) = (self.clone(), operator.to_owned());
        let declaring =
            tokio::spawn(async move { room.declaring(operator, ward, reason, span).await });
        let declared = declaring.await.map_err(Stopped::from)??;
        Ok(self.told(&declared))
    }

    async fn declaring(
        &self,
        operator: String,
        ward: String,
        reason: String,
        span: Duration,
    ) -> Result<Declaration, AskError> {
        let now = self.now();
        let expires = now.saturating_add(span).unwrap_or(Timestamp::MAX);
        let mut book = self.book.lock().await;
        let before = book.declared(now).find(|one| one.ward == ward).cloned();
        let declared = match before {
            Some(before) if expires <= before.expires => {
                return Err(AskError::DeclaredLonger(ward, before.expires));
            }
            Some(before) => {
                let prolonged = Declaration {
                    reason,
                    by: operator,
                    expires,
                    ..before.clone()
                };
                self.record_declared(&prolonged, Some(before.expires))
                    .await?;
                self.keep_declaration(&prolonged).await?;
                prolonged
            }
            None if book.declared(now).count() >= MOST => return Err(AskError::TooMany),
            None => {
                let random = Uuid::now_v7().simple().to_string();
                let tail: String = random.chars().skip(26).collect();
                let mut declaration = Declaration {
                    id: format!("mc-{}-{tail}", now.strftime("%Y%m%d")),
                    ward,
                    reason,
                    by: operator,
                    declared: now,
                    expires,
                    recording: Recording::Pending,
                    ended: None,
                };
                self.keep_declaration(&declaration).await?;
                self.record_declared(&declaration, None).await?;
                declaration.recording = Recording::Done;
                self.keep_declaration(&declaration).await?;
                declaration
            }
        };
        // INVARIANT: stored and on record; only now it is offered.
        book.declarations
            .insert(declared.id.clone(), declared.clone());
        self.measure(&book);
        drop(book);
        self.alarm_event(&declared, "high").await;
        Ok(declared)
    }

    /// What the operator is told of a declaration.
    fn told(&self, declared: &Declaration) -> Vec<Value> {
        let Declaration { ward, expires, .. } = declared;
        let patients = self.patients_on(ward);
        let mut said = vec![Value::String(format!(
            "ward {ward}: a mass-casualty event is declared until {} ({patients} patients lie there, as care feeds say)",
            expires.strftime("%Y-%m-%dT%H:%M:%SZ")
        ))];
        if patients == 0 {
            said.push(Value::String(format!(
                "warning: no care feed that is up to date says that anybody lies on ward `{ward}`; wards are named as the feeds name them, and until one says so, charts open one patient at a time"
            )));
        }
        said
    }

    fn patients_on(&self, ward: &str) -> usize {
        let in_force = self.ground.policies.in_force();
        in_force.care().patients_on(ward, self.now())
    }

    /// Lifts an event: every glass that was broken for the ward is whole again. Once begun it is done to the end.
    pub(super) async fn lift(&self, operator: &str, ward: &str) -> Result<Vec<Value>, AskError> {
        let (room, by) = (self.clone(), operator.to_owned());
        let name = ward.trim().to_owned();
        let lifting = tokio::spawn(async move {
            let now = room.now();
            let mut book = room.book.lock().await;
            let live = book.declared(now).find(|one| one.ward == name).cloned();
            let mut lifted = live.ok_or_else(|| AskError::NotDeclared(name))?;
            lifted.ended = Some(Ended {
                at: now,
                by: Some(by),
            });
            Ok::<usize, AskError>(room.finish(&mut book, lifted).await?)
        });
        let ended = lifting.await.map_err(Stopped::from)??;
        let ward = ward.trim();
        Ok(vec![Value::String(format!(
            "ward {ward}: lifted by {operator}; {ended} glasses that were broken for it are whole again"
        ))])
    }

    /// What is declared, the newest first.
    pub(super) async fn declarations(&self, operator: &str) -> Result<Vec<Value>, AskError> {
        self.read_noted(operator, "breakglass declared".to_owned())
            .await?;
        let now = self.now();
        let mut declared: Vec<Declared> = {
            let book = self.book.lock().await;
            let each = book.declared(now);
            each.map(|declaration| Declared {
                declaration: declaration.clone(),
                patients: 0,
                glasses: book.under(&declaration.id, now).count(),
            })
            .collect()
        };
        declared.sort_by_key(|one| std::cmp::Reverse(one.declaration.declared));
        let mut values = Vec::new();
        for mut one in declared {
            one.patients = self.patients_on(&one.declaration.ward);
            values.push(serde_json::to_value(one)?);
        }
        Ok(values)
    }

    /// Ends what has its end stated: out of force first, then on record. Returns how many glasses it ended.
    ///
    /// # Errors
    /// [`Stopped`]; what is left is done by [`settle`](Self::settle).
    pub(super) async fn finish(
        &self,
        book: &mut Book,
        ended: Declaration,
    ) -> Result<usize, Stopped> {
        self.keep_declaration(&ended).await?;
        let (id, now) = (ended.id.clone(), self.now());
        let open: Vec<String> = book.under(&id, now).map(|glass| glass.id.clone()).collect();
        book.declarations.insert(id.clone(), ended.clone());
        self.restate(book);
        let by = ended.ended.as_ref().and_then(|ended| ended.by.as_deref());
        for glass in &open {
            self.end_one(book, glass, Cause::Lifted(by)).await?;
        }
        let mut detail = particulars(&ended);
        let how = by.map_or("expired", |_| "lifted");
        detail.insert("how".to_owned(), how.to_owned());
        detail.insert("glasses".to_owned(), open.len().to_string());
        if let Some(by) = by {
            detail.insert("operator".to_owned(), by.to_owned());
        }
        self.ground
            .audit
            .event(Event::WardDeclarationEnded, None, detail)
            .await?;
        self.ground.store.delete(Table::Declarations, &id).await?;
        book.declarations.remove(&id);
        self.measure(book);
        self.alarm_event(&ended, "medium").await;
        Ok(open.len())
    }

    /// Ends the declarations whose time is over, and those whose end did not get on record.
    pub(super) async fn settle_declarations(&self, book: &mut Book) {
        let now = self.now();
        let over: Vec<Declaration> = book
            .declarations
            .values()
            .filter(|one| !one.is_live(now))
            .cloned()
            .collect();
        for mut declaration in over {
            let id = declaration.id.clone();
            declaration.ended.get_or_insert(Ended { at: now, by: None });
            if let Err(error) = self.finish(book, declaration).await {
                tracing::error!(%error, declaration = id, "the end of a mass-casualty event could not be noted");
            }
        }
    }

    async fn record_declared(
        &self,
        declaration: &Declaration,
        before: Option<Timestamp>,
    ) -> Result<(), Stopped> {
        let mut detail = particulars(declaration);
        detail.insert("operator".to_owned(), declaration.by.clone());
        detail.insert("reason".to_owned(), declaration.reason.clone());
        if let Some(before) = before {
            detail.insert("prolonged_from".to_owned(), before.to_string());
        }
        Ok(self
            .ground
            .audit
            .event(Event::WardDeclared, None, detail)
            .await?)
    }

    pub(super) async fn keep_declaration(&self, declaration: &Declaration) -> Result<(), Stopped> {
        let value = serde_json::to_vec(declaration)?;
        let gone = declaration.expires.saturating_add(KEPT);
        self.ground
            .store
            .put(
                Table::Declarations,
                &declaration.id,
                &value,
                gone.unwrap_or(Timestamp::MAX),
                Durability::Immediate,
            )
            .await?;
        Ok(())
    }

    async fn alarm_event(&self, declaration: &Declaration, level: &str) {
        let ward = &declaration.ward;
        let (title, by) = match &declaration.ended {
            None => (
                format!("A mass-casualty event is declared for ward {ward}"),
                Some(&declaration.by),
            ),
            Some(ended) => (
                format!("The mass-casualty event of ward {ward} is over"),
                ended.by.as_ref(),
            ),
        };
        let mut detail = vec![
            ("rule", "mass-casualty".to_owned()),
            ("title", title),
            ("level", level.to_owned()),
            ("ward", ward.clone()),
            ("declaration", declaration.id.clone()),
        ];
        detail.extend(by.map(|by| ("operator", by.clone())));
        self.record_alarm(&detail).await;
    }
}

fn particulars(declaration: &Declaration) -> BTreeMap<String, String> {
    let expires = declaration.expires.to_string();
    [
        ("declaration", declaration.id.as_str()),
        ("ward", &declaration.ward),
        ("expires", &expires),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}
