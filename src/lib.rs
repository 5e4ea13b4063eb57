//! Chartgate: a security gateway in front of an electronic medical record (EMR) that can be
//! neither modified nor replaced.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clock;
pub mod demo;
