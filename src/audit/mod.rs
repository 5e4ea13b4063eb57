//! The trail: every request before it is forwarded, and what became of it.
//!
//! [`log`] is the layer of bytes: encrypted, chained, durable. Everything else here says what the bytes mean.

pub mod admit;
pub mod entry;
pub mod follow;
pub mod handled;
pub mod log;
pub mod open;
pub mod outcome;
pub mod refuse;
pub mod show;
mod summed;
mod tally;
pub mod trail;
