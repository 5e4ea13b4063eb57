//! Answers questions about the trail: who did what to whose chart, and what became of it.
//!
//! What narrows a question down is looked up in the [index](super::index), and the records that may match are opened one
//! by one, each with its outcome. What asks for everything is read in order ([`scan`]), and an admission is joined with
//! its outcome on the way, in memory that does not grow with the trail. Both give the same answers.
//!
//! *Never*: a reading without a record of it; [`super::answers`] records it first.

pub mod answer;
pub mod join;
pub mod scan;
pub mod sort;
pub mod table;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
mod tests;

use super::entry::Phase;
use super::filter::Filter;
use super::index::{Hit, Index, Search};
use super::log::{LogError, Retired};
use super::show::ShowError;
use join::{Ended, Joined};
use scan::Scan;
pub use scan::first_sequence;

/// What a look at the next record gave.
#[derive(Debug)]
pub enum Look {
    /// An answer.
    Answer(Box<Joined>),
    /// No answer yet.
    Nothing,
    /// There are no more.
    End,
}

/// Gives the answers that match, oldest first.
#[derive(Debug)]
pub struct Query(Way);

#[derive(Debug)]
enum Way {
    /// Not begun yet: nothing is read before the first look.
    Asked(Box<(Index, Filter, u64)>),
    Planned(Box<Planned>),
    Scanned(Box<Scan>),
}

#[derive(Debug)]
struct Planned {
    search: Search,
    filter: Filter,
}

impl Query {
    /// Asks of records up to the record `to`. Nothing is read yet.
    #[must_use]
    pub fn new(index: &Index, filter: Filter, to: u64) -> Self {
        Self(Way::Asked(Box::new((index.clone(), filter, to))))
    }

    /// The same without the index: by reading everything.
    ///
    /// # Errors
    /// [`LogError`] for segments that cannot be listed.
    pub fn scanned(index: &Index, filter: Filter, to: u64) -> Result<Self, LogError> {
        let (files, directory, master) = index.files();
        let scan = Scan::new(files.clone(), directory, master.clone(), filter, to)?;
        Ok(Self(Way::Scanned(Box::new(scan))))
    }

    /// How many segments had to be read through so far because their index was missing or of no use.
    #[must_use]
    pub fn unindexed(&self) -> usize {
        match &self.0 {
            Way::Planned(planned) => planned.search.scanned(),
            Way::Asked(_) | Way::Scanned(_) => 0,
        }
    }

    /// The shredded segments of the time asked for that were passed over since this was last asked.
    pub fn take_shredded(&mut self) -> Vec<Retired> {
        match &mut self.0 {
            Way::Planned(planned) => planned.search.take_shredded(),
            Way::Scanned(scan) => scan.take_shredded(),
            Way::Asked(_) => Vec::new(),
        }
    }

    /// Ends the answer before its end; at its end, [`Query::look`] does this itself.
    ///
    /// # Errors
    /// [`LogError`]: damage that was met behind the answers given out, which may lack their outcomes.
    pub fn end(&mut self) -> Result<(), LogError> {
        match &mut self.0 {
            Way::Planned(planned) => planned.search.end(),
            // Reading in order, it gave out nothing but what it had read up to.
            Way::Asked(_) | Way::Scanned(_) => Ok(()),
        }
    }

    /// Looks at one record.
    ///
    /// # Errors
    /// [`ShowError`] for a log or a record that cannot be read.
    pub fn look(&mut self) -> Result<Look, ShowError> {
        match &mut self.0 {
            Way::Asked(asked) => {
                let (index, filter, to) = &**asked;
                let begun = if filter.is_empty() {
                    Self::scanned(index, filter.clone(), *to)?
                } else {
                    let (search, filter) = (Search::new(index, filter, *to)?, filter.clone());
                    Self(Way::Planned(Box::new(Planned { search, filter })))
                };
                *self = begun;
                Ok(Look::Nothing)
            }
            Way::Planned(planned) => planned.look(),
            Way::Scanned(scan) => scan.look(),
        }
    }
}

impl Planned {
    fn look(&mut self) -> Result<Look, ShowError> {
        let Some(hit) = self.search.next_hit()? else {
            return Ok(Look::End);
        };
        let end = match hit.entry.phase {
            Phase::Admit if self.filter.selects(&hit.entry) => self.end_of(&hit)?,
            Phase::Refuse | Phase::Event if self.filter.selects(&hit.entry) => None,
            Phase::Admit | Phase::Refuse | Phase::Event | Phase::Outcome => {
                return Ok(Look::Nothing);
            }
        };
        let outcome = end.as_ref().map(|end| &end.outcome);
        if !self.filter.wants(&hit.entry, outcome) {
            return Ok(Look::Nothing);
        }
        Ok(Look::Answer(Box::new(Joined {
            seq: hit.seq,
            entry: hit.entry,
            end,
        })))
    }

    fn end_of(&mut self, hit: &Hit) -> Result<Option<Ended>, ShowError> {
        let found = self.search.outcome_of(hit)?;
        Ok(found.and_then(|(seq, entry)| {
            Some(Ended {
                seq,
                time: entry.time,
                outcome: entry.outcome?,
            })
        }))
    }
}
