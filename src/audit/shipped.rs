//! How far each sink of the trail is: a value in the store for each, by which the sender goes on and retention waits.
//!
//! *Never*: a sink said to have what its receiver neither took nor refused for good.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::sink::Beginning;
use crate::store::{Store, StoreError, remembered};

/// Where a receiver is on the trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The first record that has not been looked at.
    pub next: u64,
    /// Admissions before it whose outcome is not: they are sent when it comes.
    #[serde(default)]
    pub open: Vec<u64>,
    /// Whether it is on record that the sink is behind.
    #[serde(default)]
    pub behind: bool,
    /// What the receiver refused for good.
    #[serde(default, skip_serializing_if = "Refused::is_empty")]
    pub refused: Refused,
}

/// What a receiver refused for good, since its position is kept. Each is on the trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// How many messages.
    pub count: u64,
    /// The newest.
    pub newest: Option<Newest>,
    /// When an alarm was raised for it last.
    #[serde(default)]
    pub alarmed: Option<Timestamp>,
}

/// The newest message that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newest {
    /// The record that it was made of.
    pub record: u64,
    /// When it was given up.
    pub at: Timestamp,
    /// What the receiver answered: a status, never its words.
    pub answer: String,
}

impl Refused {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Position {
    /// The first record that has to be read to go on from here: what stands before it is done with.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.open.iter().copied().fold(self.next, u64::min)
    }
}

/// The key of a sink's position in the table of upkeep.
#[must_use]
pub fn key(sink: &str) -> String {
    format!("sink.{sink}")
}

/// Where a sink is; none where it never began.
///
/// # Errors
/// [`StoreError`].
pub async fn position(store: &Store, sink: &str) -> Result<Option<Position>, StoreError> {
    remembered::read(store, &key(sink)).await
}

/// The sinks whose receivers still have to get something of the trail, each with the first record of it. A new sink that
/// begins with what is recorded from now on wants nothing that is there.
///
/// # Errors
/// [`StoreError`].
pub async fn wanting(
    store: &Store,
    sinks: &[(String, Beginning)],
) -> Result<Vec<(String, u64)>, StoreError> {
    let mut wanting = Vec::new();
    for (sink, from) in sinks {
        let first = match (position(store, sink).await?, from) {
            (Some(position), _) => position.first(),
            (None, Beginning::Oldest) => 0,
            (None, Beginning::Now) => continue,
        };
        wanting.push((sink.clone(), first));
    }
    Ok(wanting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_at_the_oldest_open_admission_and_old_positions_read_back() {
        let position = Position {
            next: 90,
            open: vec![40, 12],
            ..Position::default()
        };
        assert_eq!(position.first(), 12);
        let old: Position = serde_json::from_str("{\"next\":5}").unwrap();
        assert_eq!((old.first(), old.refused.count), (5, 0));
        assert!(!serde_json::to_string(&old).unwrap().contains("refused"));
    }
}
