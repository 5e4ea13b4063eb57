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
    pub(in crate::audit::export) fn of_request(joined: &Joined) -> Self {
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
    pub(in crate::audit::export) fn of_patient(
        self,
        joined: &Joined,
        patient: &PatientRef,
    ) -> Self {
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

    pub(in crate::audit::export) fn of_event(joined: &Joined) -> Self {
        let Some(event) = joined.entry.event else {
            return Self::Application;
        };
        events::traits(event).fhir
    }

    /// The verb, where a REST profile may fit.
    pub(in crate::audit::export) const fn verb(self) -> Option<Verb> {
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

    /// Its codes.
    #[rustfmt::skip] // a line for each kind
    pub(in crate::audit::export) const fn codes(self) -> Codes {
        match self {
            Self::Rest(verb) => Codes::rest(verb.interaction(), verb.letter()),
            Self::Operation => Codes::rest("operation", "E"),
            Self::Restricted => Codes::alert("E", Some(("110132", "Use of Restricted Function"))),
            Self::Disclosure => Codes {
                event: Code::dcm("110106", "Export"),
                subtype: Some(Code { system: LIFECYCLE, code: "disclose", display: "Disclose Record Lifecycle Event" }),
                action: "R",
            },
            Self::Login => Codes::authentication(Some(("110122", "Login"))),
            Self::Logout => Codes::authentication(Some(("110123", "Logout"))),
            Self::Authentication => Codes::authentication(None),
            Self::ApplicationStarted => Codes::application(Some(("110120", "Application Start"))),
            Self::ApplicationStopped => Codes::application(Some(("110121", "Application Stop"))),
            Self::Application => Codes::application(None),
            Self::RecordingStarted => Codes::alert("E", Some(("110134", "Audit Recording Started"))),
            Self::RecordingStopped => Codes::alert("E", Some(("110133", "Audit Recording Stopped"))),
            Self::LogUsed => Codes::dcm(("110101", "Audit Log Used"), None, "R"),
            Self::Configuration => Codes::alert("U", Some(("110129", "Security Configuration"))),
            Self::UserAttributes => Codes::alert("U", Some(("110137", "User Security Attributes Changed"))),
            Self::EmergencyStarted => Codes::alert("E", Some(("110127", "Emergency Override Started"))),
            Self::EmergencyStopped => Codes::alert("E", Some(("110138", "Emergency Override Stopped"))),
            Self::Alert => Codes::alert("E", None),
            Self::Export => Codes::dcm(("110106", "Export"), None, "R"),
        }
    }
}

/// A code with its system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the names that FHIR has")]
pub(in crate::audit::export) struct Code {
    pub(in crate::audit::export) system: &'static str,
    pub(in crate::audit::export) code: &'static str,
    pub(in crate::audit::export) display: &'static str,
}

impl Code {
    pub(in crate::audit::export) const fn dcm(code: &'static str, display: &'static str) -> Self {
        Self {
            system: DCM,
            code,
            display,
        }
    }

    pub(super) fn coding(self) -> Value {
        coding(self.system, self.code, self.display)
    }
}

/// What an event is: `type`, `subtype` and `action`; in DICOM, `EventID`, `EventTypeCode` and `EventActionCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit::export) struct Codes {
    pub(in crate::audit::export) event: Code,
    pub(in crate::audit::export) subtype: Option<Code>,
    pub(in crate::audit::export) action: &'static str,
}

type Named = (&'static str, &'static str);

impl Codes {
    const fn dcm(event: Named, subtype: Option<Named>, action: &'static str) -> Self {
        Self {
            event: Code::dcm(event.0, event.1),
            subtype: match subtype {
                Some((code, display)) => Some(Code::dcm(code, display)),
                None => None,
            },
            action,
        }
    }

    const fn rest(interaction: &'static str, action: &'static str) -> Self {
        Self {
            event: Code {
                system: EVENT_TYPE,
                code: "rest",
                display: "RESTful Operation",
            },
            subtype: Some(Code {
                system: INTERACTION,
                code: interaction,
                display: interaction,
            }),
            action,
        }
    }

    const fn alert(action: &'static str, subtype: Option<Named>) -> Self {
        Self::dcm(("110113", "Security Alert"), subtype, action)
    }

    const fn authentication(subtype: Option<Named>) -> Self {
        Self::dcm(("110114", "User Authentication"), subtype, "E")
    }

    const fn application(subtype: Option<Named>) -> Self {
        Self::dcm(("110100", "Application Activity"), subtype, "E")
    }
}
