//! The trail on its way to others: each sink follows it with a position of its own.
//!
//! The trail on the disk is the queue, so nothing is held in memory beyond a batch, and a sink that is down for a week
//! gets everything once it is back. A record may arrive twice and is never left out: the position moves on only when the
//! receiver took what stands before it, or refused it for good. Syslog over TLS has no acknowledgement (RFC 5425, 6):
//! after each connection that broke, and after each restart that was none in good order, what was written in the last
//! minute is written again.
//!
//! *Owns*: each sink's position (in the store).
//! *Never*: in the way of a request; a record passed over, unless the receiver refused it for good, beside others that it
//! took, and that is on record.
//! *On failure*: it tries again, slower and slower, for ever; a sink that lags raises an alarm, on record.

mod channel;
mod delivery;
mod https;
mod join;
mod otlp;
mod position;
mod protobuf;
mod report;
mod room;
mod sender;
mod syslog;

pub use room::{Condition, Ground, ShipError, Shipping, probe};
