//! Connections to everything that is no EMR (identity provider, webhooks, object stores, key services, log servers).

mod client;
mod error;
pub mod kms;
pub mod s3;
pub mod sigv4;
pub mod syslog;
#[cfg(test)]
mod tests;
mod trust;

pub use self::client::{HttpClient, is_this_machine};
pub use self::error::HttpError;
pub use self::trust::private_roots;
