//! What the request means clinically: EMR profiles turn routes into actions on patients.
//!
//! [`emrs::Emrs::map`] is the stage of the request path, [`classify::classify`] its counterpart on the way back.
//!
//! *Owns*: the profiles, and which gateway session obtained which EMR session.
//! *Never*: a hospital's decision (that is policy), a repair of what has two readings.

mod answer;
mod appear;
pub mod bindings;
mod choose;
pub mod classify;
mod content;
mod cookies;
pub mod departing;
pub mod emrs;
mod fields;
mod form;
#[cfg(fuzzing)]
pub mod fuzzing;
mod id;
mod inspection;
mod json;
pub mod lessons;
mod links;
pub mod listeners;
pub mod map;
mod overrides;
mod patches;
mod pattern;
pub mod profile;
pub mod rehearse;
mod sessions;
pub mod set_cookie;
mod sticky;
#[cfg(test)]
mod tests;

pub use emrs::{Emr, Emrs};
pub use profile::Profile;
pub use set_cookie::harden_set_cookie;
