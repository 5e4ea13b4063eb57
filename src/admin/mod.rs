//! The operators' side of a running gateway: health and metrics over HTTP, and the socket behind the command line.
//!
//! *Never*: an answer over the socket to someone who is not a configured operator.

pub mod client;
pub mod health;
pub mod http;
mod line;
pub mod protocol;
pub mod socket;
