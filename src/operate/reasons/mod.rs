//! Reasons: what a permit with `@reason` opens, opens once its user said why.
//!
//! *Never*: a reason in force that is not on record; a user, patient or page that the form names.
//! *On failure*: without the trail nothing is stated, and nothing opens.

mod code;
mod desk;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

pub use code::Code;

use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::desk::offers::Offers;
use crate::policy::decide::Policies;
use crate::policy::reasons::Stated;
use crate::request::facts::{Inspected, Mapping};
use crate::request::{Demand, Enquiry, Event, Facts};
use crate::telemetry::metrics as names;

/// The room.
#[derive(Debug, Clone)]
pub struct Reasons {
    /// The trail.
    pub audit: Audit,
    /// Policies, and the reasons in force.
    pub policies: Arc<Policies>,
    /// What seals enquiries.
    pub offers: Arc<Offers>,
    /// Time.
    pub clock: SharedClock,
}

impl Reasons {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Puts a reason on record, then in force; its id on the trail. Once begun it is done to the end, even if the client
    /// hangs up.
    ///
    /// # Errors
    /// [`AuditError`]; nothing is in force then.
    async fn state(
        &self,
        enquiry: &Enquiry,
        facts: Facts,
        (code, text): (Code, String),
    ) -> Result<String, AuditError> {
        let now = self.now();
        let random = Uuid::now_v7().simple().to_string();
        let tail: String = random.chars().skip(24).collect();
        let id = format!("rs-{}-{tail}", now.strftime("%Y%m%d"));
        let detail = BTreeMap::from([
            ("stated".to_owned(), id.clone()),
            ("reason".to_owned(), code.code().to_owned()),
            ("text".to_owned(), text),
            ("holds".to_owned(), format!("{}s", enquiry.holds)),
            ("policies".to_owned(), enquiry.policies.join(" ")),
        ]);
        let facts = facts_of(facts, enquiry);
        self.audit
            .event(Event::ReasonStated, Some(facts), detail)
            .await?;
        // INVARIANT: on record; only now it opens anything.
        let stated = Stated {
            id: id.as_str().into(),
            code: code.code().into(),
            at: now,
        };
        self.policies.reasons().state(enquiry, &stated);
        metrics::counter!(names::REASONS, "reason" => code.code()).increment(1);
        Ok(id)
    }
}

/// The request that stated the reason, with what it is for, so that the record is found by patient.
fn facts_of(mut facts: Facts, enquiry: &Enquiry) -> Facts {
    facts.emr = Some(enquiry.emr.clone());
    facts.mapping = Some(Arc::new(Mapping {
        route: enquiry.route.clone(),
        action: enquiry.action,
        section: enquiry.section.clone(),
        sensitivity: enquiry.sensitivity.clone(),
        information_types: crate::request::situation::Words::new(),
        patients: enquiry.patients.clone(),
        fields: BTreeMap::new(),
        poll: false,
        emr_user: None,
        inspected: Inspected::default(),
        demand: Demand::NONE,
        disclosure: None,
    }));
    facts
}
