//! The room that answers what operators ask of the trail: queries, reports, exports, retention.
//!
//! The same code answers in a running gateway and where none runs; whoever calls it proved that the operator is one.
//!
//! *Never*: a word of an answer before the asking is on record. An export is on record twice: that it began, and what
//! came out (format, filter, count, SHA-256).
//! *On failure*: [`AnswerError`], for the operator; nothing else is touched.

mod ask;
mod exporting;
mod holdings;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use self::ask::{Age, Ask, Manifest, Piece};
use self::exporting::Exporting;
pub use self::holdings::Holdings;
use super::links::Known;
use super::log::LogError;
use super::query::{Look, Query};
use super::retention::{Expired, RetentionError};
use super::show::ShowError;
use super::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::request::Event;

/// Pieces that one step yields, and records that it looks at, so that it does not hold a thread.
const PIECES: usize = 256;
const RECORDS: usize = 20_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Reading it.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// Putting the question on record.
    #[error("the question could not be put on record: {0}")]
    Audit(#[from] AuditError),
    /// Removing segments.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// The question cannot be written on record.
    #[error("the filter cannot be written: {0}")]
    Filter(#[from] serde_json::Error),
}

/// The room.
#[derive(Debug, Clone)]
pub struct Answers {
    audit: Audit,
    holdings: Holdings,
    clock: SharedClock,
    links: Known,
}

/// An answer on its way.
#[derive(Debug)]
pub struct Answering {
    operator: String,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Rows {
        query: Box<Query>,
        left: u64,
    },
    Export(Box<Exporting>),
    Retention {
        apply: bool,
        ended: bool,
        found: Vec<Expired>,
        holdings: Box<Holdings>,
        now: Timestamp,
    },
}

impl Answers {
    /// Answers about this trail.
    #[must_use]
    pub fn new(audit: Audit, holdings: Holdings, clock: SharedClock) -> Self {
        Self {
            audit,
            holdings,
            clock,
            links: Known::default(),
        }
    }

    /// With what is known of patients who have several identifiers.
    #[must_use]
    pub fn with_links(self, links: Known) -> Self {
        Self { links, ..self }
    }

    /// How far back the trail reaches.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn age(&self) -> Result<Age, LogError> {
        self.holdings.age(self.clock.now())
    }

    /// Puts the question on record, and begins to answer it.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub async fn begin(&self, operator: &str, ask: Ask) -> Result<Answering, AnswerError> {
        self.record(operator, &ask).await?;
        let through = self.audit.log().status().sequence;
        let work = match ask {
            Ask::Query { filter, limit } => {
                count("query");
                Work::Rows {
                    query: Box::new(self.holdings.query(filter, through)?),
                    left: limit.unwrap_or(u64::MAX),
                }
            }
            Ask::Report { filter, .. } => {
                count("report");
                Work::Rows {
                    query: Box::new(self.holdings.query(filter, through)?),
                    left: u64::MAX,
                }
            }
            Ask::Export { format, filter } => {
                count("export");
                Work::Export(Box::new(Exporting::new(
                    &self.holdings,
                    format,
                    filter,
                    through,
                )?))
            }
            Ask::Retention { apply } => Work::Retention {
                apply,
                ended: false,
                found: Vec::new(),
                holdings: Box::new(self.holdings.clone()),
                now: self.clock.now(),
            },
        };
        Ok(Answering {
            operator: operator.to_owned(),
            work,
        })
    }

    async fn record(&self, operator: &str, ask: &Ask) -> Result<(), AnswerError> {
        let (what, filter) = ask.described();
        let mut detail = BTreeMap::from([
            ("operator".to_owned(), operator.to_owned()),
            ("command".to_owned(), what),
        ]);
        if let Some(filter) = filter {
            detail.insert("filter".to_owned(), serde_json::to_string(filter)?);
        }
        Ok(self.audit.event(Event::AuditRead, None, detail).await?)
    }

    /// Does what the end of an answer asks for: the export goes on record, segments go.
    ///
    /// # Errors
    /// [`AnswerError`]; the answer is not complete then.
    pub async fn finish(&self, answering: Answering) -> Result<Vec<Piece>, AnswerError> {
        match answering.work {
            Work::Export(exporting) => {
                let manifest = exporting.manifest();
                let detail = BTreeMap::from([
                    ("operator".to_owned(), answering.operator),
                    ("format".to_owned(), manifest.format.to_string()),
                    (
                        "filter".to_owned(),
                        serde_json::to_string(&manifest.filter)?,
                    ),
                    ("lines".to_owned(), manifest.lines.to_string()),
                    ("bytes".to_owned(), manifest.bytes.to_string()),
                    ("sha256".to_owned(), manifest.sha256.clone()),
                    ("through".to_owned(), manifest.through.to_string()),
                ]);
                self.audit.event(Event::AuditExported, None, detail).await?;
                metrics::counter!("chartgate_audit_exported_lines_total", "format" => manifest.format.name())
                    .increment(manifest.lines);
                Ok(vec![Piece::Manifest(manifest)])
            }
            Work::Retention {
                apply: true, found, ..
            } => {
                self.holdings
                    .retire(&self.audit, &answering.operator, &found)
                    .await?;
                Ok(vec![Piece::Removed(found.len())])
            }
            Work::Rows { .. } | Work::Retention { apply: false, .. } => Ok(Vec::new()),
        }
    }
}

fn count(kind: &'static str) {
    metrics::counter!("chartgate_audit_readings_total", "kind" => kind).increment(1);
}

impl Answering {
    /// The next pieces; `None` when there are no more. Reads files: give it a thread that may wait.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn step(&mut self) -> Result<Option<Vec<Piece>>, AnswerError> {
        match &mut self.work {
            Work::Rows { query, left } => rows(query, left),
            Work::Export(exporting) => exporting.step(),
            Work::Retention {
                ended,
                found,
                holdings,
                now,
                ..
            } => {
                if *ended {
                    return Ok(None);
                }
                *ended = true;
                *found = holdings.expired(*now)?;
                let mut pieces = vec![Piece::Age(holdings.age(*now)?)];
                pieces.extend(found.iter().cloned().map(Piece::Expired));
                Ok(Some(pieces))
            }
        }
    }
}

fn rows(query: &mut Query, left: &mut u64) -> Result<Option<Vec<Piece>>, AnswerError> {
    if *left == 0 {
        return Ok(None);
    }
    let mut pieces = Vec::new();
    for _ in 0..RECORDS {
        match query.look()? {
            Look::Answer(joined) => {
                pieces.push(Piece::Row(joined));
                *left = left.saturating_sub(1);
            }
            Look::Nothing => {}
            Look::End if pieces.is_empty() => return Ok(None),
            Look::End => break,
        }
        if pieces.len() >= PIECES || *left == 0 {
            break;
        }
    }
    Ok(Some(pieces))
}
