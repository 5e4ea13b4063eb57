//! The command line of Chartgate.
fn main() {}
