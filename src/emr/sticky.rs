//! The patient that is selected in one EMR session, which later requests do not name.
//!
//! *Owns*: the selection, in memory only: after a restart nobody is selected.
//! *On failure*: nobody is selected, and what needs a patient is refused.
//!
//! INVARIANT: while a request that depends on the selection is at the EMR, no change of it is; while a change is,
//! nobody counts as selected, and nobody does afterwards unless the EMR's answer showed that the change worked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::request::facts::{PatientRef, PatientSource};

/// A change waited too long for requests that depend on the selection, or for another change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the EMR session is busy with requests about another patient")]
pub(super) struct SessionBusy;

/// Who is selected.
#[derive(Debug, Default)]
pub(super) struct Sticky {
    gate: Arc<RwLock<()>>,
    selection: Mutex<Selection>,
}

#[derive(Debug, Default)]
struct Selection {
    version: u64,
    patient: Option<PatientRef>,
}

impl Sticky {
    /// Holds the selection as it is until the guard is dropped; `None` while nobody is known to be selected.
    ///
    /// SECURITY: a page for one patient, loading while another is being selected, may show or change either; it
    /// is refused rather than decided on a guess.
    pub(super) fn depend(self: &Arc<Self>) -> Option<Dependence> {
        let guard = Arc::clone(&self.gate).try_read_owned().ok()?;
        let patient = self.lock().patient.clone()?;
        Some(Dependence {
            patient,
            _guard: guard,
        })
    }

    /// Waits for everything that depends on the selection, then holds it alone.
    pub(super) async fn change(self: &Arc<Self>, wait: Duration) -> Result<Change, SessionBusy> {
        let gate = Arc::clone(&self.gate).write_owned();
        let guard = tokio::time::timeout(wait, gate)
            .await
            .ok()
            .ok_or(SessionBusy)?;
        Ok(Change {
            sticky: Arc::clone(self),
            begun: None,
            _guard: guard,
        })
    }

    /// Takes note of a patient whose selection opened this EMR session.
    pub(super) fn start_with(&self, patient: PatientRef) {
        let mut selection = self.lock();
        if selection.version == 0 {
            *selection = Selection {
                version: 1,
                patient: Some(as_sticky(patient)),
            };
        }
    }

    /// Nobody counts as selected any more, whatever is under way.
    pub(super) fn clear(&self) {
        let mut selection = self.lock();
        selection.version = selection.version.saturating_add(1);
        selection.patient = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Selection> {
        self.selection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The selection cannot change while this exists.
#[derive(Debug)]
pub(super) struct Dependence {
    patient: PatientRef,
    _guard: OwnedRwLockReadGuard<()>,
}

impl Dependence {
    /// Who is selected.
    pub(super) const fn patient(&self) -> &PatientRef {
        &self.patient
    }
}

/// The right to change the selection. Dropped before [`Change::begin`] it changes nothing; dropped afterwards,
/// nobody is selected.
#[derive(Debug)]
pub(super) struct Change {
    sticky: Arc<Sticky>,
    begun: Option<u64>,
    _guard: OwnedRwLockWriteGuard<()>,
}

impl Change {
    /// The change goes to the EMR: from now on nobody is known to be selected.
    pub(super) fn begin(&mut self) {
        let mut selection = self.sticky.lock();
        selection.version = selection.version.saturating_add(1);
        selection.patient = None;
        self.begun = Some(selection.version);
    }

    /// The EMR's answer showed that `patient` is selected now.
    pub(super) fn succeed(self, patient: PatientRef) {
        let mut selection = self.sticky.lock();
        if self.begun == Some(selection.version) {
            selection.patient = Some(as_sticky(patient));
        }
    }
}

fn as_sticky(patient: PatientRef) -> PatientRef {
    PatientRef {
        source: PatientSource::Sticky,
        ..patient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_mins(1);

    fn patient(id: &str) -> PatientRef {
        PatientRef {
            system: "urn:x".into(),
            id: id.into(),
            source: PatientSource::Request,
        }
    }

    fn selected(sticky: &Arc<Sticky>) -> Option<String> {
        sticky.depend().map(|held| held.patient().id.clone())
    }

    async fn select(sticky: &Arc<Sticky>, id: &str) {
        let mut change = sticky.change(NO_WAIT).await.unwrap();
        change.begin();
        change.succeed(patient(id));
    }

    #[tokio::test]
    async fn nobody_is_selected_until_a_selection_succeeded() {
        let sticky = Arc::new(Sticky::default());
        assert_eq!(selected(&sticky), None);
        let mut change = sticky.change(NO_WAIT).await.unwrap();
        change.begin();
        assert_eq!(selected(&sticky), None, "in flight");
        change.succeed(patient("4"));
        assert_eq!(selected(&sticky).as_deref(), Some("4"));
        assert_eq!(
            sticky.depend().unwrap().patient().source,
            PatientSource::Sticky
        );
    }

    #[tokio::test]
    async fn an_aborted_change_leaves_nobody_and_an_unsent_one_changes_nothing() {
        let sticky = Arc::new(Sticky::default());
        select(&sticky, "4").await;
        drop(sticky.change(NO_WAIT).await.unwrap());
        assert_eq!(selected(&sticky).as_deref(), Some("4"), "never sent");
        let mut change = sticky.change(NO_WAIT).await.unwrap();
        change.begin();
        drop(change);
        assert_eq!(selected(&sticky), None, "sent, outcome unknown");
    }

    #[tokio::test]
    async fn a_change_waits_for_dependents_and_excludes_new_ones() {
        let sticky = Arc::new(Sticky::default());
        select(&sticky, "4").await;
        let held = sticky.depend().unwrap();
        let also = sticky.depend().unwrap();
        assert_eq!(sticky.change(NO_WAIT).await.err(), Some(SessionBusy));
        let other = Arc::clone(&sticky);
        let waiting = tokio::spawn(async move {
            let mut change = other.change(LONG).await.unwrap();
            change.begin();
            change.succeed(patient("5"));
        });
        tokio::task::yield_now().await;
        assert_eq!(selected(&sticky), None, "a change is waiting");
        drop(held);
        drop(also);
        waiting.await.unwrap();
        assert_eq!(selected(&sticky).as_deref(), Some("5"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn selections_are_serialised() {
        let sticky = Arc::new(Sticky::default());
        let tasks: Vec<_> = (0..50)
            .map(|id| {
                let sticky = Arc::clone(&sticky);
                tokio::spawn(async move {
                    let mut change = sticky.change(LONG).await.unwrap();
                    change.begin();
                    assert!(sticky.depend().is_none());
                    tokio::task::yield_now().await;
                    if id % 2 == 0 {
                        change.succeed(patient(&id.to_string()));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(sticky.lock().version, 50);
    }
}
