//! What became of checkpoints that are not in the log.

use std::collections::HashSet;

use uuid::Uuid;

use super::notes::{OWN, Wanted};
use super::{Check, DAY};
use crate::audit::log::loss;
use crate::audit::log::report::{Damage, Fault, Notice};

impl Check<'_> {
    /// Reports checkpoints that are not in the log.
    pub(super) fn missing_checkpoints(&mut self) {
        let missing = self.notes.take_missing();
        let own: HashSet<Uuid> = missing
            .iter()
            .filter(|missing| missing.holder == OWN)
            .map(|missing| missing.checkpoint.segment)
            .collect();
        for missing in missing {
            if self.is_explained(&missing) {
                continue;
            }
            let (first_bad, fault, damage) = self.judged(&missing, &own);
            let shown = (
                self.notes.place(missing.holder),
                missing.checkpoint.sequence,
            );
            self.report.add_shown(first_bad, shown, fault, damage);
        }
    }

    /// Whether a loss that something signed vouches for, or a removal, is why.
    fn is_explained(&self, missing: &Wanted) -> bool {
        let is_there = |id| self.known.contains(&id);
        let mut signed = self.losses.iter().take(self.signed_losses);
        let mut retired = self.retired.iter();
        signed.any(|header| loss::explains(header, &missing.checkpoint, is_there))
            || retired.any(|note| missing.is_explained_by(note, DAY))
    }

    /// The first record in doubt, and why; `own` are segments whose own checkpoints were not found either.
    fn judged(&self, missing: &Wanted, own: &HashSet<Uuid>) -> (u64, Fault, Damage) {
        let (sequence, segment) = (missing.checkpoint.sequence, missing.checkpoint.segment);
        let last = self.report.last;
        let closed = self.sealed.contains(&segment);
        let behind = sequence > last || (sequence == last && !closed);
        match self.broken {
            Some(broken) if broken <= sequence.saturating_add(1) => {
                // The break already explains it.
                (broken, Fault::Contradicted, Damage::Replaced)
            }
            Some(_) | None if behind => {
                let explained = self.notes.cut_or_rolled_back(last);
                let damage = self.torn.unwrap_or(explained);
                (last.saturating_add(1), Fault::Truncated, damage)
            }
            Some(_) | None => {
                let sure = self.notes.sure_before(missing);
                // Where its segment never was in this log, the log went another way from an older state on; not where
                // the log's own checkpoints know the segment, or the log goes on as the same holder saw it.
                let was_there = self.known.contains(&segment) || own.contains(&segment);
                let damage = if was_there || self.notes.goes_on(missing) {
                    Damage::Replaced
                } else {
                    Damage::RolledBack
                };
                (sure.saturating_add(1), Fault::Contradicted, damage)
            }
        }
    }

    /// Puts every loss that is on record into the report, with whether something signed vouches for it.
    pub(super) fn note_losses(&mut self) {
        let signed = self.signed_losses;
        let losses = self.losses.iter().enumerate();
        let notices = losses.filter_map(|(index, header)| {
            Some(Notice::AcceptedLoss {
                loss: header.accepted_loss.clone()?,
                segment: header.number,
                signed: index < signed,
            })
        });
        self.report.notices.extend(notices);
    }
}
