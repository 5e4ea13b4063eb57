//! How much is kept, and for whom: what makes it bounded.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Expired, HeldPost};
use crate::config::lock::HeldPosts;
use crate::request::held::Lost;

/// One form that is kept.
#[derive(Debug, Clone)]
pub(super) struct Line {
    user: String,
    bytes: u64,
    until: Timestamp,
}

impl Line {
    pub(super) fn of(post: &HeldPost) -> Self {
        Self {
            user: post.user.clone(),
            bytes: u64::try_from(post.body.len()).unwrap_or(u64::MAX),
            until: post.until,
        }
    }
}

/// All of them, by id.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lines: BTreeMap<String, Line>,
    bytes: u64,
}

impl Ledger {
    /// Adds one that is kept already.
    pub(super) fn add(&mut self, id: &str, line: Line) {
        self.bytes = self.bytes.saturating_add(line.bytes);
        self.lines.insert(id.to_owned(), line);
    }

    /// Adds one, where there is room. What is over but not yet noticed takes room: it goes within a minute.
    pub(super) fn reserve(
        &mut self,
        id: &str,
        line: Line,
        settings: &HeldPosts,
    ) -> Result<(), Lost> {
        let own = self.lines.values().filter(|known| known.user == line.user);
        if own.count() >= settings.per_user {
            return Err(Lost::Many);
        }
        // Bytes as they are spelled: four for three.
        if self.bytes.saturating_add(line.bytes) > settings.max_total {
            return Err(Lost::Full);
        }
        self.add(id, line);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Line> {
        let line = self.lines.remove(id)?;
        self.bytes = self.bytes.saturating_sub(line.bytes);
        Some(line)
    }

    pub(super) fn count(&self) -> usize {
        self.lines.len()
    }

    /// Takes out what is over.
    pub(super) fn expired(&mut self, now: Timestamp) -> Vec<Expired> {
        let over = self.lines.iter().filter(|(_, line)| line.until <= now);
        let ids: Vec<String> = over.map(|(id, _)| id.clone()).collect();
        ids.into_iter()
            .filter_map(|id| {
                let user = self.remove(&id)?.user;
                Some(Expired { id, user })
            })
            .collect()
    }
}
