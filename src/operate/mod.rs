//! What is done above the stages while the gateway runs: it acts on them only through the store, the policies in force
//! and the trail.

pub mod permissions;
