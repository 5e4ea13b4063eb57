//! Takes what somebody answered: right often enough, it is attested; on record either way.

use std::collections::BTreeMap;

use super::{Attestation, Source, Training, TrainingError};
use crate::policy::courses::Course;
use crate::request::{Event, Facts, Principal};
use crate::store::Durability;

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is attested.
    Passed(Attestation),
    /// Too little was right.
    Failed {
        /// How many of 100.
        score: u8,
    },
}

impl Training {
    /// Judges an attempt. Once begun it is done to the end, even if the client hangs up.
    ///
    /// # Errors
    /// [`TrainingError`]; nothing is attested then.
    pub(super) async fn judge(
        &self,
        principal: &Principal,
        facts: Facts,
        course: &Course,
        answers: &[Option<usize>],
    ) -> Result<Judged, TrainingError> {
        let score = course.score(answers);
        if score < course.pass_mark() {
            let detail = detail(course, score);
            let audit = &self.ground.audit;
            audit
                .event(Event::TrainingFailed, Some(facts), detail)
                .await?;
            return Ok(Judged::Failed { score });
        }
        let now = self.now();
        let until = now.saturating_add(course.valid_for());
        let attestation = Attestation {
            user: principal.id(),
            course: course.id().to_owned(),
            version: course.version().to_owned(),
            completed: now,
            until: until.unwrap_or(crate::store::NEVER),
            source: Source::Page,
            score: Some(score),
            digest: Some(course.digest().to_owned()),
        };
        let mut detail = detail(course, score);
        detail.insert("until".to_owned(), attestation.until.to_string());
        let room = self.clone();
        let attested = attestation.clone();
        tokio::spawn(async move { room.attested(attested, facts, detail).await }).await??;
        Ok(Judged::Passed(attestation))
    }

    async fn attested(
        &self,
        attestation: Attestation,
        facts: Facts,
        detail: BTreeMap<String, String>,
    ) -> Result<(), TrainingError> {
        let mut book = self.book.lock().await;
        // INVARIANT: on record, then stored, then in force.
        self.ground
            .audit
            .event(Event::TrainingAttested, Some(facts), detail)
            .await?;
        self.keep_attestation(&attestation, Durability::Immediate)
            .await?;
        book.attest(attestation);
        self.restate(&mut book);
        Ok(())
    }
}

fn detail(course: &Course, score: u8) -> BTreeMap<String, String> {
    [
        ("course", course.id().to_owned()),
        ("version", course.version().to_owned()),
        ("digest", course.digest().to_owned()),
        ("score", score.to_string()),
        ("pass_mark", course.pass_mark().to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
