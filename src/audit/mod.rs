//! The trail: what was admitted, refused and answered, durable before it happens.

pub mod log;
