//! Shredding: the records of segments become unreadable, here and in every copy, while their files go on proving the rest.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Bars, Expired, Found, Kept, RetentionError, Why};
use crate::audit::answers::Holdings;
use crate::audit::hold::Held;
use crate::audit::log::{Fate, Header, LogError, Retired, kept_through, shredded};

impl Bars {
    /// What is shredded cannot be looked through any more. Of single patients or users nothing is in it that could be
    /// kept; it stays where everything of its time is held.
    pub(super) fn hold_unseen(&self, expired: &[Expired], held: &mut Held) {
        let mut begun = Timestamp::MIN;
        for (index, segment) in expired.iter().enumerate() {
            if segment.shredded.is_some() {
                let on_it = self.book.in_force().filter(|hold| {
                    let scope = &hold.scope;
                    scope.patient.is_none()
                        && scope.user.is_none()
                        && scope.since.is_none_or(|since| since <= segment.newest)
                        && scope.until.is_none_or(|until| until >= begun)
                });
                held.segments.extend(on_it.map(|hold| (index, hold.id)));
            }
            begun = segment.newest;
        }
    }
}

impl Holdings {
    /// The segments that are shredded: when that was, and when each had ended.
    pub(super) fn shredded(
        &self,
        headers: &[Header],
    ) -> Result<BTreeMap<Uuid, (Timestamp, Timestamp)>, LogError> {
        let notes = shredded(&*self.files, &self.directory, headers.iter())?;
        let notes: BTreeMap<Uuid, Timestamp> = notes
            .into_iter()
            .map(|note| (note.segment, note.time))
            .collect();
        let followed = headers.iter().zip(headers.iter().skip(1));
        let known = followed.filter_map(|(header, next)| {
            let time = notes.get(&header.segment)?;
            Some((header.segment, (*time, next.created)))
        });
        Ok(known.collect())
    }

    /// A segment that was shredded at `time` and had ended at `end`.
    pub(super) fn unseen(&self, segment: Retired, time: Timestamp, end: Timestamp) -> Expired {
        Expired {
            segment,
            newest: end,
            kept_through: kept_through(end, self.years),
            shredded: Some(time),
        }
    }

    /// Leaves of what was found what can be shredded; says what stays because it has no key of its own.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub fn shreddable(&self, found: &mut Found) -> Result<Vec<Kept>, RetentionError> {
        let headers = self.headers()?;
        let keyless = headers.iter().filter(|header| header.segment_key.is_none());
        let keyless: BTreeSet<Uuid> = keyless.map(|header| header.segment).collect();
        let mut kept: Option<Kept> = None;
        found.expired.retain_mut(|expired| {
            if expired.shredded.is_some() {
                return false;
            }
            if !keyless.contains(&expired.segment.segment) {
                expired.segment.fate = Fate::Shredded;
                return true;
            }
            match &mut kept {
                Some(kept) => kept.behind = kept.behind.saturating_add(1),
                None => {
                    kept = Some(Kept {
                        segment: expired.segment.clone(),
                        why: Why::Keyless,
                        behind: 0,
                    });
                }
            }
            false
        });
        Ok(kept.into_iter().collect())
    }
}
