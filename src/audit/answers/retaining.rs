//! A question about retention on its way: what is old enough, what keeps it, and its removal.

use jiff::Timestamp;

use super::ask::Piece;
use super::holdings::Holdings;
use super::{AnswerError, Answers, Work};
use crate::audit::log::Fate;
use crate::audit::retention::{Bars, Found, Kept, RetentionError};
use crate::audit::trail::Audit;

#[derive(Debug)]
pub(super) struct Retaining {
    /// What becomes of it.
    fate: Fate,
    /// Where that is to be done: the newest record of the moment.
    apply: Option<u64>,
    /// The last record that may go: what became old enough, or was set free, since it was shown stays.
    shown: Option<u64>,
    holdings: Holdings,
    bars: Bars,
    now: Timestamp,
    found: Option<Found>,
}

impl Answers {
    pub(super) async fn retaining(
        &self,
        fate: Fate,
        apply: Option<u64>,
        shown: Option<u64>,
    ) -> Result<Work, AnswerError> {
        Ok(Work::Retention(Box::new(Retaining {
            fate,
            apply,
            shown,
            holdings: self.holdings.clone(),
            bars: self.holdings.bars().await?,
            now: self.clock.now(),
            found: None,
        })))
    }
}

impl Retaining {
    pub(super) fn step(&mut self) -> Result<Option<Vec<Piece>>, RetentionError> {
        if self.found.is_some() {
            return Ok(None);
        }
        let mut found = self.holdings.expired(self.now, &self.bars)?;
        if let Some(shown) = self.shown {
            found
                .expired
                .retain(|expired| expired.segment.last <= shown);
        }
        let mut kept: Vec<Kept> = match self.fate {
            Fate::Removed => Vec::new(),
            Fate::Shredded => self.holdings.shreddable(&mut found)?,
        };
        kept.extend(found.kept.clone());
        if let Some(through) = self.apply
            && !found.expired.is_empty()
        {
            self.holdings.remembered(through, &self.bars)?;
        }
        let mut pieces = vec![Piece::Age(self.holdings.age(self.now)?)];
        pieces.extend(found.expired.iter().cloned().map(Piece::Expired));
        pieces.extend(kept.into_iter().map(Piece::Kept));
        self.found = Some(found);
        Ok(Some(pieces))
    }

    /// Removes or shreds what was found, if that was asked for; says how many segments that were.
    pub(super) async fn finish(
        self,
        audit: &Audit,
        operator: &str,
    ) -> Result<Option<usize>, RetentionError> {
        let expired = self.found.unwrap_or_default().expired;
        if self.apply.is_none() {
            return Ok(None);
        }
        let removal = (expired.as_slice(), &self.bars);
        self.holdings.retire(audit, operator, removal).await?;
        Ok(Some(expired.len()))
    }
}
