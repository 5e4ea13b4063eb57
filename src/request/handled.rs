//! An answer that the gateway gives itself (sign-in, sign-out, keys), with the event that goes on record first.

use bytes::Bytes;
use http::Response;

use super::{Event, Facts};

/// In the record of a sign-in: until when the provider says that the user's training holds (RFC 3339).
pub const TRAINING_VALID_UNTIL: &str = "training_valid_until";

/// A request that the gateway answered itself.
#[derive(Debug)]
#[must_use]
pub struct Handled {
    /// What is known of the request.
    pub facts: Facts,
    /// What it was.
    pub event: Event,
    /// Its particulars, for the record.
    pub detail: std::collections::BTreeMap<String, String>,
    /// The answer, sent only once the event is on record.
    pub response: Response<Bytes>,
}
