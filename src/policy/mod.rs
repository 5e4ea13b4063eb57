//! Who may do which clinical action, in which circumstances: Cedar.
//!
//! A [`bundle`] is read and checked as a whole, [`compile`]d into slices that hold only the policies that can
//! matter, and asked [`question`]s by the [`decide`] stage, which remembers the answers of one generation.
//!
//! *Owns*: the compiled bundle in force and its decision memo; the standing (lockdown, grants, training) in force; the
//! reasons that were stated; the candidate in the [`shadow`].
//! *Never*: a permit from an evaluation that had an error, nor from a bundle that had a problem.
//! *On failure*: a bundle with problems does not load; a decision with errors refuses (`CG-3002`).

mod about;
pub mod attribute;
pub mod bundle;
pub mod calendars;
pub mod care;
pub mod compile;
mod contradiction;
pub mod courses;
pub mod decide;
pub mod explain;
mod files;
mod given;
mod lean;
pub mod manifest;
pub mod memo;
mod named;
pub mod networks;
pub mod obligation;
pub mod problem;
pub mod question;
pub mod reads;
pub mod reasons;
pub mod remind;
pub mod replay;
mod restraint;
pub mod roles;
pub mod rule;
mod rules;
pub mod scene;
pub mod shadow;
pub mod situation;
pub mod space;
pub mod standing;
pub mod tables;
pub mod vocabulary;

#[cfg(test)]
mod tests;
