//! The sample clinic: a development identity provider and a small legacy EMR, both in process.
//!
//! *Owns*: invented people, invented patients, and keys made at start.
//! *Never*: listens beyond loopback, holds real data, or is reached by `serve`.
//! *On failure*: the two servers end with an [`std::io::Error`]; nothing of theirs is persisted.

pub mod clinic;
pub mod issuer;
mod listen;
mod random;
mod recent;
pub mod sink;
#[cfg(test)]
mod testing;
pub mod users;

pub use self::random::RandomFailure;
