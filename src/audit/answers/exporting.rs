//! An export on its way: text, piece by piece, and its hash.

use std::collections::BTreeMap;

use aws_lc_rs::digest;

use super::ask::{Manifest, Piece, Span};
use super::holdings::Holdings;
use super::{AnswerError, PIECES, RECORDS, ReadThrough};
use crate::audit::export::{self, Format};
use crate::audit::filter::Filter;
use crate::audit::query::{Look, Query};
use crate::audit::show::Show;

pub(super) struct Exporting {
    source: Source,
    manifest: Manifest,
    digest: digest::Context,
    heading: Option<String>,
    read_through: ReadThrough,
    /// Records that it passed over, first and last of each segment.
    shredded: BTreeMap<u64, u64>,
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

impl Exporting {
    pub(super) fn new(holdings: &Holdings, format: Format, filter: Filter, through: u64) -> Self {
        let source = match format {
            Format::Fhir | Format::Ocsf | Format::Atna | Format::Cef | Format::Csv => {
                Source::Joined(Box::new(holdings.query(filter.clone(), through)))
            }
            Format::Jsonl => Source::Single(Box::new(holdings.show(filter.clone(), through))),
        };
        Self {
            source,
            manifest: Manifest {
                format,
                filter,
                lines: 0,
                bytes: 0,
                sha256: String::new(),
                through,
                shredded: Vec::new(),
            },
            digest: digest::Context::new(&digest::SHA256),
            heading: Some(format.heading()),
            read_through: ReadThrough::default(),
            shredded: BTreeMap::new(),
        }
    }

    pub(super) fn step(&mut self) -> Result<Option<Vec<Piece>>, AnswerError> {
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
        let (unindexed, shredded) = match &mut self.source {
            Source::Joined(query) => (query.unindexed(), query.take_shredded()),
            Source::Single(show) => (show.unindexed(), show.take_shredded()),
        };
        self.shredded
            .extend(shredded.iter().map(|note| (note.first, note.last)));
        let said: Vec<Piece> = self.read_through.more(unindexed, shredded).collect();
        if ended && texts.is_empty() && said.is_empty() {
            return Ok(None);
        }
        for text in &texts {
            self.digest.update(text.as_bytes());
            self.manifest.lines = self.manifest.lines.saturating_add(1);
            let bytes = text.len() as u64;
            self.manifest.bytes = self.manifest.bytes.saturating_add(bytes);
        }
        let mut pieces: Vec<Piece> = texts.into_iter().map(Piece::Text).collect();
        pieces.extend(said);
        Ok(Some(pieces))
    }

    pub(super) fn manifest(self) -> Manifest {
        Manifest {
            sha256: hex::encode(self.digest.finish()),
            shredded: Span::joined(&self.shredded),
            ..self.manifest
        }
    }
}
