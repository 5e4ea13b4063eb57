//! What time does to broken glasses: they end, and their reviews become overdue.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Book, BreakGlass, Ended, Glass, Reminder, Stopped};
use crate::request::Event;
use crate::telemetry::metrics as names;

/// How often the room looks at the time.
const TICK: Duration = Duration::from_secs(30);

/// How the room is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Grants in force.
    pub open: usize,
    /// Broken glasses that nobody has reviewed.
    pub unreviewed: usize,
    /// Those of them whose time is over.
    pub overdue: usize,
    /// Wards for which a mass-casualty event is declared, and until when.
    pub wards: Vec<(String, Timestamp)>,
}

/// Why a grant ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause<'a> {
    /// Its time is over.
    Time,
    /// An operator ended it.
    Operator(&'a str),
    /// The event is over that it was broken for: an operator lifted it, if one is named.
    Lifted(Option<&'a str>),
}

impl<'a> Cause<'a> {
    /// The word on record, and who did it.
    const fn said(self) -> (&'static str, Option<&'a str>) {
        match self {
            Self::Time => ("expired", None),
            Self::Operator(by) => ("ended", Some(by)),
            Self::Lifted(by) => ("lifted", by),
        }
    }
}

impl BreakGlass {
    /// Looks at the time until `end`.
    pub async fn keep_up(self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            self.settle().await;
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// How the room is now.
    pub async fn condition(&self) -> Condition {
        let book = self.book.lock().await;
        self.count(&book)
    }

    fn count(&self, book: &Book) -> Condition {
        let now = self.now();
        let count =
            |is: &dyn Fn(&Glass) -> bool| book.glasses.values().filter(|one| is(one)).count();
        Condition {
            open: book.open(now).count(),
            unreviewed: count(&|glass| glass.review.is_none()),
            overdue: count(&|glass| glass.is_overdue(now)),
            wards: book
                .declared(now)
                .map(|declared| (declared.ward.clone(), declared.expires))
                .collect(),
        }
    }

    /// Sets the gauges.
    pub(super) fn measure(&self, book: &Book) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus numbers are floating point"
        )]
        let number = |count: usize| count as f64;
        let condition = self.count(book);
        metrics::gauge!(names::BREAK_GLASS_OPEN).set(number(condition.open));
        metrics::gauge!(names::BREAK_GLASS_UNREVIEWED).set(number(condition.unreviewed));
        metrics::gauge!(names::BREAK_GLASS_OVERDUE).set(number(condition.overdue));
        metrics::gauge!(names::BREAK_GLASS_WARDS).set(number(condition.wards.len()));
    }

    /// Ends what is over, alarms about what is overdue, and forgets what is old. What fails is tried again next time.
    pub async fn settle(&self) {
        let now = self.now();
        let mut book = self.book.lock().await;
        self.settle_declarations(&mut book).await;
        let over: Vec<(String, Cause<'static>)> = book
            .glasses
            .values()
            .filter(|glass| glass.ended.is_none() && !book.is_in_force(glass, now))
            .map(|glass| {
                let cause = if glass.is_open(now) {
                    Cause::Lifted(None)
                } else {
                    Cause::Time
                };
                (glass.id.clone(), cause)
            })
            .collect();
        for (id, cause) in over {
            if let Err(error) = self.end_one(&mut book, &id, cause).await {
                tracing::error!(%error, grant = id, "the end of a grant could not be noted");
            }
        }
        let overdue: Vec<String> = book
            .glasses
            .values()
            .filter(|glass| glass.is_overdue(now) && glass.reminder == Reminder::Open)
            .map(|glass| glass.id.clone())
            .collect();
        for id in overdue {
            if let Err(error) = self.remind(&mut book, &id).await {
                tracing::error!(%error, grant = id, "an overdue review could not be noted");
            }
        }
        book.glasses.retain(|_, glass| match &glass.review {
            Some(review) => !past(review.at, super::KEPT, now),
            None => !past(glass.opened, super::KEPT_UNREVIEWED, now),
        });
        self.measure(&book);
    }

    /// Ends every open grant of whoever is `meant`, by stable id and name.
    ///
    /// # Errors
    /// [`Stopped`]; grants may then be left over.
    pub async fn end_where(
        &self,
        meant: impl Fn(&str, &str) -> bool,
        by: &str,
    ) -> Result<(), Stopped> {
        let now = self.now();
        let mut book = self.book.lock().await;
        let theirs: Vec<String> = book
            .glasses
            .values()
            .filter(|glass| glass.is_open(now) && meant(&glass.user, &glass.name))
            .map(|glass| glass.id.clone())
            .collect();
        for id in theirs {
            self.end_one(&mut book, &id, Cause::Operator(by)).await?;
        }
        Ok(())
    }

    /// Ends a grant: out of force first, then on record.
    pub(super) async fn end_one(
        &self,
        book: &mut Book,
        id: &str,
        cause: Cause<'_>,
    ) -> Result<(), Stopped> {
        let (how, by) = cause.said();
        let Some(glass) = book.glasses.get(id) else {
            return Ok(());
        };
        let mut ended = glass.clone();
        ended.ended = Some(Ended {
            at: self.now(),
            by: by.map(str::to_owned),
        });
        self.keep(&ended).await?;
        let mut detail = BTreeMap::from([
            ("grant".to_owned(), ended.id.clone()),
            ("user".to_owned(), ended.name.clone()),
            ("user_id".to_owned(), ended.user.clone()),
            ("patient".to_owned(), ended.patient.id.clone()),
            ("how".to_owned(), how.to_owned()),
        ]);
        if let Some(ward) = &ended.ward {
            detail.insert("ward".to_owned(), ward.name.clone());
        }
        if let Some(by) = by {
            detail.insert("operator".to_owned(), by.to_owned());
        }
        book.glasses.insert(id.to_owned(), ended);
        self.restate(book);
        self.ground
            .audit
            .event(Event::BreakGlassEnded, None, detail)
            .await?;
        Ok(())
    }

    /// Alarms about an overdue review, once.
    async fn remind(&self, book: &mut Book, id: &str) -> Result<(), Stopped> {
        let Some(glass) = book.glasses.get(id) else {
            return Ok(());
        };
        let mut reminded = glass.clone();
        reminded.reminder = Reminder::Sent;
        self.keep(&reminded).await?;
        let title = "Nobody has reviewed a broken glass within the time set".to_owned();
        self.alarm("break-glass-review-overdue", title, &reminded)
            .await;
        book.glasses.insert(id.to_owned(), reminded);
        Ok(())
    }
}

fn past(since: Timestamp, kept: jiff::SignedDuration, now: Timestamp) -> bool {
    now.duration_since(since) > kept
}
