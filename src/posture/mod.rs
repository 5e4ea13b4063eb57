//! How safe the gateway itself is: what it is built from, and whether any of that is known to be vulnerable.
//!
//! *Owns*: the list of components that this build carries; the newest comparison with an advisory feed.
//! *Never*: asks the network. A feed is a file that the hospital brings in its own way.

pub mod advisories;
pub mod sbom;
pub mod updates;
