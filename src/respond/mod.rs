//! What the client sees.
//!
//! *Never*: internal text; an answer to a refusal that is not on record (except the fixed 503 of a trail that is down).

pub mod refused;
