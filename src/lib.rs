//! Chartgate: a security gateway in front of an EMR.

pub mod audit;
pub mod clock;
pub mod secret;
