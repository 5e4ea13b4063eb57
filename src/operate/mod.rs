//! What people do with a running gateway that acts on the stages from above.

pub mod break_glass;
