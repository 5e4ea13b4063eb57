//! Which identifiers a hold on a patient covers: the one that was named, those that the link feed says are the same
//! patient's, and all that it covered before.
//!
//! *Never*: fewer identifiers than before. A link that is taken back, rightly or not, frees nothing while the hold is in
//! force.
//! *On failure*: where the link feed is not in order, what is covered is not known ([`Book::doubt`]), and nothing may be
//! removed.

use std::collections::BTreeSet;

use super::{Book, Hold, HoldError};
use crate::audit::links::{Known, Links};
use crate::audit::show::Filter;

/// Most identifiers that one hold covers beside the one that was named.
const MOST_COVERED: usize = 1_000;

impl Hold {
    /// The records that are held, as a reading asks for them.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            aliases: self.aliases.clone(),
            ..self.scope.filter()
        }
    }

    /// The identifiers that it covers.
    fn identifiers(&self) -> impl Iterator<Item = &str> {
        let aliases = self.aliases.iter().map(String::as_str);
        self.scope.patient.as_deref().into_iter().chain(aliases)
    }

    /// Covers what is linked with any identifier that is covered; says whether that is more than before.
    pub(super) fn cover(&mut self, links: &Links) -> bool {
        let Some(named) = self.scope.patient.clone() else {
            return false;
        };
        let is_named = |name: &String| {
            *name == named || name.rsplit_once('|').is_some_and(|(_, id)| id == named)
        };
        let linked: BTreeSet<String> = self
            .identifiers()
            .flat_map(|name| links.also(name))
            .filter(|name| !is_named(name))
            .collect();
        let before = self.aliases.len();
        for name in linked {
            if self.aliases.len() >= MOST_COVERED {
                break;
            }
            self.aliases.insert(name);
        }
        self.aliases.len() > before
    }
}

impl Book {
    /// Lets every hold in force cover what is linked now; says whether that is more than before.
    pub(super) fn cover(&mut self, links: &Links) -> bool {
        let mut grown = false;
        for hold in &mut self.holds {
            if hold.released.is_none() {
                grown |= hold.cover(links);
            }
        }
        grown
    }

    /// Why it is not known which identifiers the holds cover, where that is so.
    ///
    /// # Errors
    /// [`HoldError::Cover`].
    pub fn doubt(&self, known: &Known) -> Result<(), HoldError> {
        let links = known.now();
        let on_patients = |hold: &&Hold| hold.scope.patient.is_some();
        for hold in self.in_force().filter(on_patients) {
            let why = if let Some(gap) = known.gap() {
                format!("the link feed is not in order: {gap}")
            } else if hold.identifiers().any(|name| links.doubts(name)) {
                "the link feed names more than 64 identifiers of the patient, which is a mistake in it".to_owned()
            } else if hold.aliases.len() >= MOST_COVERED {
                format!("they are more than {MOST_COVERED}")
            } else {
                continue;
            };
            return Err(HoldError::Cover(hold.id, why));
        }
        Ok(())
    }
}
