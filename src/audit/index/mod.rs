//! The index of the trail: which records are about a patient, by a user, of an action, and so on, without reading the trail.
//!
//! It is derived from the trail and nothing else, can be made again at any time, and is sealed like it. Each closed
//! segment has an immutable file of terms (`part`), sixteen of them a catalog (`catalog`); the segment that is
//! written has its part in memory. A question (`search`) opens what can match and nothing else.
//!
//! *Owns*: `<trail>/index`, the part in memory, and what of the files is kept open.
//! *Never*: an answer by its word alone: it says where to look, the record that is opened there says what is so. A
//! record that it cannot place (unreadable, of a later version) is looked at by every question.
//! Of a shredded segment it holds nothing, and questions pass over it.
//! *On failure*: a file that is missing, damaged or of another trail is as if it were not there: the segment is read
//! through instead, which the answer says, and the file is made again.

mod build;
mod catalog;
mod groups;
mod keep;
mod keys;
mod live;
mod part;
mod reindex;
mod search;
mod sheet;
mod shredded;
mod store;
mod term;
mod view;
mod walk;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
pub(crate) mod testing;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use reindex::{Progress, Reindex};
pub use search::{Hit, Records, Search};
use uuid::Uuid;

use super::log::{Files, LogError, MasterKey, Retired, Shelf, Shelved};
use keys::Keys;
use live::Live;
use store::Sheets;

/// Where the index is, below the trail's directory.
const FOLDER: &str = "index";

/// The index of a trail; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Index(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Arc<dyn Files>,
    trail: PathBuf,
    folder: PathBuf,
    master: Arc<MasterKey>,
    shelf: Shelf,
    keys: Mutex<Option<Arc<Keys>>>,
    sheets: Mutex<Sheets>,
    live: Mutex<Option<Live>>,
    /// Segments that are known to be shredded.
    shredded: Mutex<BTreeMap<Uuid, Retired>>,
    /// Held while a segment is read through or a catalog is made: one at a time.
    making: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    /// The index of the trail in `directory`. Nothing is read yet.
    #[must_use]
    pub fn new(files: Arc<dyn Files>, directory: &Path, master: Arc<MasterKey>) -> Self {
        Self(Arc::new(Shared {
            files,
            trail: directory.to_owned(),
            folder: directory.join(FOLDER),
            master,
            shelf: Shelf::default(),
            keys: Mutex::default(),
            sheets: Mutex::default(),
            live: Mutex::default(),
            shredded: Mutex::default(),
            making: Mutex::default(),
        }))
    }

    /// The trail's segments, in order. The headers of those that are known are not read again.
    ///
    /// # Errors
    /// [`LogError`] for a segment that is missing, replaced or unreadable.
    pub fn segments(&self) -> Result<Vec<Shelved>, LogError> {
        self.0.shelf.segments(&*self.0.files, &self.0.trail)
    }

    /// What the trail's files are read with.
    pub(super) fn files(&self) -> (&Arc<dyn Files>, &Path, &Arc<MasterKey>) {
        (&self.0.files, &self.0.trail, &self.0.master)
    }
}
