//! What is in force: one bundle, the standing beside it, and the generation that both are of.
//!
//! *Owns*: the one pointer to all of it, swapped as a whole.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::emr::map::Mapped;
use crate::policy::bundle::Bundle;
use crate::policy::compile::{Compiled, Outcome};
use crate::policy::memo::Memo;
use crate::policy::question::{Circumstances, Question, UNKNOWN_ZONE};
use crate::policy::standing::Standing;
use crate::request::Principal;

/// A bundle made ready, with the answers that it gave.
#[derive(Debug)]
pub struct Active {
    bundle: Bundle,
    memo: Memo,
}

impl Active {
    /// Makes a bundle ready to be put in force; the work is done here, not at the moment of the swap.
    #[must_use]
    pub fn new(bundle: Bundle) -> Self {
        Self {
            memo: Memo::new(Compiled::new(&bundle)),
            bundle,
        }
    }

    /// The bundle.
    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The bundle made ready to be asked.
    #[must_use]
    pub const fn compiled(&self) -> &Compiled {
        self.memo.compiled()
    }

    /// The answer to one question.
    #[must_use]
    pub fn ask(&self, question: &Question<'_>) -> Arc<Outcome> {
        self.memo.ask(question)
    }
}

/// One whole state of the policies: bundle, standing, and the generation that both are of.
#[derive(Debug, Clone)]
pub struct InForce {
    pub(super) generation: u64,
    pub(super) active: Arc<Active>,
    standing: Arc<Standing>,
}

/// The policies in force, and what is in force beside them.
#[derive(Debug)]
pub struct Policies {
    // INVARIANT: one pointer to all of it, so that nobody sees half a change, and the generation on a record is
    // that of the bundle and the standing which decided.
    in_force: ArcSwap<InForce>,
}

impl Policies {
    /// Puts `bundle` in force.
    #[must_use]
    pub fn new(bundle: Bundle, generation: u64) -> Self {
        Self {
            in_force: ArcSwap::from_pointee(InForce {
                generation,
                active: Arc::new(Active::new(bundle)),
                standing: Arc::default(),
            }),
        }
    }

    /// All that is in force now, as one.
    #[must_use]
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// The one generation: of bundle, lockdown, grants and training. Every record carries it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.in_force.load().generation
    }

    /// Puts a changed standing in force, as a whole, under the next generation.
    pub fn restate(&self, change: impl Fn(&mut Standing)) {
        self.in_force.rcu(|before| {
            let mut standing = Standing::clone(&before.standing);
            change(&mut standing);
            InForce {
                generation: before.generation.saturating_add(1),
                active: Arc::clone(&before.active),
                standing: Arc::new(standing),
            }
        });
    }

    /// Puts another bundle in force, as a whole, under the next generation, which is returned. Requests that are
    /// being decided finish with the one they began with.
    pub fn activate(&self, active: &Arc<Active>) -> u64 {
        let before = self.in_force.rcu(|before| InForce {
            generation: before.generation.saturating_add(1),
            active: Arc::clone(active),
            standing: Arc::clone(&before.standing),
        });
        before.generation.saturating_add(1)
    }

    /// What is in force beside the bundle.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.in_force.load().standing)
    }

    /// The bundle in force.
    #[must_use]
    pub fn active(&self) -> Arc<Active> {
        Arc::clone(&self.in_force.load().active)
    }
}

impl InForce {
    /// The generation.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The bundle.
    #[must_use]
    pub const fn active(&self) -> &Arc<Active> {
        &self.active
    }

    /// The circumstances of a mapped request.
    #[must_use]
    pub fn circumstances(&self, mapped: &Mapped, now: Timestamp) -> Circumstances {
        self.circumstances_of(
            mapped.identified().principal(),
            mapped.received().facts().emr.as_deref(),
            Some(mapped.received().parts().client.ip()),
            now,
        )
    }

    /// The circumstances of `principal` at `emr`, coming from `address`.
    #[must_use]
    pub fn circumstances_of(
        &self,
        principal: &Principal,
        emr: Option<&str>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Circumstances {
        let standing = &self.standing;
        let user = principal.id();
        let networks = self.active.bundle().networks();
        let zone = address.map(|address| Arc::clone(networks.zone_of(address)));
        Circumstances {
            lockdown: standing.lockdown(principal, emr),
            zone: zone.unwrap_or_else(|| Arc::from(UNKNOWN_ZONE)),
            training: standing.training(&user, now),
            training_due: standing.training_due(&user),
            grants: standing.grants_of(&user),
            ..Circumstances::default()
        }
    }
}
