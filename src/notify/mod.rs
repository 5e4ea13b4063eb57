//! Alarms out: whatever raises an alarm on the trail, it is sent to those who must know.
//!
//! Each receiver follows the trail with a position of its own: the trail is the queue, so nothing is held in memory
//! that could grow, and a receiver that is down for a day gets everything once it is back.
//! *Never*: in the way of a request; more about people than the receiver's configuration allows.
//! *On failure*: it tries again, slower and slower, for a day; then the alarm is passed over, on the log.

mod ask;
mod mail;
mod message;
mod room;
mod sender;
pub mod signature;

mod webhook;

pub use ask::{Answer, Ask};
pub use message::Message;
pub use room::{Condition, Ground, Notifier, NotifyError};
