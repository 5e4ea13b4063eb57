//! The key of the index: random, wrapped by the master key, in `<trail>/index/key`.
//!
//! Where it is lost or belongs to another master key there is a new one, and the index is made again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::term::Terms;
use super::{Index, lock, sheet};
use crate::audit::log::{Access, CryptError, DerivedKey, LogError, ReadAt};

const NAME: &str = "key";
/// The file has about 200 bytes.
const LIMIT: usize = 4096;

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct Wrapped {
    master_key: String,
    wrapped_key: String,
}

/// The key, and what is made of it.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) key: Arc<DerivedKey>,
    pub(super) terms: Arc<Terms>,
}

impl Index {
    /// The key; made where there is none that can be used.
    ///
    /// # Errors
    /// [`LogError::Crypt`] where the system has no randomness.
    pub(super) fn keys(&self) -> Result<Arc<Keys>, LogError> {
        let mut kept = lock(&self.0.keys);
        if let Some(keys) = &*kept {
            return Ok(Arc::clone(keys));
        }
        let key = match self.read_key() {
            Some(key) => key,
            None => self.new_key().map_err(failed)?,
        };
        let terms = Arc::new(Terms::new(&key).map_err(failed)?);
        let key = Arc::new(key);
        let keys = Arc::new(Keys { key, terms });
        *kept = Some(Arc::clone(&keys));
        Ok(keys)
    }

    fn read_key(&self) -> Option<DerivedKey> {
        let path = self.0.folder.join(NAME);
        let file = self.0.files.open(&path, Access::Read).ok()?;
        let size = usize::try_from(file.size().ok()?).ok()?;
        let mut bytes = vec![0; size.min(LIMIT)];
        let count = ReadAt::read_at(&*file, 0, &mut bytes).ok()?;
        let wrapped: Wrapped = serde_json::from_slice(bytes.get(..count)?).ok()?;
        DerivedKey::unwrap(&self.0.master, &wrapped.master_key, &wrapped.wrapped_key).ok()
    }

    /// What was sealed under the key before is of no use any more.
    fn new_key(&self) -> Result<DerivedKey, CryptError> {
        let key = DerivedKey::generate()?;
        let (master_key, wrapped_key) = key.wrap(&self.0.master)?;
        let wrapped = Wrapped {
            master_key,
            wrapped_key,
        };
        let text = serde_json::to_vec(&wrapped).ok().ok_or(CryptError)?;
        let path = self.0.folder.join(NAME);
        let written = self
            .0
            .files
            .create_dir(&self.0.folder)
            .and_then(|()| sheet::write(&*self.0.files, &path, &text));
        if let Err(error) = written {
            // The index then serves this process only; the next one finds that it does not open, and makes it again.
            tracing::warn!(%error, "the key of the trail's index could not be kept");
        }
        Ok(key)
    }
}

fn failed(source: CryptError) -> LogError {
    LogError::Crypt {
        what: "making the key of the index",
        source,
    }
}
