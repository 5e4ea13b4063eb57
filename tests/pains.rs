//! What users of other gateways report again and again: each recurring pain has a test of its number.

mod provider;
