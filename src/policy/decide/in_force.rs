//! What is in force: one bundle, the standing beside it, and the generation that both are of.
//!
//! *Owns*: the one pointer to all of it, swapped as a whole.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};

use crate::emr::map::Mapped;
use crate::policy::attribute::Attribute;
use crate::policy::bundle::Bundle;
use crate::policy::calendars::ShiftClock;
use crate::policy::care::Care;
use crate::policy::compile::{Compiled, Outcome};
use crate::policy::memo::Memo;
use crate::policy::question::{Circumstances, Question, UNKNOWN_ZONE};
use crate::policy::reasons::Reasons;
use crate::policy::shadow::Shadow;
use crate::policy::standing::Standing;
use crate::request::situation::{DeviceKind, Words, age_of};
use crate::request::{BundleMark, Edition, Principal, Situation, Workplace};

/// A bundle made ready, with the answers that it gave.
#[derive(Debug)]
pub struct Active {
    bundle: Bundle,
    mark: Option<BundleMark>,
    memo: Memo,
    shifts: ShiftClock,
}

impl Active {
    /// Makes a bundle ready to be put in force; the work is done here, not at the moment of the swap.
    #[must_use]
    pub fn new(bundle: Bundle) -> Self {
        Self {
            memo: Memo::new(Compiled::new(&bundle)),
            shifts: ShiftClock::default(),
            mark: BundleMark::of_digest(bundle.digest()),
            bundle,
        }
    }

    /// The bundle.
    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// How records name the bundle.
    #[must_use]
    pub const fn mark(&self) -> Option<BundleMark> {
        self.mark
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
    care: Care,
    pub(super) reasons: Arc<Reasons>,
    pub(super) shadow: Option<Arc<Shadow>>,
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
                care: Care::default(),
                reasons: Arc::default(),
                shadow: None,
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

    /// Generation and bundle, as records say them.
    #[must_use]
    pub fn edition(&self) -> Edition {
        self.in_force.load().edition()
    }

    /// Sets a candidate beside the bundle in force, or takes it away. It decides nothing, so the generation stays.
    pub fn set_shadow(&self, shadow: Option<&Arc<Shadow>>) {
        self.in_force.rcu(|before| InForce {
            shadow: shadow.map(Arc::clone),
            ..InForce::clone(before)
        });
    }

    /// The candidate beside the bundle in force.
    #[must_use]
    pub fn shadow(&self) -> Option<Arc<Shadow>> {
        self.in_force.load().shadow.clone()
    }

    /// Puts a changed standing in force, as a whole, under the next generation.
    pub fn restate(&self, change: impl Fn(&mut Standing)) {
        self.in_force.rcu(|before| {
            let mut standing = Standing::clone(&before.standing);
            change(&mut standing);
            InForce {
                generation: before.generation.saturating_add(1),
                standing: Arc::new(standing),
                ..InForce::clone(before)
            }
        });
    }

    /// Puts another bundle in force, as a whole, under the next generation, which is returned. Requests that are
    /// being decided finish with the one they began with.
    pub fn activate(&self, active: &Arc<Active>) -> u64 {
        let before = self.in_force.rcu(|before| InForce {
            generation: before.generation.saturating_add(1),
            active: Arc::clone(active),
            ..InForce::clone(before)
        });
        before.generation.saturating_add(1)
    }

    /// Puts what feeds say of who treats whom in force.
    ///
    /// The generation stays: what a feed said is on each record, and a decision on it is remembered under it. Live
    /// streams are decided again once a minute.
    pub fn relate(&self, care: &Care) {
        self.in_force.rcu(|before| InForce {
            care: care.clone(),
            ..InForce::clone(before)
        });
    }

    /// What is in force beside the bundle.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.in_force.load().standing)
    }

    /// What users stated as their reasons. It is no part of a generation: a reason opens nothing that policy does not
    /// permit.
    #[must_use]
    pub fn reasons(&self) -> Arc<Reasons> {
        Arc::clone(&self.in_force.load().reasons)
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

    /// Generation and bundle, as records say them.
    #[must_use]
    pub fn edition(&self) -> Edition {
        Edition {
            generation: self.generation,
            bundle: self.active.mark(),
        }
    }

    /// All of it, with `candidate` in place of the bundle: what would be in force.
    pub(super) fn beside(&self, candidate: &Arc<Active>) -> Self {
        Self {
            active: Arc::clone(candidate),
            shadow: None,
            ..self.clone()
        }
    }

    /// The bundle.
    #[must_use]
    pub const fn active(&self) -> &Arc<Active> {
        &self.active
    }

    /// What feeds say of who treats whom, and who lies where.
    #[must_use]
    pub const fn care(&self) -> &Care {
        &self.care
    }

    /// The circumstances of a mapped request.
    #[must_use]
    pub fn circumstances(&self, mapped: &Mapped, now: Timestamp) -> Circumstances {
        let identified = mapped.identified();
        let has_certificate = mapped.received().parts().connection.certificate.is_some();
        let device = match (identified.principal(), identified.workplace()) {
            (Principal::Service(_), _) => DeviceKind::Unknown,
            // SECURITY: several people use it, whatever it can prove.
            (Principal::User(_), Workplace::Shared) => DeviceKind::Shared,
            (Principal::User(_), Workplace::Personal) if has_certificate => DeviceKind::Certified,
            (Principal::User(_), Workplace::Personal) => DeviceKind::Personal,
        };
        self.circumstances_of(
            identified.principal(),
            mapped.received().facts().emr.as_deref(),
            Some(mapped.received().parts().client.ip()),
            now,
        )
        .at(device)
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
        let calendars = self.active.bundle().calendars();
        let turn = self.active.shifts.at(calendars, now);
        let site = self.care.worksite(principal, now);
        let proof = principal.proof();
        let situation = Situation {
            shifts: calendars.in_force(&turn, &user, principal.roles()),
            wards: site.wards,
            patient_ward: None,
            device: DeviceKind::Unknown,
            phishing_resistant: proof.phishing_resistant,
            auth_age: proof
                .auth_time
                .map(|at| age_of(now.duration_since(at).as_secs())),
            information_types: Words::new(),
        };
        let reads = self.active.compiled().attributes();
        let turn = reads.has(Attribute::Shifts).then(|| turn.until());
        // An age that policies can tell apart ends with the band that it is in.
        let age = reads
            .has(Attribute::AuthAge)
            .then_some(proof.auth_time.zip(situation.auth_age))
            .flatten()
            .and_then(|(at, age)| {
                // One second on, the age is above it.
                let band = SignedDuration::from_secs(i64::from(age).saturating_add(1));
                at.checked_add(band).ok()
            });
        let turns_at = [turn, age, site.until].into_iter().flatten().min();
        Circumstances {
            situation,
            turns_at,
            purpose: self.active.bundle().roles().purpose(principal.roles()),
            care: self.care.clone(),
            lockdown: standing.lockdown(principal, emr),
            zone: zone.unwrap_or_else(|| Arc::from(UNKNOWN_ZONE)),
            training: standing.training(&user, now),
            training_due: standing.training_due(&user),
            grants: standing.grants_of(&user),
            ..Circumstances::default()
        }
    }
}
