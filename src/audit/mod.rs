//! The trail: every request before it is forwarded, and what became of it.
//!
//! [`log`] is the layer of bytes: encrypted, chained, durable. Everything else here says what the bytes mean.

pub mod admit;
pub mod answers;
pub mod archived;
pub mod csv;
mod deferred;
pub mod disclosed;
pub mod entry;
pub mod events;
pub mod export;
pub mod filter;
#[cfg(test)]
pub(crate) mod fixture;
pub mod follow;
pub mod handled;
pub mod hold;
pub mod index;
pub mod links;
pub mod log;
pub mod minimise;
pub mod named;
pub mod open;
pub mod outcome;
pub mod query;
pub mod recall;
pub mod refuse;
pub mod report;
pub mod retention;
pub mod shipped;
pub mod show;
mod summed;
mod tally;
pub mod trail;
pub mod witnesses;
