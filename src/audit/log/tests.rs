//! The log as a whole: round trips, crashes at every operation, failing disks, altered copies.

mod altered;
mod crash;
mod faults;
mod forged;
mod format1;
mod harness;
mod late;
mod live;
mod proofs;
mod retired;
mod scope;
mod shredded;
mod stall;
