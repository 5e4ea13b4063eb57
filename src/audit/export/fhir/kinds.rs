//! Which FHIR event a record is: type, subtype and action, and the BALP profile of each verb.

use serde_json::Value;

use super::{DCM, EVENT_TYPE, INTERACTION, LIFECYCLE, coding};
use crate::audit::entry::Phase;
use crate::audit::events;
use crate::audit::query::join::Joined;
use crate::request::facts::PatientSource;
use crate::request::{Action, PatientRef};

/// What a request does, as REST sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) enum Verb {
    Read,
    Query,
    Create,
    Update,
    Delete,
}

impl Verb {
    /// The last part of the BALP profile's name.
    pub(super) const fn profile(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Query => "Query",
            Self::Create => "Create",
            Self::Update => "Update",
            Self::Delete => "Delete",
        }
    }

    const fn interaction(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Query => "search",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    const fn letter(self) -> &'static str {
        match self {
            Self::Read => "R",
            Self::Query => "E",
            Self::Create => "C",
            Self::Update => "U",
            Self::Delete => "D",
        }
    }

    const fn of(action: Action) -> Option<Self> {
        match action {
            Action::Search => Some(Self::Query),
            Action::Read | Action::Print | Action::Export | Action::Disclose => Some(Self::Read),
            Action::Create | Action::Order => Some(Self::Create),
            Action::Update | Action::Sign => Some(Self::Update),
            Action::Delete => Some(Self::Delete),
            Action::Administer | Action::Navigate | Action::Unmapped => None,
        }
    }
}

/// Which event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) enum Kind {
    /// A clinical request.
    Rest(Verb),
    /// A request that is none: frames and scripts, a route that nothing maps.
    Operation,
    /// A request for the EMR's administration.
    Restricted,
    Disclosure,
    Login,
    Logout,
    Authentication,
    ApplicationStarted,
    ApplicationStopped,
    Application,
    RecordingStarted,
    RecordingStopped,
    LogUsed,
    Configuration,
    UserAttributes,
    EmergencyStarted,
    EmergencyStopped,
    Alert,
    Export,
}

/// The pages at which a provider sends users back.
const CALLBACK: &str = "/.chartgate/callback";

impl Kind {
    pub(super) fn of_request(joined: &Joined) -> Self {
        let facts = joined.entry.facts.as_ref();
        let failed_login = joined.entry.phase == Phase::Refuse
            && facts.is_some_and(|facts| facts.path == CALLBACK);
        if failed_login {
            return Self::Login;
        }
        let action = facts.and_then(|f| f.mapping.as_ref()).map(|m| m.action);
        match action {
            Some(Action::Administer) => Self::Restricted,
            Some(action) => Verb::of(action).map_or(Self::Operation, Self::Rest),
            None => Self::Operation,
        }
    }

    /// The same for one of its patients: whoever only appeared in a list was found, not opened. What takes a list
    /// out, or hands it on, does so to everybody in it.
    pub(super) fn of_patient(self, joined: &Joined, patient: &PatientRef) -> Self {
        let facts = joined.entry.facts.as_ref();
        let action = facts.and_then(|f| f.mapping.as_ref()).map(|m| m.action);
        match (patient.source, action) {
            (PatientSource::Appeared, Some(Action::Read | Action::Navigate)) => {
                Self::Rest(Verb::Query)
            }
            (
                PatientSource::Request
                | PatientSource::Sticky
                | PatientSource::Linked
                | PatientSource::Appeared,
                _,
            ) => self,
        }
    }

    pub(super) fn of_event(joined: &Joined) -> Self {
        let Some(event) = joined.entry.event else {
            return Self::Application;
        };
        events::traits(event).fhir
    }

    /// The verb, where a REST profile may fit.
    pub(super) const fn verb(self) -> Option<Verb> {
        match self {
            Self::Rest(verb) => Some(verb),
            Self::Operation
            | Self::Restricted
            | Self::Disclosure
            | Self::Login
            | Self::Logout
            | Self::Authentication
            | Self::ApplicationStarted
            | Self::ApplicationStopped
            | Self::Application
            | Self::RecordingStarted
            | Self::RecordingStopped
            | Self::LogUsed
            | Self::Configuration
            | Self::UserAttributes
            | Self::EmergencyStarted
            | Self::EmergencyStopped
            | Self::Alert
            | Self::Export => None,
        }
    }

    /// `type`, `subtype` and `action`.
    pub(super) fn codes(self) -> (Value, Option<Value>, &'static str) {
        let rest = || coding(EVENT_TYPE, "rest", "RESTful Operation");
        let dcm = |code, display| coding(DCM, code, display);
        let authentication = || dcm("110114", "User Authentication");
        let application = || dcm("110100", "Application Activity");
        let alert = || dcm("110113", "Security Alert");
        match self {
            Self::Rest(verb) => {
                let name = verb.interaction();
                (rest(), Some(coding(INTERACTION, name, name)), verb.letter())
            }
            Self::Operation => {
                let subtype = coding(INTERACTION, "operation", "operation");
                (rest(), Some(subtype), "E")
            }
            Self::Restricted => {
                let subtype = dcm("110132", "Use of Restricted Function");
                (alert(), Some(subtype), "E")
            }
            Self::Disclosure => {
                let subtype = coding(LIFECYCLE, "disclose", "Disclose Record Lifecycle Event");
                (dcm("110106", "Export"), Some(subtype), "R")
            }
            Self::Login => (authentication(), Some(dcm("110122", "Login")), "E"),
            Self::Logout => (authentication(), Some(dcm("110123", "Logout")), "E"),
            Self::Authentication => (authentication(), None, "E"),
            Self::ApplicationStarted => {
                (application(), Some(dcm("110120", "Application Start")), "E")
            }
            Self::ApplicationStopped => {
                (application(), Some(dcm("110121", "Application Stop")), "E")
            }
            Self::Application => (application(), None, "E"),
            Self::RecordingStarted => {
                let subtype = dcm("110134", "Audit Recording Started");
                (alert(), Some(subtype), "E")
            }
            Self::RecordingStopped => {
                let subtype = dcm("110133", "Audit Recording Stopped");
                (alert(), Some(subtype), "E")
            }
            Self::LogUsed => (dcm("110101", "Audit Log Used"), None, "R"),
            Self::Configuration => {
                let subtype = dcm("110129", "Security Configuration");
                (alert(), Some(subtype), "U")
            }
            Self::UserAttributes => {
                let subtype = dcm("110137", "User Security Attributes Changed");
                (alert(), Some(subtype), "U")
            }
            Self::EmergencyStarted => {
                let subtype = dcm("110127", "Emergency Override Started");
                (alert(), Some(subtype), "E")
            }
            Self::EmergencyStopped => {
                let subtype = dcm("110138", "Emergency Override Stopped");
                (alert(), Some(subtype), "E")
            }
            Self::Alert => (alert(), None, "E"),
            Self::Export => (dcm("110106", "Export"), None, "R"),
        }
    }
}
