//! What people do with a running gateway that acts on the stages from above: only through the store, the policies in
//! force and the trail.

pub mod break_glass;
pub mod permissions;
