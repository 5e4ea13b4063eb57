//! The way to the EMR.
