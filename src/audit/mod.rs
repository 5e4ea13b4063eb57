//! The trail: every request before it is forwarded, and what became of it.

pub mod admit;
pub mod outcome;
