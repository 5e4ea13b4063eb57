//! What people do about what is seen: cases, containment, incidents.
//!
//! *Owns*: cases and incidents, locks, lockdowns; each in its table of the store, each change on record first.
//! *Never*: an act without a name behind it, be it an operator's or a rule's.

pub mod cases;

#[cfg(test)]
pub(crate) mod testing;
