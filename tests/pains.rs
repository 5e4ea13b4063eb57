//! What users of other gateways suffer from, each as a test that bears its number.
mod sessions;
