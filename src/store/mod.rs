//! Shared state behind one contract: small values by table and key, sealed one by one.
//!
//! *Owns*: sessions, login state, revocations, EMR session bindings.
//! *Never*: a value in clear on disk, a token as a key (callers hash first), "not found" for "unreachable".
//! *On failure*: [`StoreError`]; the caller refuses with `CG-6002`.

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or its file cannot be read or written.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A value does not open under its key: damaged, moved, or sealed with another key.
    #[error("a value in table {table} cannot be opened")]
    Sealed {
        /// The table.
        table: &'static str,
    },
}
