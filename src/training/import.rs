//! Reads the feed again when it changed, and takes over what it says.
//!
//! *Never*: an attestation taken back because a line is gone: what was attested holds until it runs out.
//! *On failure*: what counted before counts on; an alarm, and the status, say what is wrong.

use std::collections::BTreeMap;

use super::book::Book;
use super::{Attestation, Source, Training, TrainingError, feed};
use crate::policy::courses::Course;
use crate::request::Event;
use crate::store::Durability;

/// Most bytes of a feed.
const LARGEST: u64 = 64 * 1024 * 1024;

impl Training {
    /// Takes over the feed, where there is one that changed.
    pub(super) async fn follow_feed(&self, book: &mut Book) -> Result<(), TrainingError> {
        let Some(path) = &self.ground.settings.feed else {
            return Ok(());
        };
        let now = self.now();
        let parse = move |text: &str| feed::read(text, now);
        let Some(mut news) = book.feed.news(path, LARGEST, parse).await? else {
            return Ok(());
        };
        let problem = match std::mem::replace(&mut news.read, Ok(Vec::new())) {
            Ok(rows) => self.take_over(book, rows).await.map(|()| None)?,
            Err(problem) => Some(self.complain(book, problem).await?),
        };
        // Last: what could not be stored is tried again.
        book.feed.settle(&news, problem);
        Ok(())
    }

    async fn take_over(&self, book: &mut Book, rows: Vec<feed::Row>) -> Result<(), TrainingError> {
        let courses = self.courses();
        let lines = rows.len();
        let (mut foreign, mut newer) = (0_usize, BTreeMap::new());
        for row in rows {
            let Some(course) = courses.iter().find(|course| course.id() == row.course) else {
                foreign = foreign.saturating_add(1);
                continue;
            };
            let attestation = attestation(row, course);
            let key = (attestation.user.clone(), attestation.course.clone());
            let known = newer
                .get(&key)
                .or_else(|| book.attested(&attestation.user, course.id()));
            if known.is_none_or(|known| is_news(known, &attestation)) {
                newer.insert(key, attestation);
            }
        }
        if newer.is_empty() {
            return Ok(());
        }
        let detail = [
            ("lines", lines),
            ("taken_over", newer.len()),
            ("other_courses", foreign),
        ];
        let detail = detail.map(|(key, count)| (key.to_owned(), count.to_string()));
        self.ground
            .audit
            .event(Event::TrainingImported, None, detail.into())
            .await?;
        let mut left = newer.len();
        for attestation in newer.into_values() {
            left = left.saturating_sub(1);
            // One sync for all: a relaxed write is durable with the next durable one.
            let durability = if left == 0 {
                Durability::Immediate
            } else {
                Durability::Relaxed
            };
            self.keep_attestation(&attestation, durability).await?;
            book.attest(attestation);
        }
        Ok(())
    }

    async fn complain(&self, book: &Book, problem: String) -> Result<String, TrainingError> {
        if !book.feed.is_newly(&problem) {
            return Ok(problem);
        }
        tracing::warn!(problem, "the training feed is not taken over");
        let detail = [
            ("rule", "training-feed".to_owned()),
            ("level", "medium".to_owned()),
            (
                "title",
                format!("The training feed cannot be read: {problem}"),
            ),
        ];
        let detail = detail.map(|(key, value)| (key.to_owned(), value));
        self.ground
            .audit
            .event(Event::Alarm, None, detail.into())
            .await?;
        Ok(problem)
    }
}

fn attestation(row: feed::Row, course: &Course) -> Attestation {
    let until = row.completed.saturating_add(course.valid_for());
    Attestation {
        user: row.user,
        course: row.course,
        version: row.version,
        completed: row.completed,
        until: until.unwrap_or(crate::store::NEVER),
        source: Source::Feed,
        score: None,
        digest: None,
    }
}

/// Whether the feed knows more than what is known. The newest completion counts, however it is known.
fn is_news(known: &Attestation, said: &Attestation) -> bool {
    said.completed > known.completed
        || (said.completed == known.completed
            && known.source == Source::Feed
            && (&said.version, said.until) != (&known.version, known.until))
}
