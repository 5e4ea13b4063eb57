//! The room that answers what operators ask of the trail: queries, reports, exports, retention.
//!
//! The same code answers in a running gateway and where none runs; whoever calls it proved that the operator is one.
//!
//! *Never*: a word of an answer before the asking is on record. An export is on record twice: that it began, and what
//! came out (format, filter, count, SHA-256).
//! *On failure*: [`AnswerError`], for the operator; nothing else is touched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::export::{self, Format};
use super::log::{Files, Header, LogError, MasterKey, Sequences, headers, retirable};
use super::query::join::Joined;
use super::query::{Look, Query, first_sequence};
use super::retention::{Expired, RetentionError};
use super::show::{Filter, Show, ShowError};
use super::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::config;
use crate::request::Event;

/// Pieces that one step yields, and records that it looks at, so that it does not hold a thread.
const PIECES: usize = 256;
const RECORDS: usize = 20_000;
/// How long witnesses may take beyond the checkpoint interval.
const WITNESS_PATIENCE: Duration = Duration::from_secs(30);

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

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Rows that match.
    Query {
        /// Which.
        filter: Filter,
        /// No more than so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// Rows for a report.
    Report {
        /// Which report, for the record: `patient 4`.
        report: String,
        /// Which rows.
        filter: Filter,
    },
    /// Text in a format.
    Export {
        /// The format.
        format: Format,
        /// Which records.
        filter: Filter,
    },
    /// What is older than the retention.
    Retention {
        /// Whether it is to be removed.
        apply: bool,
    },
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// A row.
    Row(Box<Joined>),
    /// A part of an export, byte for byte.
    Text(String),
    /// What the export was.
    Manifest(Manifest),
    /// A segment that may be removed, or was.
    Expired(Expired),
    /// How old the trail is.
    Age(Age),
    /// How many segments were removed.
    Removed(usize),
}

/// What an export was: on record, and with whoever has the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format.
    pub format: Format,
    /// What was asked for.
    pub filter: Filter,
    /// Lines written, a heading included.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// SHA-256 of these, in hexadecimal.
    pub sha256: String,
    /// The newest record that was looked at.
    pub through: u64,
}

/// How far back the trail reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    /// When its oldest segment was begun.
    pub oldest: Option<Timestamp>,
    /// Segments that there are.
    pub segments: usize,
    /// Calendar years that records are kept.
    pub years: u16,
    /// Segments, by their ends, whose retention is over.
    pub over: usize,
}

/// Where the trail lies, what opens it, and how long it is kept.
#[derive(Debug, Clone)]
pub struct Holdings {
    pub(super) files: Arc<dyn Files>,
    pub(super) directory: PathBuf,
    pub(super) master: Arc<MasterKey>,
    pub(super) signing_key: PathBuf,
    pub(super) years: u16,
    /// How long witnesses may take to hold what is on record.
    pub(super) patience: Duration,
}

impl Holdings {
    /// The trail of this configuration.
    #[must_use]
    pub fn new(config: &config::Audit, files: Arc<dyn Files>, master: Arc<MasterKey>) -> Self {
        Self {
            files,
            directory: config.directory.clone(),
            master,
            signing_key: config.signing_key.clone(),
            years: config.retention_years,
            patience: config.checkpoint_interval.saturating_add(WITNESS_PATIENCE),
        }
    }

    pub(super) fn headers(&self) -> Result<Vec<Header>, LogError> {
        headers(&*self.files, &self.directory)
    }

    /// How far back it reaches; reads the segments' headers.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn age(&self, now: Timestamp) -> Result<Age, LogError> {
        let headers = self.headers()?;
        Ok(Age {
            oldest: headers.first().map(|header| header.created),
            segments: headers.len(),
            years: self.years,
            over: retirable(&headers, self.years, now).len(),
        })
    }
}

/// The room.
#[derive(Debug, Clone)]
pub struct Answers {
    audit: Audit,
    holdings: Holdings,
    clock: SharedClock,
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

struct Exporting {
    source: Source,
    manifest: Manifest,
    digest: digest::Context,
    heading: Option<String>,
}

impl std::fmt::Debug for Exporting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporting")
            .field("source", &self.source)
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Source {
    Joined(Box<Query>),
    Single(Box<Show>),
}

impl Answers {
    /// Answers about this trail.
    #[must_use]
    pub const fn new(audit: Audit, holdings: Holdings, clock: SharedClock) -> Self {
        Self {
            audit,
            holdings,
            clock,
        }
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
                    query: Box::new(self.query(filter, through)?),
                    left: limit.unwrap_or(u64::MAX),
                }
            }
            Ask::Report { filter, .. } => {
                count("report");
                Work::Rows {
                    query: Box::new(self.query(filter, through)?),
                    left: u64::MAX,
                }
            }
            Ask::Export { format, filter } => {
                count("export");
                Work::Export(Box::new(self.export(format, filter, through)?))
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
        let (what, filter) = match ask {
            Ask::Query { filter, .. } => ("query".to_owned(), Some(filter)),
            Ask::Report { report, filter } => (format!("report {report}"), Some(filter)),
            Ask::Export { format, filter } => (format!("export {format}"), Some(filter)),
            Ask::Retention { .. } => ("retention".to_owned(), None),
        };
        let mut detail = BTreeMap::from([
            ("operator".to_owned(), operator.to_owned()),
            ("command".to_owned(), what),
        ]);
        if let Some(filter) = filter {
            detail.insert("filter".to_owned(), serde_json::to_string(filter)?);
        }
        Ok(self.audit.event(Event::AuditRead, None, detail).await?)
    }

    fn query(&self, filter: Filter, through: u64) -> Result<Query, LogError> {
        let Holdings {
            files,
            directory,
            master,
            ..
        } = &self.holdings;
        Query::new(files.clone(), directory, master.clone(), filter, through)
    }

    fn export(&self, format: Format, filter: Filter, through: u64) -> Result<Exporting, LogError> {
        let source = match format {
            Format::Fhir | Format::Ocsf | Format::Csv => {
                Source::Joined(Box::new(self.query(filter.clone(), through)?))
            }
            Format::Jsonl => {
                let Holdings {
                    files,
                    directory,
                    master,
                    ..
                } = &self.holdings;
                let range = Sequences {
                    from: first_sequence(&**files, directory, filter.since)?,
                    to: through,
                };
                let (files, master) = (files.clone(), master.clone());
                let show = Show::within(files, directory, master, filter.clone(), range);
                Source::Single(Box::new(show))
            }
        };
        Ok(Exporting {
            source,
            manifest: Manifest {
                format,
                filter,
                lines: 0,
                bytes: 0,
                sha256: String::new(),
                through,
            },
            digest: digest::Context::new(&digest::SHA256),
            heading: Some(format.heading()),
        })
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

impl Exporting {
    fn step(&mut self) -> Result<Option<Vec<Piece>>, AnswerError> {
        let mut texts = Vec::new();
        texts.extend(self.heading.take().filter(|heading| !heading.is_empty()));
        let mut ended = false;
        for _ in 0..RECORDS {
            match &mut self.source {
                Source::Joined(query) => match query.look()? {
                    Look::Answer(joined) => {
                        texts.extend(export::lines(self.manifest.format, &joined));
                    }
                    Look::Nothing => {}
                    Look::End => ended = true,
                },
                Source::Single(show) => match show.next_match()? {
                    Some(shown) => texts.push(format!("{}\n", serde_json::to_string(&shown)?)),
                    None => ended = true,
                },
            }
            if ended || texts.len() >= PIECES {
                break;
            }
        }
        if ended && texts.is_empty() {
            return Ok(None);
        }
        for text in &texts {
            self.digest.update(text.as_bytes());
            self.manifest.lines = self.manifest.lines.saturating_add(1);
            let bytes = text.len() as u64;
            self.manifest.bytes = self.manifest.bytes.saturating_add(bytes);
        }
        Ok(Some(texts.into_iter().map(Piece::Text).collect()))
    }

    fn manifest(self) -> Manifest {
        Manifest {
            sha256: hex::encode(self.digest.finish()),
            ..self.manifest
        }
    }
}
