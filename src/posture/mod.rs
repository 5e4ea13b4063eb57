//! How safe the gateway itself is: what it is built from, whether any of that is known to be vulnerable, and whether
//! it is configured and run as the rules ask, check by check.
//!
//! *Owns*: the list of components that this build carries; the newest comparison with an advisory feed; the checks,
//! and what the newest assessment came to.
//! *Never*: asks the network for advisories (a feed is a file that the hospital brings in its own way); changes
//! anything that it looks at.

pub mod advisories;
pub mod assessments;
pub mod checks;
pub mod controls;
pub mod facts;
pub mod gather;
pub mod report;
pub mod running;
pub mod sbom;
pub mod updates;
