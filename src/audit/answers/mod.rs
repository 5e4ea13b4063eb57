//! The room that answers what operators ask of the trail: queries, reports, exports, retention.
//!
//! The same code answers in a running gateway and where none runs; whoever calls it proved that the operator is one.
//!
//! *Never*: a word of an answer before the asking is on record. An export is on record twice: that it began, and what
//! came out (format, filter, count, SHA-256).
//! *On failure*: [`AnswerError`], for the operator; nothing else is touched.

mod ask;
mod exporting;
mod given_out;
mod holdings;
mod proving;
mod retaining;
mod rows;

use std::collections::BTreeMap;

pub use self::ask::{Age, Ask, Asked, Manifest, Piece, Span};
use self::exporting::Exporting;
pub use self::holdings::Holdings;
use self::proving::Proving;
pub use self::proving::{Named, NoName};
use self::retaining::Retaining;
use self::rows::{ReadThrough, Rows, passed_over};
use super::hold::{self, Hold, HoldError};
use super::index::{Index, Reindex};
use super::links::Known;
use super::log::{Fate, KeyError, LogError, ProveError};
use super::retention::RetentionError;
use super::show::ShowError;
use super::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::request::Event;

/// Pieces that one step yields, and records that it looks at, so that it does not hold a thread.
const PIECES: usize = 256;
const RECORDS: usize = 20_000;
/// How many patients of lists they may name.
const LISTED: usize = 20_000;

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
    /// The key that checkpoints are signed with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Proving records.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// Nothing has this name.
    #[error("no record and no request `{0}` is in the trail")]
    NoRecord(Named),
    /// The thread that worked on it is gone.
    #[error("the work on the answer broke off")]
    Broken,
    /// Setting or releasing a legal hold.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// There is no such segment.
    #[error("no closed segment is `{0}`; a segment is named by its id, its number or its file")]
    Segment(String),
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
    /// To be said before anything else.
    aliases: Vec<String>,
    /// The next to be said, where rows are the answer.
    asked: Option<Asked>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Rows(Box<Rows>),
    Reindex(Box<Reindex>),
    Export(Box<Exporting>),
    Retention(Box<Retaining>),
    Holds(Vec<Hold>),
    Prove(Box<Proving>),
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
        Self {
            holdings: self.holdings.with_links(links.clone()),
            links,
            ..self
        }
    }

    /// How far back the trail reaches.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn age(&self) -> Result<Age, LogError> {
        self.holdings.age(self.clock.now())
    }

    /// The index of the trail, for who keeps it up.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.holdings.index
    }

    /// Puts the question on record, and begins to answer it.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub async fn begin(&self, operator: &str, ask: Ask) -> Result<Answering, AnswerError> {
        let (ask, aliases) = ask.widened(&self.links.now());
        self.record(operator, &ask).await?;
        let status = self.audit.log().status();
        let through = status.sequence;
        let asked = Asked {
            node: self.audit.node().to_owned(),
            operator: operator.to_owned(),
            through,
            head: status.head.to_string(),
        };
        let work = match ask {
            Ask::Query { filter, limit } => {
                count("query");
                let query = self.holdings.query(filter, through);
                Work::Rows(Box::new(Rows::new(query, limit)))
            }
            Ask::Report { filter, .. } => {
                count("report");
                let query = self.holdings.query(filter, through);
                Work::Rows(Box::new(Rows::new(query, None)))
            }
            Ask::Export { format, filter } => {
                count("export");
                let exporting = Exporting::new(&self.holdings, format, filter, through);
                Work::Export(Box::new(exporting))
            }
            Ask::Reindex { only } => {
                let work = self.holdings.index.reindex(only.as_deref())?;
                let unknown = || AnswerError::Segment(only.unwrap_or_default());
                Work::Reindex(Box::new(work.ok_or_else(unknown)?))
            }
            Ask::Retention { apply, shown } => {
                let apply = apply.then_some(through);
                self.retaining(Fate::Removed, apply, shown).await?
            }
            Ask::Shred { apply, shown } => {
                let apply = apply.then_some(through);
                self.retaining(Fate::Shredded, apply, shown).await?
            }
            Ask::Hold(ask) => {
                let holds = self.holdings.holds()?;
                if matches!(ask, hold::Ask::Add { .. }) {
                    let newest = self.holdings.newest_hold(through).await;
                    holds.given_out(newest).await?;
                }
                let by = (operator, self.clock.now());
                Work::Holds(holds.answer(&self.audit, by, ask).await?)
            }
            Ask::Prove { named, content } => {
                count("proof");
                let proving = Proving::new(&self.holdings, named, content, through)?;
                Work::Prove(Box::new(proving))
            }
        };
        Ok(Answering {
            operator: operator.to_owned(),
            aliases,
            asked: matches!(work, Work::Rows(_)).then_some(asked),
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
                let mut detail = BTreeMap::from([
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
                detail.extend(
                    manifest
                        .passed_over()
                        .map(|shredded| ("shredded".to_owned(), shredded)),
                );
                self.audit.event(Event::AuditExported, None, detail).await?;
                metrics::counter!("chartgate_audit_exported_lines_total", "format" => manifest.format.name())
                    .increment(manifest.lines);
                Ok(vec![Piece::Manifest(manifest)])
            }
            Work::Retention(retaining) => {
                let removed = retaining.finish(&self.audit, &answering.operator).await?;
                Ok(removed.map(Piece::Removed).into_iter().collect())
            }
            Work::Prove(proving) => {
                let proof = proving.finish(&self.audit, &self.holdings).await?;
                Ok(vec![Piece::Proof(Box::new(proof))])
            }
            Work::Reindex(work) => {
                let progress = work.progress();
                let detail = BTreeMap::from([
                    ("operator".to_owned(), answering.operator),
                    ("segments".to_owned(), progress.done.to_string()),
                    ("records".to_owned(), progress.records.to_string()),
                    ("failed".to_owned(), progress.failed.join("; ")),
                ]);
                self.audit.event(Event::IndexRebuilt, None, detail).await?;
                Ok(vec![Piece::Indexed(progress.clone())])
            }
            Work::Rows(_) | Work::Holds(_) => Ok(Vec::new()),
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
        if !self.aliases.is_empty() {
            return Ok(Some(vec![Piece::Aliases(std::mem::take(
                &mut self.aliases,
            ))]));
        }
        if let Some(asked) = self.asked.take() {
            return Ok(Some(vec![Piece::Asked(asked)]));
        }
        match &mut self.work {
            Work::Rows(rows) => rows.step(),
            Work::Reindex(work) => {
                let step = work.step()?;
                Ok(step.map(|progress| vec![Piece::Indexed(progress.clone())]))
            }
            Work::Export(exporting) => exporting.step(),
            Work::Prove(proving) => proving.step(),
            Work::Retention(retaining) => Ok(retaining.step()?),
            Work::Holds(holds) => {
                let pieces: Vec<Piece> = holds.drain(..).map(Piece::Hold).collect();
                Ok((!pieces.is_empty()).then_some(pieces))
            }
        }
    }
}
