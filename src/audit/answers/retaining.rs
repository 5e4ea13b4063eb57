//! A question about retention on its way: what is old enough, what keeps it, and its removal.

use jiff::Timestamp;

use super::ask::Piece;
use super::holdings::Holdings;
use crate::audit::retention::{Bars, Found, RetentionError};
use crate::audit::trail::Audit;

#[derive(Debug)]
pub(super) struct Retaining {
    /// Where it is to be removed: the newest record of the moment.
    apply: Option<u64>,
    holdings: Holdings,
    bars: Bars,
    now: Timestamp,
    found: Option<Found>,
}

impl Retaining {
    pub(super) const fn new(
        apply: Option<u64>,
        holdings: Holdings,
        bars: Bars,
        now: Timestamp,
    ) -> Self {
        Self {
            apply,
            holdings,
            bars,
            now,
            found: None,
        }
    }

    pub(super) fn step(&mut self) -> Result<Option<Vec<Piece>>, RetentionError> {
        if self.found.is_some() {
            return Ok(None);
        }
        let found = self.holdings.expired(self.now, &self.bars)?;
        if let Some(through) = self.apply
            && !found.expired.is_empty()
        {
            self.holdings.remembered(through, &self.bars)?;
        }
        let mut pieces = vec![Piece::Age(self.holdings.age(self.now)?)];
        pieces.extend(found.expired.iter().cloned().map(Piece::Expired));
        pieces.extend(found.kept.clone().map(Piece::Kept));
        self.found = Some(found);
        Ok(Some(pieces))
    }

    /// Removes what was found, if that was asked for; says how many segments went.
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
