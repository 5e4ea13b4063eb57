//! The gateway's own pages for people who are signed in: which there are is said by the rooms that answer them.
//!
//! A desk answers identified visitors only; what it answers is on record before it is sent.

pub mod offers;
pub mod page;

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::identity::identify::Identified;
use crate::request::{Handled, Refused, Target};

/// A room that answers pages under `/.chartgate/`.
pub trait Desk: Send + Sync + std::fmt::Debug {
    /// Whether `path`, spelled exactly so, is one of its pages. MUST NOT claim a path of sign-in or of another desk.
    fn owns(&self, path: &str) -> bool;

    /// Answers a visitor. A change MUST be asked for by `POST`: the screen has then checked where it comes from.
    ///
    /// # Errors
    /// [`Refused`], to be recorded and answered like any other.
    fn answer(&self, visitor: Identified) -> LocalBoxFuture<'_, Result<Handled, Refused>>;
}

/// All desks.
#[derive(Debug, Default, Clone)]
pub struct Desks(Vec<Arc<dyn Desk>>);

impl Desks {
    /// These desks.
    #[must_use]
    pub const fn new(desks: Vec<Arc<dyn Desk>>) -> Self {
        Self(desks)
    }

    /// The desk whose page `target` names.
    #[must_use]
    pub fn at(&self, target: &Target) -> Option<Arc<dyn Desk>> {
        self.0.iter().find(|desk| desk.owns(target.path())).cloned()
    }
}
