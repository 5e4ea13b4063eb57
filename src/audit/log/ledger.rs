//! What is open at the writer's place in the log: each new segment begins with it, so that the next start reads that
//! segment and not the whole run.
//!
//! *Owns*: the identifiers of open matters, at most as many as there are slots: whoever opens one holds a slot for its
//! end.
//! *Never*: says what is open before the run has settled what earlier ones left open.

use std::collections::BTreeSet;

use uuid::Uuid;

/// What a record does to what is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing: it says what is open.
    Carries,
    /// It ends the matter of this identifier.
    Closes(Uuid),
    /// Nothing.
    #[default]
    Neither,
    /// It begins a matter of this identifier.
    Opens(Uuid),
    /// Behind it nothing is open but what this run opened.
    Settles,
}

/// What is open behind the records that were written.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: BTreeSet<Uuid>,
    settled: bool,
}

impl Ledger {
    /// A record became durable.
    pub(super) fn note(&mut self, mark: Mark) {
        match mark {
            Mark::Closes(id) => {
                self.open.remove(&id);
            }
            Mark::Carries | Mark::Neither => {}
            Mark::Opens(id) => {
                self.open.insert(id);
            }
            Mark::Settles => self.settled = true,
        }
    }

    /// What is open, where all of it is known.
    pub(super) fn open(&self) -> Option<&BTreeSet<Uuid>> {
        self.settled.then_some(&self.open)
    }
}
