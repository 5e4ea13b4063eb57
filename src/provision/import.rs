//! Reads the personnel system's file again when it changed, and takes over what it says.
//!
//! *Never*: a whole house locked out by one bad file; someone let in again because their line is gone.
//! *On failure*: what was said before counts on; an alarm, and the status, say what is wrong.

use std::collections::BTreeMap;

use super::feed::{self, Stated};
use super::{Book, ProvisionError, Provisions, detail};
use crate::request::Event;

/// Most bytes of a file.
const LARGEST: u64 = 32 * 1024 * 1024;

impl Provisions {
    /// Takes over the file, where there is one that changed.
    pub(super) async fn follow_feed(&self, book: &mut Book) -> Result<(), ProvisionError> {
        let Some(path) = &self.ground.settings.feed else {
            return Ok(());
        };
        let Some(mut news) = book.feed.news(path, LARGEST, feed::read).await? else {
            return Ok(());
        };
        let rows = std::mem::replace(&mut news.read, Ok(BTreeMap::new()));
        let problem = match rows.and_then(|rows| self.bounded(book, rows)) {
            Ok(rows) => self.take_over(book, rows).await.map(|()| None)?,
            Err(problem) => Some(self.complain(book, problem).await?),
        };
        // Last: what could not be stored is tried again.
        book.feed.settle(&news, problem);
        Ok(())
    }

    /// SECURITY: an export that went wrong must not close the house: whoever means it raises `feed_most`.
    fn bounded(
        &self,
        book: &Book,
        rows: BTreeMap<String, Stated>,
    ) -> Result<BTreeMap<String, Stated>, String> {
        let now = self.ground.clock.now();
        let lost = rows
            .values()
            .filter(|stated| !stated.is_active(now))
            .filter(|stated| !self.whom_of(stated).is_in(&book.inactive))
            .count();
        let most = self.ground.settings.feed_most;
        if lost > most {
            return Err(format!(
                "it would keep out {lost} more people at once, and `feed_most` is {most}"
            ));
        }
        Ok(rows)
    }

    async fn take_over(
        &self,
        book: &mut Book,
        rows: BTreeMap<String, Stated>,
    ) -> Result<(), ProvisionError> {
        let now = self.ground.clock.now();
        let lines = rows.len();
        let news: Vec<(String, Stated)> = rows
            .into_iter()
            .filter(|(user, stated)| book.stated.get(user) != Some(stated))
            .collect();
        if news.is_empty() {
            return Ok(());
        }
        let counts = [("lines", lines), ("changed", news.len())];
        let counts = counts.map(|(key, count)| (key.to_owned(), count.to_string()));
        self.record(Event::ProvisioningImported, counts.into())
            .await?;
        for (user, stated) in news {
            let was_active = book.stated.get(&user).is_none_or(|old| old.is_active(now));
            if was_active && !stated.is_active(now) {
                let why = match stated.status {
                    feed::Status::Active => "last day over",
                    feed::Status::Suspended => "suspended",
                    feed::Status::Left => "left",
                };
                let detail = detail("file", &stated.user, [("why", why)]);
                self.record(Event::UserDeprovisioned, detail).await?;
                book.to_end.insert(self.whom_of(&stated));
            } else if !was_active && stated.is_active(now) {
                let detail = detail("file", &stated.user, [("why", "active again")]);
                self.record(Event::UserProvisioned, detail).await?;
            }
            self.keep_stated(&stated).await?;
            book.stated.insert(user, stated);
        }
        self.enforce(book);
        Ok(())
    }

    async fn complain(&self, book: &Book, problem: String) -> Result<String, ProvisionError> {
        if !book.feed.is_newly(&problem) {
            return Ok(problem);
        }
        tracing::warn!(problem, "the personnel system's file is not taken over");
        let title = format!("The personnel system's file is not taken over: {problem}");
        let alarm = [
            ("rule", "provisioning-feed".to_owned()),
            ("level", "high".to_owned()),
            ("title", title),
        ];
        let alarm = alarm.map(|(key, value)| (key.to_owned(), value));
        self.record(Event::Alarm, alarm.into()).await?;
        Ok(problem)
    }
}
