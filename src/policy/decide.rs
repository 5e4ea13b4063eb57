//! The fifth stage: what policy says, and what it obliges.
//!
//! *Owns*: the bundle in force, swapped as a whole.
//! *On failure*: refuses; the record names the policies that decided or failed, and every input.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::bundle::Bundle;
use super::compile::{Compiled, Outcome};
use super::memo::Memo;
pub use super::obligation::Obligations;
use super::question::{Circumstances, Grant, PrincipalKind, Question, Training, UNKNOWN_ZONE};
use super::shadow::Shadow;
use super::standing::Standing;
use crate::emr::map::Mapped;
use crate::refusal::Refusal;
use crate::request::facts::{Decision, Mapping, Shadowed, Verdict};
use crate::request::{
    Action, BundleMark, Demand, Edition, Facts, Notice, Offer, PatientRef, Principal, Received,
    Refused,
};

/// Under lockdown, who changes anything signed in no longer ago than this.
const LOCKDOWN_STEP_UP: Duration = Duration::from_mins(5);
/// The level from which only the clinical core goes on.
const CLINICAL_CORE: u8 = 3;
/// The level at which the EMR is closed.
const DOWNTIME: u8 = 4;

/// A request that policy permits.
#[derive(Debug)]
#[must_use]
pub struct Authorized {
    mapped: Mapped,
    obligations: Obligations,
    valid_until: Timestamp,
    notices: Vec<Notice>,
}

impl Authorized {
    /// The mapped request.
    pub const fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    /// The request.
    pub const fn received(&self) -> &Received {
        self.mapped.received()
    }

    /// The request, for the next stage to add what it found.
    pub const fn received_mut(&mut self) -> &mut Received {
        self.mapped.received_mut()
    }

    /// What the permit obliges.
    #[must_use]
    pub const fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// When the permission has to be asked for again (a live stream ends or is decided anew then).
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// What the reader of the answer has to be told.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The request is sent now.
    ///
    /// # Errors
    /// What [`Mapped::begin`](crate::emr::map::Mapped::begin) refuses.
    pub async fn begin(&mut self) -> Result<(), Refusal> {
        self.mapped.begin().await
    }

    /// The mapped request itself.
    pub fn into_mapped(self) -> Mapped {
        self.mapped
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.mapped.refuse(refusal)
    }

    /// An authorized request for unit tests of the next stage.
    #[cfg(test)]
    pub(crate) const fn for_test(
        mapped: Mapped,
        obligations: Obligations,
        valid_until: Timestamp,
    ) -> Self {
        Self {
            mapped,
            obligations,
            valid_until,
            notices: Vec::new(),
        }
    }

    /// The same with notices.
    #[cfg(test)]
    pub(crate) fn noticed(mut self, notices: Vec<Notice>) -> Self {
        self.notices = notices;
        self
    }
}

/// A bundle made ready, with the answers that it gave.
#[derive(Debug)]
pub struct Active {
    bundle: Bundle,
    mark: Option<BundleMark>,
    memo: Memo,
}

impl Active {
    /// Makes a bundle ready to be put in force; the work is done here, not at the moment of the swap.
    #[must_use]
    pub fn new(bundle: Bundle) -> Self {
        Self {
            memo: Memo::new(Compiled::new(&bundle)),
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
    generation: u64,
    active: Arc<Active>,
    standing: Arc<Standing>,
    shadow: Option<Arc<Shadow>>,
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
                active: Arc::clone(&before.active),
                standing: Arc::new(standing),
                shadow: before.shadow.clone(),
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
            shadow: before.shadow.clone(),
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

    /// Generation and bundle, as records say them.
    #[must_use]
    pub fn edition(&self) -> Edition {
        Edition {
            generation: self.generation,
            bundle: self.active.mark(),
        }
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

    /// Decides a mapped request.
    ///
    /// # Errors
    /// Refuses what is not permitted for every patient that it concerns, what could not be evaluated, and what
    /// needs a fresher sign-in.
    pub fn decide(
        &self,
        mut mapped: Mapped,
        circumstances: &Circumstances,
        now: Timestamp,
    ) -> Result<Authorized, Refused> {
        mapped
            .received_mut()
            .facts_mut()
            .set_edition(self.edition());
        let Some(matter) = Matter::of(&mapped) else {
            // The EMR's name is an input of the decision; a request without one was mapped by a defect.
            tracing::error!("a mapped request names no EMR");
            return Err(mapped.refuse(Refusal::Internal));
        };
        let inquiry = Inquiry::of(&self.active, &matter, circumstances, now);
        let ruling = Ruling::on(&inquiry);
        let refusal = ruling.refusal(&matter, now);
        // A bundle may close charts to who is late with a course; breaking the glass still opens them.
        let closed = matches!(
            refusal,
            Some(Refusal::PolicyDenied | Refusal::TrainingLapsed)
        );
        // Breaking the glass takes a person who says why.
        let is_person = match matter.principal {
            Principal::User(_) => true,
            Principal::Service(_) => false,
        };
        let opens = closed && is_person && is_repeatable(&mapped) && inquiry.opens_by_break_glass();
        let valid_until = ruling.valid_until(&matter, now);
        let obligations = ruling.outcome.obligations;
        let shadowed = self.shadowed(&ruling, &inquiry);
        let mut notices = notices(circumstances, ruling.grant.as_ref());
        notices.extend_from_slice(mapped.received().told());
        let decision = Decision {
            shadow: shadowed.map(Box::new),
            ..ruling.into_decision(circumstances)
        };
        mapped.received_mut().facts_mut().decision = Some(decision);
        match refusal {
            Some(_) if opens => Err(offered(mapped, now)),
            Some(Refusal::StepUpRequired) => Err(mapped
                .refuse(Refusal::StepUpRequired)
                .demanding(obligations.demand)),
            Some(refusal) => Err(mapped.refuse(refusal)),
            None => Ok(Authorized {
                mapped,
                obligations,
                valid_until,
                notices,
            }),
        }
    }

    /// What the candidate in the shadow would have said to the same inquiry, where that differs.
    fn shadowed(&self, ruling: &Ruling, inquiry: &Inquiry<'_>) -> Option<Shadowed> {
        let shadow = self.shadow.as_deref()?;
        let mapping = inquiry.matter.mapping;
        let subject = (mapping, inquiry.matter.principal.roles());
        shadow.look(&ruling.outcome, subject, inquiry.now, |candidate| {
            let Inquiry {
                matter,
                circumstances,
                now,
                ..
            } = *inquiry;
            let asked = Inquiry::of(candidate, matter, circumstances, now);
            let mut outcome = asked.ask_for_all(circumstances.training);
            oblige(&mut outcome, mapping.demand);
            lock_down(&mut outcome, mapping.action, circumstances.lockdown);
            outcome
        })
    }

    /// Decides anew what was permitted before and goes on: the matter of `facts`, for its session's `principal` as it
    /// is now.
    pub fn decide_again(
        &self,
        mut facts: Facts,
        principal: Arc<Principal>,
        expires: Timestamp,
        circumstances: &Circumstances,
        now: Timestamp,
    ) -> Again {
        facts.set_edition(self.edition());
        facts.principal = Some(principal);
        let Some(matter) = Matter::on_record(&facts, expires) else {
            let verdict = Err(Refusal::Internal);
            return Again { facts, verdict };
        };
        let ruling = Ruling::on(&Inquiry::of(&self.active, &matter, circumstances, now));
        // Who lost every role could not ask at all.
        let refusal = if matter.principal.roles().is_empty() {
            Some(Refusal::NoRole)
        } else {
            ruling.refusal(&matter, now)
        };
        let valid_until = ruling.valid_until(&matter, now);
        facts.decision = Some(ruling.into_decision(circumstances));
        let verdict = refusal.map_or(Ok(valid_until), Err);
        Again { facts, verdict }
    }
}

/// What deciding again came to.
#[derive(Debug)]
#[must_use]
pub struct Again {
    /// What is known of the request, with the new decision and every input that it had.
    pub facts: Facts,
    /// Until when it is permitted now.
    pub verdict: Result<Timestamp, Refusal>,
}

/// What is decided on.
struct Matter<'m> {
    emr: &'m str,
    principal: &'m Principal,
    mapping: &'m Mapping,
    /// When the session ends, or what is known of its user may not be relied on any more.
    expires: Timestamp,
}

impl<'m> Matter<'m> {
    fn of(mapped: &'m Mapped) -> Option<Self> {
        Some(Self {
            emr: mapped.received().facts().emr.as_deref()?,
            principal: mapped.identified().principal(),
            mapping: mapped.mapping(),
            expires: mapped.identified().confirmed_until(),
        })
    }

    fn on_record(facts: &'m Facts, expires: Timestamp) -> Option<Self> {
        Some(Self {
            emr: facts.emr.as_deref()?,
            principal: facts.principal.as_ref()?,
            mapping: facts.mapping.as_ref()?,
            expires,
        })
    }
}

/// Refuses what breaking the glass would open, with the offer to do so.
fn offered(mapped: Mapped, now: Timestamp) -> Refused {
    let received = mapped.received();
    let offer = Offer::of(received.facts(), received.parts(), now);
    match offer {
        Some(offer) => mapped.refuse(Refusal::BreakGlassOffered).offering(offer),
        None => mapped.refuse(Refusal::PolicyDenied),
    }
}

/// What the reader of the answer has to be told.
fn notices(circumstances: &Circumstances, grant: Option<&Grant>) -> Vec<Notice> {
    let broken = grant.map(|grant| Notice::BreakGlass {
        patient: grant.patient.clone(),
        until: grant.expires,
    });
    let level = circumstances.lockdown;
    let lockdown = (level > 0).then_some(Notice::Lockdown { level });
    let training = circumstances
        .training_due
        .and_then(|due| match circumstances.training {
            Training::Unknown | Training::Current => None,
            Training::Due | Training::Urgent => Some(Notice::TrainingDue { by: due }),
            Training::Lapsed => Some(Notice::TrainingLapsed { since: due }),
        });
    [broken, lockdown, training].into_iter().flatten().collect()
}

/// Whether policy is asked as things are, or as if the user broke the glass for the patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glass {
    AsItIs,
    Broken,
}

/// Whether a request can be made again as it was, once the glass is broken.
fn is_repeatable(mapped: &Mapped) -> bool {
    let method = &mapped.received().parts().method;
    method == http::Method::GET || method == http::Method::HEAD
}

/// What policy is asked about one request.
struct Inquiry<'a> {
    active: &'a Active,
    matter: &'a Matter<'a>,
    circumstances: &'a Circumstances,
    now: Timestamp,
    principal: String,
}

impl<'a> Inquiry<'a> {
    fn of(
        active: &'a Active,
        matter: &'a Matter<'a>,
        circumstances: &'a Circumstances,
        now: Timestamp,
    ) -> Self {
        Self {
            active,
            circumstances,
            now,
            principal: matter.principal.id(),
            matter,
        }
    }

    /// The grant that opens the chart of `patient`, or, where no chart is concerned, the EMR's frame.
    fn opened(&self, patient: Option<&PatientRef>) -> Option<&'a Grant> {
        let circumstances = self.circumstances;
        match patient {
            Some(patient) => circumstances.grant_for(patient, self.now),
            // Whoever broke the glass needs the EMR's frame to see the chart in, and lockdown may have closed that.
            None if circumstances.lockdown >= CLINICAL_CORE
                && self.matter.mapping.action == Action::Navigate =>
            {
                let mut grants = circumstances.grants.iter();
                grants.find(|grant| self.now < grant.expires)
            }
            None => None,
        }
    }

    fn ask(&self, patient: Option<&PatientRef>, glass: Glass, training: Training) -> Arc<Outcome> {
        let Matter {
            emr,
            principal,
            mapping,
            ..
        } = *self.matter;
        let circumstances = self.circumstances;
        self.active.ask(&Question {
            kind: PrincipalKind::of(principal),
            principal: &self.principal,
            roles: principal.roles(),
            mfa: principal.proof().mfa,
            action: mapping.action,
            section: &mapping.section,
            sensitivity: &mapping.sensitivity,
            emr,
            patient,
            care_relation: circumstances.care_relation,
            purpose: circumstances.purpose,
            lockdown: circumstances.lockdown,
            zone: &circumstances.zone,
            training,
            break_glass: match glass {
                Glass::Broken => true,
                Glass::AsItIs => self.opened(patient).is_some(),
            },
            department: principal.department(),
        })
    }

    /// What policy says for every patient concerned, or once where there is none, to somebody who stands so with
    /// training.
    fn ask_for_all(&self, training: Training) -> Outcome {
        let mut each = self.matter.mapping.patients.iter();
        let first = each.next();
        each.fold(
            (*self.ask(first, Glass::AsItIs, training)).clone(),
            |all, patient| all.and(&self.ask(Some(patient), Glass::AsItIs, training)),
        )
    }

    /// Whether a course that is overdue is all that stands in the way.
    fn lapsed_only(&self, outcome: &Outcome) -> bool {
        self.circumstances.training == Training::Lapsed
            && outcome.verdict == Verdict::Deny
            && outcome.errors.is_empty()
            && self.ask_for_all(Training::Current).verdict == Verdict::Allow
    }

    /// Whether breaking the glass for the one patient concerned would turn a refusal into a permit: for looking only.
    fn opens_by_break_glass(&self) -> bool {
        let mapping = self.matter.mapping;
        let [patient] = mapping.patients.as_slice() else {
            return false;
        };
        if !mapping.action.only_looks() {
            return false;
        }
        let outcome = self.ask(Some(patient), Glass::Broken, self.circumstances.training);
        self.circumstances.lockdown < DOWNTIME
            && outcome.verdict == Verdict::Allow
            && outcome.errors.is_empty()
    }
}

/// What policy said on a whole request.
struct Ruling {
    outcome: Outcome,
    /// The break-glass grant that opened a chart concerned: the one that ends first, if there are several.
    grant: Option<Grant>,
    /// The lockdown level that applied.
    lockdown: u8,
    /// Whether it is only for an overdue course that policy says no.
    lapsed: bool,
}

/// What lockdown adds to whatever the bundle says, so that no bundle can leave it out.
fn lock_down(outcome: &mut Outcome, action: Action, level: u8) {
    if level >= DOWNTIME {
        outcome.verdict = Verdict::Deny;
        outcome.obligations = Obligations::default();
    } else if level > 0 && outcome.verdict == Verdict::Allow && !action.only_looks() {
        oblige(outcome, Demand::fresh(LOCKDOWN_STEP_UP));
    }
}

/// What the profile or the gateway demands of the sign-in adds to what the bundle obliges; the stronger of both counts.
fn oblige(outcome: &mut Outcome, demand: Demand) {
    if outcome.verdict == Verdict::Allow {
        let more = Obligations::of_sign_in(demand);
        outcome.obligations = outcome.obligations.union(more);
    }
}

impl Ruling {
    /// Asks once for each patient, or once where there is none.
    fn on(inquiry: &Inquiry<'_>) -> Self {
        let mapping = inquiry.matter.mapping;
        let lockdown = inquiry.circumstances.lockdown;
        let mut outcome = inquiry.ask_for_all(inquiry.circumstances.training);
        let lapsed = inquiry.lapsed_only(&outcome);
        oblige(&mut outcome, mapping.demand);
        lock_down(&mut outcome, mapping.action, lockdown);
        let concerned = mapping.patients.iter().map(Some);
        let nobody = mapping.patients.is_empty().then_some(None);
        let grant = concerned
            .chain(nobody)
            .filter_map(|patient| inquiry.opened(patient))
            .min_by_key(|grant| grant.expires)
            .cloned();
        Self {
            outcome,
            grant,
            lockdown,
            lapsed,
        }
    }

    fn refusal(&self, matter: &Matter<'_>, now: Timestamp) -> Option<Refusal> {
        if !self.outcome.errors.is_empty() {
            return Some(Refusal::PolicyError);
        }
        match self.outcome.verdict {
            Verdict::Deny => Some(if self.lockdown >= DOWNTIME {
                Refusal::Downtime
            } else if matter.mapping.action == Action::Unmapped {
                Refusal::Unmapped
            } else if matter.principal.roles().is_empty() {
                Refusal::NoRole
            } else if self.lapsed {
                Refusal::TrainingLapsed
            } else {
                Refusal::PolicyDenied
            }),
            Verdict::Allow => self
                .outcome
                .obligations
                .demand
                .shortfall(matter.principal.proof(), now)
                .map(|_| Refusal::StepUpRequired),
        }
    }

    fn valid_until(&self, matter: &Matter<'_>, now: Timestamp) -> Timestamp {
        let demand = self.outcome.obligations.demand;
        let step_up = demand.met_until(matter.principal.proof(), now);
        let grant = self.grant.as_ref().map(|grant| grant.expires);
        [step_up, grant]
            .into_iter()
            .flatten()
            .fold(matter.expires, Timestamp::min)
    }

    fn into_decision(self, circumstances: &Circumstances) -> Decision {
        Decision {
            verdict: self.outcome.verdict,
            policies: self.outcome.policies,
            errors: self.outcome.errors,
            care_relation: circumstances.care_relation.word().to_owned(),
            purpose: circumstances.purpose.code().to_owned(),
            lockdown: circumstances.lockdown,
            zone: circumstances.zone.to_string(),
            training: circumstances.training.word().to_owned(),
            grant: self.grant.map(|grant| grant.id),
            obligations: self.outcome.obligations.as_recorded(),
            shadow: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emr::profile::RouteTraits;
    use crate::identity::identify::Identified;
    use crate::identity::session::SessionId;
    use crate::limit::screen::Screened;
    use crate::policy::question::{CareRelation, Purpose};
    use crate::policy::standing::Scope;
    use crate::policy::tests::{SHIPPED, patient, roles, small_with};
    use crate::request::principal::{Proof, User};
    use crate::request::received::{Connection, Parts};
    use crate::request::{Body, ClientAddr, PeerAddr, RequestId, Target};
    use http::{HeaderMap, Method, Version};
    use std::collections::BTreeMap;

    const NOW: &str = "2026-11-22T10:00:00Z";
    const SESSION_END: &str = "2026-11-22T18:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn received() -> Received {
        let peer = PeerAddr::new("192.0.2.7:5000".parse().expect("an address"));
        let parts = Parts {
            id: RequestId::new(),
            at: at(NOW),
            method: Method::GET,
            version: Version::HTTP_11,
            host: "emr.example".to_owned(),
            authority: "emr.example".to_owned(),
            target: Target::parse_str("/chart").expect("a target"),
            headers: HeaderMap::new(),
            connection: Connection {
                peer,
                sni: None,
                tls: None,
                certificate: None,
            },
            client: ClientAddr::find(peer, &HeaderMap::new(), &[]),
            upgrade_to: None,
        };
        let mut received = Received::new(parts, Body::empty(), None, 0);
        received.facts_mut().emr = Some("main".to_owned());
        received
    }

    /// Who asks for what.
    struct Case {
        roles: &'static [&'static str],
        auth_time: Option<&'static str>,
        action: Action,
        section: &'static str,
        patients: Vec<PatientRef>,
        demand: Demand,
        phishing_resistant: bool,
    }

    impl Case {
        fn new(roles: &'static [&'static str], action: Action, section: &'static str) -> Self {
            Self {
                roles,
                auth_time: None,
                action,
                section,
                patients: Vec::new(),
                demand: Demand::NONE,
                phishing_resistant: false,
            }
        }

        fn on(mut self, patients: &[&str]) -> Self {
            self.patients = patients.iter().map(|id| patient(id)).collect();
            self
        }

        fn signed_in(mut self, auth_time: &'static str) -> Self {
            self.auth_time = Some(auth_time);
            self
        }

        fn mapped(&self) -> Mapped {
            let principal = Principal::User(User {
                issuer: "main".to_owned(),
                subject: "1".to_owned(),
                name: "someone".to_owned(),
                roles: roles(self.roles),
                proof: Proof {
                    acr: None,
                    amr: Vec::new(),
                    mfa: true,
                    auth_time: self.auth_time.map(at),
                    phishing_resistant: self.phishing_resistant,
                },
                department: None,
            });
            let identified = Identified::for_test(
                Screened::for_test(received()),
                principal,
                SessionId::for_test("a1"),
                at(SESSION_END),
            );
            let traits = RouteTraits {
                websocket: false,
                pass_authorization: false,
                body_limit: 0,
                no_store: true,
            };
            let mapping = Mapping {
                route: "chart".to_owned(),
                action: self.action,
                section: self.section.to_owned(),
                sensitivity: "N".to_owned(),
                patients: self.patients.clone(),
                fields: BTreeMap::new(),
                poll: false,
                emr_user: None,
                inspected: crate::request::facts::Inspected::default(),
                demand: self.demand,
            };
            Mapped::for_test(identified, 0, traits, mapping)
        }

        fn decide(&self, circumstances: &Circumstances) -> Result<Authorized, Refused> {
            Policies::new(SHIPPED.clone(), 7).in_force().decide(
                self.mapped(),
                circumstances,
                at(NOW),
            )
        }

        fn refusal(&self) -> Refusal {
            self.decide(&Circumstances::default())
                .expect_err("refused")
                .refusal()
        }
    }

    fn decision(received: &Received) -> &Decision {
        received.facts().decision.as_ref().expect("a decision")
    }

    #[test]
    fn a_permit_is_on_record_with_every_input() {
        let circumstances = Circumstances {
            purpose: Purpose::Treatment,
            ..Circumstances::default()
        };
        let authorized = Case::new(&["nurse"], Action::Read, "notes")
            .on(&["1"])
            .decide(&circumstances)
            .expect("permitted");
        assert_eq!(authorized.received().facts().generation, 7);
        assert_eq!(
            decision(authorized.received()),
            &Decision {
                verdict: Verdict::Allow,
                policies: vec!["nurse-chart".to_owned()],
                errors: Vec::new(),
                care_relation: "unknown".to_owned(),
                purpose: "TREAT".to_owned(),
                lockdown: 0,
                zone: "unknown".to_owned(),
                training: "unknown".to_owned(),
                grant: None,
                obligations: Vec::new(),
                shadow: None,
            }
        );
        assert_eq!(authorized.valid_until(), at(SESSION_END));
    }

    #[test]
    fn a_refusal_is_on_record_too() {
        let circumstances = Circumstances {
            lockdown: 4,
            zone: Arc::from("on-site"),
            ..Circumstances::default()
        };
        let refused = Case::new(&["nurse"], Action::Read, "notes")
            .decide(&circumstances)
            .expect_err("refused");
        assert_eq!(refused.refusal(), Refusal::Downtime);
        assert_eq!(refused.facts().generation, 7);
        let decision = refused.facts().decision.as_ref().expect("a decision");
        assert_eq!(decision.verdict, Verdict::Deny);
        assert_eq!(decision.policies, ["lockdown-4-downtime"]);
        assert_eq!(decision.lockdown, 4);
    }

    #[test]
    fn lockdown_asks_for_a_fresh_sign_in_and_closes_whatever_the_bundle_says() {
        let writing = r#"@id("write") @doc("x") permit (principal in Role::"nurse",
            action in [Action::"Create", Action::"Print"], resource);"#;
        let policies = Policies::new(small_with(writing), 1);
        let decide = |case: &Case, lockdown| {
            let circumstances = Circumstances {
                lockdown,
                ..Circumstances::default()
            };
            let in_force = policies.in_force();
            in_force.decide(case.mapped(), &circumstances, at(NOW))
        };
        let nurse = |action| Case::new(&["nurse"], action, "notes").on(&["1"]);
        for action in [Action::Read, Action::Search, Action::Create, Action::Print] {
            let fresh = nurse(action).signed_in("2026-11-22T09:59:00Z");
            let stale = nurse(action).signed_in("2026-11-22T09:54:00Z");
            for lockdown in 1..=3 {
                let authorized = decide(&fresh, lockdown).expect("permitted by this bundle");
                let obliged = decision(authorized.received()).obligations == ["stepup=300s"];
                assert_eq!(obliged, !action.only_looks(), "{action:?}");
                let refusal = decide(&stale, lockdown).map_err(|refused| refused.refusal());
                let asks = matches!(refusal, Err(Refusal::StepUpRequired));
                assert_eq!(asks, !action.only_looks(), "{action:?}");
            }
            let refused = decide(&fresh, 4).expect_err("closed");
            assert_eq!(refused.refusal(), Refusal::Downtime);
            let decision = refused.facts().decision.as_ref().expect("a decision");
            assert_eq!(decision.verdict, Verdict::Deny);
            assert!(decision.obligations.is_empty());
        }
    }

    #[test]
    fn a_broken_glass_opens_the_frame_that_lockdown_closed_and_the_record_names_it() {
        let frame = Case::new(&["privacy-officer"], Action::Navigate, "shell");
        let grants: Arc<[Grant]> = Arc::new([Grant {
            id: "g1".to_owned(),
            system: "urn:mrn".to_owned(),
            patient: "1".to_owned(),
            expires: at("2026-11-22T12:00:00Z"),
        }]);
        let decide = |lockdown, grants: &Arc<[Grant]>| {
            let circumstances = Circumstances {
                lockdown,
                grants: Arc::clone(grants),
                ..Circumstances::default()
            };
            frame.decide(&circumstances)
        };
        let authorized = decide(3, &grants).expect("the frame is open");
        let recorded = decision(authorized.received()).grant.as_deref();
        assert_eq!(recorded, Some("g1"));
        assert_eq!(authorized.valid_until(), at("2026-11-22T12:00:00Z"));
        let authorized = decide(0, &grants).expect("permitted");
        assert_eq!(decision(authorized.received()).grant, None, "it needs none");
        let refused = decide(3, &Arc::default()).expect_err("refused");
        assert_eq!(refused.refusal(), Refusal::PolicyDenied);
        let refused = decide(4, &grants).expect_err("refused");
        assert_eq!(refused.refusal(), Refusal::Downtime);
    }

    #[test]
    fn each_no_has_its_own_reason() {
        let refusal = |roles, action, section| Case::new(roles, action, section).refusal();
        assert_eq!(
            refusal(&["billing"], Action::Read, "notes"),
            Refusal::PolicyDenied
        );
        assert_eq!(
            refusal(&["it-admin"], Action::Unmapped, "unmapped"),
            Refusal::Unmapped
        );
        assert_eq!(refusal(&[], Action::Navigate, "shell"), Refusal::NoRole);
        let mut nameless = Case::new(&["nurse"], Action::Read, "notes").mapped();
        nameless.received_mut().facts_mut().emr = None;
        let refused = Policies::new(SHIPPED.clone(), 7)
            .in_force()
            .decide(nameless, &Circumstances::default(), at(NOW))
            .expect_err("refused");
        assert_eq!(refused.refusal(), Refusal::Internal);
    }

    #[test]
    fn a_failing_policy_is_named_and_refuses() {
        let failing = r#"@id("failing") @doc("x") forbid (principal, action, resource)
            when { context.lockdown + 9223372036854775807 < 0 };"#;
        let policies = Policies::new(small_with(failing), 1);
        let circumstances = Circumstances {
            lockdown: 1,
            ..Circumstances::default()
        };
        let mapped = Case::new(&["nurse"], Action::Read, "notes").mapped();
        let refused = policies
            .in_force()
            .decide(mapped, &circumstances, at(NOW))
            .expect_err("refused");
        assert_eq!(refused.refusal(), Refusal::PolicyError);
        let decision = refused.facts().decision.as_ref().expect("a decision");
        assert_eq!(decision.errors, ["failing"]);
        assert_eq!(decision.verdict, Verdict::Deny);
    }

    #[test]
    fn every_patient_must_be_permitted() {
        let closed = r#"@id("closed") @doc("x") forbid (principal, action, resource)
            when { context has patient && context.patient == Patient::"urn:mrn|2" };"#;
        let policies = Policies::new(small_with(closed), 1);
        let decide = |patients: &[&str]| {
            let mapped = Case::new(&["nurse"], Action::Read, "notes")
                .on(patients)
                .mapped();
            policies
                .in_force()
                .decide(mapped, &Circumstances::default(), at(NOW))
        };
        assert!(decide(&["1", "3"]).is_ok());
        for patients in [["1", "2"], ["2", "1"]] {
            let refused = decide(&patients).expect_err("refused");
            let decision = refused.facts().decision.as_ref().expect("a decision");
            assert_eq!(decision.policies, ["closed"], "{patients:?}");
        }
    }

    #[test]
    fn a_step_up_asks_for_a_sign_in_that_is_fresh_and_known() {
        let export = || Case::new(&["him"], Action::Export, "notes").on(&["1"]);
        assert_eq!(export().refusal(), Refusal::StepUpRequired);
        for (auth_time, until) in [
            ("2026-11-22T09:54:59Z", None),
            ("2026-11-22T09:55:00Z", Some("2026-11-22T10:00:00Z")),
            ("2026-11-22T09:59:00Z", Some("2026-11-22T10:04:00Z")),
            ("2026-11-22T10:01:00Z", Some("2026-11-22T10:05:00Z")),
            ("2026-11-22T10:01:01Z", None),
            ("2036-11-22T10:00:00Z", None),
        ] {
            let result = export()
                .signed_in(auth_time)
                .decide(&Circumstances::default());
            match (result, until) {
                (Ok(authorized), Some(until)) => {
                    assert_eq!(authorized.valid_until(), at(until), "{auth_time}");
                    assert_eq!(decision(authorized.received()).obligations, ["stepup=300s"]);
                }
                (Err(refused), None) => {
                    assert_eq!(refused.refusal(), Refusal::StepUpRequired, "{auth_time}");
                }
                (Ok(_), None) => panic!("{auth_time}: permitted"),
                (Err(refused), Some(_)) => panic!("{auth_time}: {:?}", refused.refusal()),
            }
        }
    }

    /// What the profile demands adds to what the policies oblige, whatever they say.
    #[test]
    fn the_route_s_demand_and_the_policy_s_both_count() {
        use crate::request::Factor;
        let writing = r#"@id("notes-read") @doc("x") @mfa @stepup("600s") permit (principal in Role::"nurse",
            action == Action::"Read", resource);"#;
        let policies = Policies::new(small_with(writing), 1);
        let decide = |route: Demand, resistant: bool, auth_time: Option<&'static str>| {
            let mut case = Case::new(&["nurse"], Action::Read, "notes");
            case.auth_time = auth_time;
            case.demand = route;
            case.phishing_resistant = resistant;
            let in_force = policies.in_force();
            in_force.decide(case.mapped(), &Circumstances::default(), at(NOW))
        };
        let five = Demand::new(Some(Duration::from_mins(5)), Factor::PhishingResistant);
        let recent = Some("2026-11-22T09:58:00Z");
        let authorized = decide(five, true, recent).expect("met");
        let both = ["stepup=300s", "factor=phishing-resistant"];
        assert_eq!(decision(authorized.received()).obligations, both);
        assert_eq!(authorized.valid_until(), at("2026-11-22T10:03:00Z"));
        for (resistant, auth_time) in [
            (false, recent),
            (true, Some("2026-11-22T09:54:59Z")),
            (true, None),
        ] {
            let refused = decide(five, resistant, auth_time).expect_err("not met");
            assert_eq!(refused.refusal(), Refusal::StepUpRequired);
            assert_eq!(refused.onward().demand, Some(five));
            let decision = refused.facts().decision.as_ref().expect("a decision");
            assert_eq!(decision.obligations, both);
        }
        let plain = decide(Demand::NONE, false, recent).expect("met");
        assert_eq!(
            decision(plain.received()).obligations,
            ["stepup=600s", "mfa"]
        );
        let weaker = Demand::fresh(Duration::from_mins(20));
        let stale = decide(weaker, false, Some("2026-11-22T09:49:00Z")).expect_err("too old");
        assert_eq!(stale.refusal(), Refusal::StepUpRequired);
    }

    #[test]
    fn a_step_up_is_checked_anew_each_time() {
        let policies = Policies::new(SHIPPED.clone(), 1);
        let case = Case::new(&["him"], Action::Export, "notes").signed_in("2026-11-22T09:58:00Z");
        let decide = |now: &str| {
            policies
                .in_force()
                .decide(case.mapped(), &Circumstances::default(), at(now))
                .map_err(|refused| refused.refusal())
                .map(|_| ())
        };
        assert_eq!(decide("2026-11-22T10:03:00Z"), Ok(()));
        assert_eq!(decide("2026-11-22T10:03:01Z"), Err(Refusal::StepUpRequired));
    }

    #[test]
    fn a_grant_opens_one_patient_s_chart_until_it_ends() {
        let decide = |patients: &[&str], expires: &str| {
            let circumstances = Circumstances {
                care_relation: CareRelation::Unrelated,
                grants: Arc::new([Grant {
                    id: "g1".to_owned(),
                    system: "urn:mrn".to_owned(),
                    patient: "1".to_owned(),
                    expires: at(expires),
                }]),
                ..Circumstances::default()
            };
            Case::new(&["nurse"], Action::Read, "notes")
                .on(patients)
                .decide(&circumstances)
        };
        let open = decide(&["1"], "2026-11-22T12:00:00Z").expect("open");
        assert_eq!(open.valid_until(), at("2026-11-22T12:00:00Z"));
        assert_eq!(decision(open.received()).grant.as_deref(), Some("g1"));
        assert!(decide(&["2"], "2026-11-22T12:00:00Z").is_err());
        assert!(decide(&["1", "2"], "2026-11-22T12:00:00Z").is_err());
        assert!(decide(&[], "2026-11-22T12:00:00Z").is_err());
        assert!(decide(&["1"], NOW).is_err());
    }

    #[test]
    fn what_goes_on_is_decided_again_for_who_it_is_now_and_by_the_policies_in_force() {
        let policies = Policies::new(SHIPPED.clone(), 1);
        let case = Case::new(&["him"], Action::Export, "notes").signed_in("2026-11-22T09:58:00Z");
        let mapped = case.mapped();
        let authorized = policies
            .in_force()
            .decide(mapped, &Circumstances::default(), at(NOW));
        let authorized = authorized.expect("permitted");
        let mut facts = authorized.received().facts().clone();
        facts.mapping = Some(Arc::new(authorized.mapped().mapping().clone()));
        let again = |principal: &Principal, now: &str| {
            let (facts, principal) = (facts.clone(), Arc::new(principal.clone()));
            let end = at(SESSION_END);
            let in_force = policies.in_force();
            in_force.decide_again(facts, principal, end, &Circumstances::default(), at(now))
        };
        let before = authorized.mapped().identified().principal();
        let late = "2026-11-22T10:03:01Z";
        let stale = again(before, late);
        assert_eq!(stale.verdict, Err(Refusal::StepUpRequired));
        let fresh = case.signed_in("2026-11-22T10:02:00Z").mapped();
        let fresh = again(fresh.identified().principal(), late);
        assert_eq!(fresh.verdict, Ok(at("2026-11-22T10:07:00Z")));
        assert_eq!(fresh.facts.generation, 1);
        let nobody = Case::new(&[], Action::Export, "notes").mapped();
        let nobody = again(nobody.identified().principal(), NOW);
        assert_eq!(nobody.verdict, Err(Refusal::NoRole));
        policies.activate(&Arc::new(Active::new(small_with(""))));
        let other = again(before, NOW);
        assert_eq!(other.verdict, Err(Refusal::PolicyDenied));
        assert_eq!(other.facts.generation, 2);
        assert_eq!(other.facts.decision.map(|d| d.verdict), Some(Verdict::Deny));
    }

    #[test]
    fn a_refusal_that_breaking_the_glass_would_lift_is_an_offer() {
        let policies = Policies::new(SHIPPED.clone(), 1);
        let decide = |case: &Case, lockdown: u8| {
            let mut mapped = case.mapped();
            let (principal, mapping) = (
                mapped.identified().principal().clone(),
                mapped.mapping().clone(),
            );
            let facts = mapped.received_mut().facts_mut();
            facts.principal = Some(Arc::new(principal));
            facts.session = Some("a1".to_owned());
            facts.mapping = Some(Arc::new(mapping));
            let circumstances = Circumstances {
                lockdown,
                ..Circumstances::default()
            };
            policies
                .in_force()
                .decide(mapped, &circumstances, at(NOW))
                .expect_err("refused")
        };
        let closed = || Case::new(&["nurse"], Action::Read, "sensitive");
        for lockdown in 0..=3 {
            let refused = decide(&closed().on(&["7"]), lockdown);
            assert_eq!(refused.refusal(), Refusal::BreakGlassOffered, "{lockdown}");
            let offer = refused.offer().expect("an offer");
            assert_eq!(offer.patient, patient("7"));
            assert_eq!(
                (offer.user.as_str(), offer.session.as_str()),
                ("main|1", "a1")
            );
            assert_eq!(offer.return_to, "/chart");
        }
        for (case, lockdown) in [
            (closed().on(&["7"]), 4),
            (closed(), 0),
            (closed().on(&["7", "8"]), 0),
            (
                Case::new(&["nurse"], Action::Update, "sensitive").on(&["7"]),
                0,
            ),
            (
                Case::new(&["nurse"], Action::Print, "sensitive").on(&["7"]),
                0,
            ),
            (
                Case::new(&["billing"], Action::Read, "sensitive").on(&["7"]),
                0,
            ),
        ] {
            let refused = decide(&case, lockdown);
            let told = if lockdown == 4 {
                Refusal::Downtime
            } else {
                Refusal::PolicyDenied
            };
            assert_eq!(refused.refusal(), told);
            assert!(refused.offer().is_none());
        }
    }

    #[test]
    fn an_overdue_course_makes_the_emr_read_only_and_never_stops_breaking_the_glass() {
        let decide = |roles, action, section, training, broken| {
            let case = Case::new(roles, action, section).on(&["7"]);
            let grants: &[Grant] = &[Grant {
                id: "bg".to_owned(),
                system: patient("7").system,
                patient: "7".to_owned(),
                expires: at(SESSION_END),
            }];
            case.decide(&Circumstances {
                care_relation: CareRelation::Assigned,
                training,
                grants: if broken {
                    Arc::from(grants)
                } else {
                    Arc::default()
                },
                ..Circumstances::default()
            })
            .map_err(|refused| refused.refusal())
            .map(drop)
        };
        for action in [Action::Create, Action::Update, Action::Order, Action::Sign] {
            let asked = |training, broken| {
                let section = if action == Action::Update {
                    "summary"
                } else {
                    "notes"
                };
                decide(&["physician"], action, section, training, broken)
            };
            let before = asked(Training::Urgent, false);
            for training in [Training::Unknown, Training::Current, Training::Due] {
                assert_eq!(asked(training, false), before, "{action:?}");
            }
            if before.is_ok() {
                assert_eq!(asked(Training::Lapsed, false), Err(Refusal::TrainingLapsed));
                assert_eq!(asked(Training::Lapsed, true), Ok(()), "{action:?}");
            } else {
                // What is refused anyway is not blamed on the course.
                assert_eq!(asked(Training::Lapsed, false), before, "{action:?}");
            }
        }
        assert_eq!(
            decide(
                &["physician"],
                Action::Create,
                "notes",
                Training::Lapsed,
                false
            ),
            Err(Refusal::TrainingLapsed)
        );
        for training in Training::ALL {
            assert_eq!(
                decide(&["physician"], Action::Read, "notes", *training, false),
                Ok(())
            );
            assert_eq!(
                decide(&["nurse"], Action::Read, "sensitive", *training, true),
                Ok(())
            );
        }
    }

    #[test]
    fn a_bundle_that_closes_charts_to_the_late_still_offers_to_break_the_glass() {
        let bundle = small_with(
            r#"@id("late") @doc("Who is late reads nothing.")
            forbid (principal, action, resource) when { context.training == "lapsed" } unless { context.break_glass };"#,
        );
        let mut mapped = Case::new(&["nurse"], Action::Read, "notes")
            .on(&["7"])
            .mapped();
        let mapping = mapped.mapping().clone();
        let principal = mapped.identified().principal().clone();
        let facts = mapped.received_mut().facts_mut();
        facts.principal = Some(Arc::new(principal));
        facts.session = Some("a1".to_owned());
        facts.mapping = Some(Arc::new(mapping));
        let circumstances = Circumstances {
            training: Training::Lapsed,
            ..Circumstances::default()
        };
        let refused = Policies::new(bundle, 1)
            .in_force()
            .decide(mapped, &circumstances, at(NOW))
            .expect_err("refused");
        assert_eq!(refused.refusal(), Refusal::BreakGlassOffered);
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_told() {
        let due = at("2026-12-01T00:00:00Z");
        let told = |training, lockdown| {
            let circumstances = Circumstances {
                lockdown,
                training,
                training_due: Some(due),
                grants: Arc::new([Grant {
                    id: "g1".to_owned(),
                    system: "urn:mrn".to_owned(),
                    patient: "1".to_owned(),
                    expires: at("2026-11-22T12:00:00Z"),
                }]),
                ..Circumstances::default()
            };
            let case = Case::new(&["nurse"], Action::Read, "notes").on(&["1"]);
            let authorized = case.decide(&circumstances).expect("permitted");
            authorized.notices().to_vec()
        };
        let broken = Notice::BreakGlass {
            patient: "1".to_owned(),
            until: at("2026-11-22T12:00:00Z"),
        };
        assert_eq!(told(Training::Current, 0), std::slice::from_ref(&broken));
        assert_eq!(
            told(Training::Due, 1),
            [
                broken.clone(),
                Notice::Lockdown { level: 1 },
                Notice::TrainingDue { by: due }
            ]
        );
        assert_eq!(
            told(Training::Lapsed, 0),
            [broken, Notice::TrainingLapsed { since: due }]
        );
        let ordinary = Case::new(&["nurse"], Action::Read, "notes")
            .on(&["1"])
            .decide(&Circumstances::default())
            .expect("permitted");
        assert!(ordinary.notices().is_empty());
    }

    #[test]
    fn a_new_bundle_decides_from_then_on() {
        let policies = Policies::new(SHIPPED.clone(), 1);
        let case = Case::new(&["student"], Action::Read, "notes");
        let decide = || {
            policies
                .in_force()
                .decide(case.mapped(), &Circumstances::default(), at(NOW))
        };
        assert_eq!(
            decide().expect("permitted").received().facts().generation,
            1
        );
        let generation = policies.activate(&Arc::new(Active::new(small_with(""))));
        assert_eq!(generation, 2);
        let refused = decide().expect_err("refused");
        assert_eq!(refused.facts().generation, 2);
    }

    #[test]
    fn every_change_has_a_generation_of_its_own_and_keeps_the_rest() {
        let policies = Policies::new(SHIPPED.clone(), 1);
        let small = Arc::new(Active::new(small_with("")));
        std::thread::scope(|scope| {
            for level in 1..=4_u8 {
                let (policies, small) = (&policies, &small);
                scope.spawn(move || {
                    for _ in 0..50 {
                        policies.restate(|standing| {
                            standing
                                .lockdowns
                                .insert(Scope::User(level.to_string()), level);
                        });
                        policies.activate(small);
                    }
                });
            }
        });
        assert_eq!(policies.generation(), 401);
        assert_eq!(policies.standing().lockdowns.len(), 4);
        assert_eq!(policies.active().bundle().policies().len(), 2);
    }
}
