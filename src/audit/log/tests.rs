//! The log as a whole: round trips, crashes at every operation, failing disks, altered copies.

mod altered;
mod crash;
mod faults;
mod harness;
mod live;
mod retired;
mod stall;
