//! What a home of the store must do; it sees keys, expiry and sealed bytes, never a value.

use std::fmt;
use std::path::PathBuf;

use futures_util::future::BoxFuture;

use super::StoreError;

/// A table of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Gateway sessions, by hash of the token.
    Sessions,
    /// Sign-ins that were started and not finished, by hash of state and browser.
    Logins,
    /// EMR sessions and the gateway sessions they belong to, by hash of the EMR's cookie.
    Bindings,
    /// What was used or revoked and must not be accepted again.
    Revocations,
    /// Facts about the store itself.
    Meta,
    /// Break-glass grants and their reviews, by id.
    Grants,
    /// Mass-casualty events that are declared, by id.
    Declarations,
    /// The lockdown in force, by scope.
    Lockdowns,
    /// Users who are locked out, by user id.
    Locks,
    /// Cases and incidents, by number.
    Cases,
    /// Attestations of courses, by user and course.
    Training,
    /// Who works here, as directory and personnel system say it.
    Provisioned,
    /// When what was last done: reviews, backups, drills, checks.
    Upkeep,
    /// Last sign-ins, failed ones since, and sessions, by user.
    Visits,
    /// Second factors and invitations to enrol one, by hash of the account.
    Factors,
    /// Access tokens, API clients and subjects that are revoked, by hash.
    Tokens,
    /// Forms that wait for their user, by id; and whose the sessions were that ended by themselves lately.
    Held,
    /// Refresh tokens of sessions and what they last gave, by hash of the session's token; who is at it now. Keys of
    /// devices that sessions are bound to, by the session's fingerprint.
    Renewals,
    /// Sealed emergency accounts, by name.
    Emergency,
    /// The files of policy bundles that were in force, by SHA-256.
    Bundles,
}

impl Table {
    /// Every table.
    pub const ALL: &'static [Self] = &[
        Self::Sessions,
        Self::Logins,
        Self::Bindings,
        Self::Revocations,
        Self::Meta,
        Self::Grants,
        Self::Declarations,
        Self::Lockdowns,
        Self::Locks,
        Self::Cases,
        Self::Training,
        Self::Provisioned,
        Self::Upkeep,
        Self::Visits,
        Self::Factors,
        Self::Tokens,
        Self::Held,
        Self::Renewals,
        Self::Emergency,
        Self::Bundles,
    ];

    /// The table's name, part of what each value is sealed under.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Logins => "logins",
            Self::Bindings => "bindings",
            Self::Revocations => "revocations",
            Self::Meta => "meta",
            Self::Grants => "grants",
            Self::Declarations => "declarations",
            Self::Lockdowns => "lockdowns",
            Self::Locks => "locks",
            Self::Cases => "cases",
            Self::Training => "training",
            Self::Provisioned => "provisioned",
            Self::Upkeep => "upkeep",
            Self::Visits => "visits",
            Self::Factors => "factors",
            Self::Tokens => "tokens",
            Self::Held => "held",
            Self::Renewals => "renewals",
            Self::Emergency => "emergency",
            Self::Bundles => "bundles",
        }
    }

    /// Whether a new epoch ends what the table holds. Revocations outlive it.
    #[must_use]
    pub const fn ends_with_epoch(self) -> bool {
        match self {
            Self::Sessions | Self::Logins | Self::Bindings | Self::Held | Self::Renewals => true,
            Self::Revocations
            | Self::Emergency
            | Self::Meta
            | Self::Grants
            | Self::Declarations
            | Self::Lockdowns
            | Self::Locks
            | Self::Cases
            | Self::Training
            | Self::Provisioned
            | Self::Upkeep
            | Self::Bundles
            | Self::Factors
            | Self::Visits
            | Self::Tokens => false,
        }
    }
}

/// When a write survives a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before the call returns.
    Immediate,
    /// At the next durable write or sweep; a crash before that loses it.
    Relaxed,
}

/// What a conditional insertion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Insertion {
    /// There was no value; this one is stored now.
    Stored,
    /// There was a value, which stays.
    Present,
}

/// What a conditional replacement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Replacement {
    /// There was a value; this one is in its place.
    Replaced,
    /// There was no value, and there is none.
    Absent,
}

/// A sealed value as a home keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Expiry, Unix milliseconds. In clear, so that a home can sweep; authenticated by the seal.
    pub expires: i64,
    /// The sealed value.
    pub sealed: Vec<u8>,
}

/// One step of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepPage {
    /// How many cells were removed.
    pub removed: u64,
    /// Where the next step starts; `None` after the last.
    pub next: Option<String>,
}

/// A home of the store.
///
/// Every implementation MUST:
/// - answer `Ok(None)` only if it knows that there is no such cell, and [`StoreError::Unavailable`] if it cannot know;
/// - make `insert_if_absent`, `replace` and `take` atomic against every other operation, on every replica;
/// - treat a cell with `expires <= now` as absent in `insert_if_absent` and `replace`;
/// - let a read see every write that returned before it began;
/// - return from a write with [`Durability::Immediate`], and from `take`, `delete`, `sweep` and `sync`, only when it is
///   on stable storage;
/// - return keys of `scan` in ascending order, strictly after `after`, at most `limit` of them.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Reads a cell, expired or not.
    fn get(&self, table: Table, key: String) -> BoxFuture<'_, Result<Option<Cell>, StoreError>>;

    /// Writes a cell over any other.
    fn put(
        &self,
        table: Table,
        key: String,
        cell: Cell,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Writes a cell where there is none that is alive at `now`.
    fn insert_if_absent(
        &self,
        table: Table,
        key: String,
        cell: Cell,
        now: i64,
        durability: Durability,
    ) -> BoxFuture<'_, Result<Insertion, StoreError>>;

    /// Writes a cell where there is one that is alive at `now`.
    fn replace(
        &self,
        table: Table,
        key: String,
        cell: Cell,
        now: i64,
        durability: Durability,
    ) -> BoxFuture<'_, Result<Replacement, StoreError>>;

    /// Reads and deletes a cell in one step, durably.
    fn take(&self, table: Table, key: String) -> BoxFuture<'_, Result<Option<Cell>, StoreError>>;

    /// Deletes a cell, durably.
    fn delete(&self, table: Table, key: String) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Reads up to `limit` cells in key order.
    fn scan(
        &self,
        table: Table,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Cell)>, StoreError>>;

    /// Looks at up to `limit` cells in key order and removes those that expired by `now`.
    fn sweep(
        &self,
        table: Table,
        now: i64,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<SweepPage, StoreError>>;

    /// Writes a copy of every cell, as all of them were at one moment, to a new embedded database at `path`, which no
    /// other home has open. Takes as long as it takes; others read and write meanwhile.
    fn copy_to(&self, path: PathBuf) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Makes every earlier write durable.
    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
