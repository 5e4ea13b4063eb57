//! What the command line and a running gateway say to each other: one request line, then reply lines, all JSON.
//!
//! *Never*: a request that is not in the closed list; an answer in another version than the question.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::answers::Ask;
use crate::audit::show::Filter;
use crate::operate::{
    activity_review, break_glass, cases, containment, disclosures, emergency, factors, incidents,
    lockdown, permissions, tokens,
};

/// The version of this protocol. A new request kind is not a new version; a changed meaning is.
pub const VERSION: u32 = 1;
/// Longest request line.
pub const REQUEST_LIMIT: usize = 64 * 1024;
/// Longest reply line.
pub const REPLY_LIMIT: usize = 1024 * 1024;

/// What an operator asks of a running gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminRequest {
    /// One value: how the gateway is.
    Status,
    /// One value for each entry of the trail that matches.
    AuditShow {
        /// Which entries.
        filter: Filter,
        /// Whether to go on with new entries until the operator hangs up.
        follow: bool,
    },
    /// Alarms out.
    Notify(crate::notify::Ask),
    /// One [`crate::audit::answers::Piece`] after another: what the trail says.
    Answers(Ask),
    /// Reads the certificate files again; one value that names what is served now.
    ReloadCertificates,
    /// Permissions: another bundle in force, who used what, a review signed off.
    Policy(permissions::Ask),
    /// Broken glasses and their reviews.
    BreakGlass(break_glass::Ask),
    /// Reviews of activity; the value is that of [`activity_review::Ask`].
    Activity(activity_review::Ask),
    /// Disclosures that did not pass the gateway; the value is that of [`disclosures::Ask`].
    Disclosure(disclosures::Ask),
    /// About cases; the values are those of [`cases::Ask`].
    Case(cases::Ask),
    /// About locks and sessions; the values are those of [`containment::Ask`].
    Contain(containment::Ask),
    /// About sealed emergency accounts; the values are those of [`emergency::Ask`].
    Emergency(emergency::Ask),
    /// About second factors of the gateway's own; the values are those of [`factors::Ask`].
    Factor(factors::Ask),
    /// About incidents; the values are those of [`incidents::Ask`].
    Incident(incidents::Ask),
    /// About lockdown; the values are those of [`lockdown::Ask`].
    Lockdown(lockdown::Ask),
    /// Compares the build with the configured advisory feed; one value with what was found.
    CheckUpdates,
    /// The archive of the trail; the values are those of [`crate::archive::Ask`].
    Archive(crate::archive::Ask),
    /// Backups.
    Backup(crate::backup::Ask),
    /// Segmentation.
    Segmentation(crate::segmentation::Ask),
    /// The security posture; the values are those of [`crate::posture::assessments::Ask`].
    Posture(crate::posture::assessments::Ask),
    /// How people stand with their courses; the values are [`crate::training::Piece`]s.
    Training(crate::training::Ask),
    /// Who works here; the values are [`crate::provision::Piece`]s.
    Provision(crate::provision::Ask),
    /// About revoked tokens; the values are those of [`tokens::Ask`].
    Token(tokens::Ask),
}

/// A request as it stands on its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLine {
    /// [`VERSION`].
    pub version: u32,
    /// The request.
    pub request: AdminRequest,
}

/// A reply as it stands on its line. The last line is [`Reply::End`] or [`Reply::Error`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A value of the answer.
    Item(Value),
    /// The answer is complete.
    End,
    /// The answer is that there is none.
    Error(AdminError),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// What kind of failure it is.
    pub kind: AdminErrorKind,
    /// For the operator.
    pub message: String,
}

/// Kinds of [`AdminError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminErrorKind {
    /// The user behind the connection is no operator.
    NotAnOperator,
    /// The request cannot be read, or is of another version.
    BadRequest,
    /// Too many operators at once.
    Busy,
    /// The gateway tried and failed.
    Failed,
}

impl AdminError {
    /// An error of this kind.
    pub fn new(kind: AdminErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }
}

/// A person who may act on the gateway, proven by the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    uid: u32,
    name: String,
}

impl Operator {
    /// The operator that this user id stands for.
    pub(super) const fn new(uid: u32, name: String) -> Self {
        Self { uid, name }
    }

    /// The user id on this machine.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// The name on record.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Reads a request line.
///
/// # Errors
/// [`AdminErrorKind::BadRequest`] with what is wrong.
pub fn parse_request(line: &[u8]) -> Result<AdminRequest, AdminError> {
    // The version is looked at first: a request of another version need not be readable otherwise.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let bad = |message: String| AdminError::new(AdminErrorKind::BadRequest, message);
    let unreadable = |error: serde_json::Error| bad(format!("the request cannot be read: {error}"));
    let Versioned { version } = serde_json::from_slice(line).map_err(unreadable)?;
    if version != VERSION {
        return Err(bad(format!(
            "the command line speaks version {version} of the admin protocol, this gateway version {VERSION}; use the `chartgate` binary that the gateway runs"
        )));
    }
    let line: RequestLine = serde_json::from_slice(line).map_err(unreadable)?;
    Ok(line.request)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_of_a_request_does_not_change() {
        let line = RequestLine {
            version: VERSION,
            request: AdminRequest::AuditShow {
                filter: Filter {
                    patient: Some("4".to_owned()),
                    ..Filter::default()
                },
                follow: true,
            },
        };
        let json =
            r#"{"version":1,"request":{"audit_show":{"filter":{"patient":"4"},"follow":true}}}"#;
        assert_eq!(serde_json::to_string(&line).unwrap(), json);
        assert_eq!(parse_request(json.as_bytes()).unwrap(), line.request);
        assert_eq!(
            parse_request(br#"{"version":1,"request":"status"}"#).unwrap(),
            AdminRequest::Status
        );
    }

    #[test]
    fn other_versions_and_unknown_requests_are_refused() {
        let message = |line: &str| parse_request(line.as_bytes()).unwrap_err().message;
        assert!(message(r#"{"version":2,"question":"status"}"#).contains("speaks version 2"));
        assert!(message(r#"{"version":1,"request":"shutdown"}"#).contains("unknown variant"));
        assert!(
            message(r#"{"version":1,"request":"status","sudo":true}"#).contains("unknown field")
        );
        assert!(message("hello").contains("cannot be read"));
    }

    proptest! {
        #[test]
        fn any_line_is_a_request_or_refused(line in prop::collection::vec(any::<u8>(), 0..64)) {
            let refused = parse_request(&line).map_err(|error| error.kind);
            prop_assert!(matches!(refused, Ok(_) | Err(AdminErrorKind::BadRequest)));
        }
    }
}
