//! Detection of misuse: rules over the trail, off the request path.
//!
//! *Owns*: the windows of the rules, what users are known by, the position on the trail.
//! *Never*: in the way of a request; an alarm twice for the same record, whatever crashes in between.
//! *On failure*: it falls behind, says so in `chartgate status`, and goes on where it was.

pub mod alarm;
mod condition;
pub mod detector;
pub mod engine;
pub mod examples;
pub mod fields;
mod flatten;
mod habits;
mod matcher;
mod memory;
mod read;
mod recent;
pub mod rule;
pub mod ruleset;
mod window;
mod yaml;

pub use alarm::{Alarm, Responder};
pub use detector::{Detector, State};
pub use flatten::Flattener;
pub use rule::{Level, Response, Rule};
pub use ruleset::{RuleSet, RulesError};
