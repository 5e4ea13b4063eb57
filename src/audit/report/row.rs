//! One access in a report.

use jiff::Timestamp;

use super::Staff;
use super::words;
use crate::audit::query::answer::{Answer, instant};

/// The columns of CSV, in order. Later versions add columns at the end and rename none.
pub const COLUMNS: &[&str] = &[
    "time",
    "who",
    "roles",
    "what",
    "section",
    "patients",
    "decision",
    "result",
    "why",
    "purpose",
    "client",
    "request",
    "recipient",
];

/// One access, refusal or event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When.
    pub time: Timestamp,
    /// Who, or a number in place of the name.
    pub who: String,
    /// Their roles.
    pub roles: String,
    /// The action or event.
    pub what: String,
    /// The section.
    pub section: String,
    /// Patients.
    pub patients: String,
    /// `allow`, `deny` or nothing.
    pub decision: String,
    /// What came of it.
    pub result: String,
    /// Care relation and deciding policies.
    pub why: String,
    /// Purpose of use; of what went outside, the one that was stated.
    pub purpose: String,
    /// The break-glass grant.
    pub grant: String,
    /// The client's address.
    pub client: String,
    /// The request id.
    pub request: String,
    /// To whom it went.
    pub recipient: String,
    /// The event; empty of a request.
    pub(super) event: &'static str,
    /// Care relation.
    pub(super) relation: String,
    pub(super) outcome: &'static str,
    pub(super) status: Option<u16>,
    /// Why the glass was broken under which it was done.
    pub(super) broken: Option<String>,
    /// What can be said of an event in words that name nobody.
    pub(super) said: String,
}

impl Row {
    pub(super) fn of(answer: &Answer, who: String, staff: Staff) -> Self {
        let shown = |text: &String| match staff {
            Staff::Named => text.clone(),
            Staff::Numbered => String::new(),
        };
        let what = if answer.event.is_empty() {
            answer.action.clone()
        } else {
            answer.event.to_owned()
        };
        Self {
            time: answer.time,
            who,
            roles: answer.roles.join(", "),
            what,
            section: answer.section.clone(),
            patients: patients(answer),
            decision: answer.decision.clone(),
            result: result(answer),
            why: why(answer, staff),
            purpose: if answer.disclosed_for.is_empty() {
                answer.purpose.clone()
            } else {
                answer.disclosed_for.join(", ")
            },
            grant: answer.grant.clone(),
            client: shown(&answer.client),
            request: shown(&answer.request),
            recipient: answer.recipient.clone(),
            event: answer.event,
            relation: answer.care_relation.clone(),
            outcome: answer.outcome,
            status: answer.status,
            broken: None,
            said: said(answer),
        }
    }

    /// The reason for which glass was broken, for an access under it.
    pub(super) fn explain(&mut self, reason: Option<&String>) {
        match reason {
            _ if self.grant.is_empty() => return,
            Some(reason) => self.why = format!("{}; glass broken: {reason}", self.why),
            None => self.why = format!("{}; glass broken, grant {}", self.why, self.grant),
        }
        self.broken = reason.cloned();
    }

    /// The texts of [`COLUMNS`].
    #[must_use]
    pub fn fields(&self) -> [String; 13] {
        let texts = [
            &self.who,
            &self.roles,
            &self.what,
            &self.section,
            &self.patients,
            &self.decision,
            &self.result,
            &self.why,
            &self.purpose,
            &self.client,
            &self.request,
            &self.recipient,
        ];
        let [
            who,
            roles,
            what,
            section,
            patients,
            decision,
            result,
            why,
            purpose,
            client,
            request,
            recipient,
        ] = texts.map(Clone::clone);
        let time = instant(self.time);
        [
            time, who, roles, what, section, patients, decision, result, why, purpose, client,
            request, recipient,
        ]
    }
}

/// Those whose charts it is about; of a list, how many it named. Who they were is not for everybody who reads this.
fn patients(answer: &Answer) -> String {
    let listed = answer.listed();
    let texts: Vec<&str> = answer
        .patients
        .iter()
        .chain(&listed)
        .map(String::as_str)
        .collect();
    texts.join(", ")
}

fn result(answer: &Answer) -> String {
    let refused = answer.decision == "deny";
    match (refused, answer.status, answer.outcome) {
        (true, _, _) => format!("refused {}", answer.refusal),
        (false, Some(status), "complete") => format!("answered {status}"),
        (false, Some(status), outcome) => format!("answered {status}, {outcome}"),
        (false, None, outcome) => outcome.to_owned(),
    }
}

fn why(answer: &Answer, staff: Staff) -> String {
    if !answer.event.is_empty() {
        let pairs = answer.detail.iter();
        let kept = pairs.filter(|(key, value)| staff == Staff::Named || is_nobodys(key, value));
        let kept: Vec<String> = kept.map(|(key, value)| format!("{key}={value}")).collect();
        return kept.join("; ");
    }
    let mut parts = Vec::new();
    if !answer.care_relation.is_empty() {
        parts.push(format!("care relation {}", answer.care_relation));
    }
    if !answer.policies.is_empty() {
        parts.push(format!("by {}", answer.policies.join(", ")));
    }
    parts.join("; ")
}

/// What the particulars of an event say that a patient may read, in words.
fn said(answer: &Answer) -> String {
    let detail = |key: &str| answer.detail.get(key).map(String::as_str);
    let texts = match answer.event {
        "break-glass" => {
            let keys = ["reason_code", "code", "reason"].into_iter();
            let reason = keys.filter_map(detail).find_map(words::reason);
            [reason, None]
        }
        "break-glass-reviewed" => match detail("outcome") {
            Some("appropriate") => [Some("found appropriate"), None],
            Some("inappropriate") => [Some("found inappropriate"), None],
            Some(_) | None => [None, None],
        },
        "disclosure-recorded" => [detail("what"), detail("date")],
        _ => [None, None],
    };
    texts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Particulars of events that cannot name anybody: ids, words of ours, times, and what an accounting has to say. What
/// people typed may name a colleague.
const NOBODYS: &[&str] = &[
    "address",
    "case",
    "code",
    "count",
    "date",
    "expires",
    "grant",
    "holds",
    "how",
    "id",
    "kind",
    "level",
    "outcome",
    "policies",
    "purpose",
    "reason",
    "reason_code",
    "reason_form",
    "result",
    "rule",
    "stated",
    "step",
    "to",
    "until",
    "verdict",
    "ward",
    "what",
];

/// Whether a particular may stand where staff are left out. A reason is one only as a code.
pub(super) fn is_nobodys(key: &str, value: &str) -> bool {
    let is_code = || {
        let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
        value.len() <= 12 && value.bytes().all(fits)
    };
    NOBODYS.contains(&key) && (!matches!(key, "reason" | "code" | "reason_code") || is_code())
}
