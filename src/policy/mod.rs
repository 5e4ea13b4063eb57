//! Who may do which clinical action, in which circumstances: Cedar.

pub mod decide;
