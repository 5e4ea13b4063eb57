//! Limits: before any disk or crypto per address, after the decision per user and kind of action.
//!
//! *Owns*: the governor maps.

mod allowances;
pub mod browsers;
pub mod charge;
pub mod keyed;
pub mod screen;
