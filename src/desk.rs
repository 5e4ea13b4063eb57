//! The gateway's own pages for people who are signed in: which there are is said by the rooms that answer them.
//!
//! A desk answers identified visitors only, a hatch other servers that prove themselves; what it answers is on record before it is sent.

pub mod offers;
pub mod page;

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::identity::identify::Identified;
use crate::limit::screen::Screened;
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

/// A room that answers another server (a directory), which proves itself in its own way and has no session.
pub trait Hatch: Send + Sync + std::fmt::Debug {
    /// Whether `path`, spelled exactly so, is one that it answers. MUST NOT claim a path of sign-in or of a desk.
    fn owns(&self, path: &str) -> bool;

    /// Answers a server. It MUST prove itself before anything else is done.
    ///
    /// # Errors
    /// [`Refused`], to be recorded and answered like any other.
    fn answer(&self, screened: Screened) -> LocalBoxFuture<'_, Result<Handled, Refused>>;
}

/// All desks.
#[derive(Debug, Default, Clone)]
pub struct Desks {
    desks: Vec<Arc<dyn Desk>>,
    hatches: Vec<Arc<dyn Hatch>>,
}

impl Desks {
    /// These desks and hatches.
    #[must_use]
    pub const fn new(desks: Vec<Arc<dyn Desk>>, hatches: Vec<Arc<dyn Hatch>>) -> Self {
        Self { desks, hatches }
    }

    /// The hatch whose path `target` names.
    #[must_use]
    pub fn hatch_at(&self, target: &Target) -> Option<Arc<dyn Hatch>> {
        let mut hatches = self.hatches.iter();
        hatches.find(|hatch| hatch.owns(target.path())).cloned()
    }

    /// The desk whose page `target` names.
    #[must_use]
    pub fn at(&self, target: &Target) -> Option<Arc<dyn Desk>> {
        self.desks
            .iter()
            .find(|desk| desk.owns(target.path()))
            .cloned()
    }
}
