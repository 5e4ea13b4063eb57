//! A row in words. Where staff are left out, a patient reads it: codes are for who works with them.

use super::row::Row;
use super::{Group, Staff};
use crate::audit::disclosed::meaning;

/// What a page and a text say of a row.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) what: String,
    pub(super) result: String,
    pub(super) why: String,
    pub(super) purpose: String,
}

impl Told {
    pub(super) fn of(row: &Row, staff: Staff) -> Self {
        let to = |what: &str| match row.recipient.as_str() {
            "" => what.to_owned(),
            recipient => format!("{what} to {recipient}"),
        };
        match staff {
            Staff::Named => Self {
                what: to(&row.what),
                result: row.result.clone(),
                why: row.why.clone(),
                purpose: row.purpose.clone(),
            },
            Staff::Numbered => Self {
                what: to(&what(row)),
                result: result(row).to_owned(),
                why: why(row),
                purpose: purposes(&row.purpose),
            },
        }
    }
}

/// How often what was done, on one line.
pub(super) fn counted(group: &Group, staff: Staff) -> String {
    if staff == Staff::Named {
        return group.actions_text();
    }
    let mut counts: Vec<(String, u64)> = Vec::new();
    for (name, count) in &group.actions {
        let name = if name.starts_with("refused ") {
            "refused".to_owned()
        } else {
            happened(name)
        };
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum = sum.saturating_add(*count),
            None => counts.push((name, *count)),
        }
    }
    let counts = counts.iter().map(|(name, count)| format!("{name} {count}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn what(row: &Row) -> String {
    if row.event.is_empty() {
        row.what.clone()
    } else {
        happened(row.event)
    }
}

/// An event that a patient's report may have, in words; another name, or an action, as it is.
fn happened(event: &str) -> String {
    let words = match event {
        "break-glass" => "emergency access was taken",
        "break-glass-ended" => "emergency access ended",
        "break-glass-reviewed" => "emergency access was reviewed",
        "reason-stated" => "a reason was stated",
        "page" => "a page of the gateway was shown",
        "alarm" => "an alarm was raised",
        "case-opened" => "a case was opened",
        "case-closed" => "a case was closed",
        "incident-opened" => "an incident was opened",
        "incident-closed" => "an incident was closed",
        "disclosure-recorded" => "a disclosure was put on record",
        "disclosure-withdrawn" => "an entry of a disclosure was withdrawn",
        "identifiers-linked" => "identifiers were found to be one patient's",
        "identifiers-unlinked" => "identifiers were found not to be one patient's",
        "stream" => "a live view went on",
        "stream-decided" => "a live view was decided on again",
        "post-held" => "an entry was kept while the screen was locked",
        other if other.starts_with(|first: char| first.is_ascii_lowercase()) => {
            return other.replace('-', " ");
        }
        action => action,
    };
    words.to_owned()
}

fn result(row: &Row) -> &'static str {
    match (row.decision.as_str(), row.outcome, row.status) {
        ("deny", ..) => "refused",
        ("allow", "complete", Some(status)) if status >= 400 => "answered with an error",
        ("allow", "complete", _) => "answered",
        ("allow", "open", _) => "not ended yet",
        ("allow", "abandoned" | "cut", _) => "broken off",
        ("allow", "upstream_failed", _) => "failed",
        ("allow", ..) => "not known",
        _ => "",
    }
}

fn why(row: &Row) -> String {
    let mut parts = Vec::new();
    match row.relation.as_str() {
        "" => {}
        "assigned" => parts.push("treats the patient"),
        "none" => parts.push("does not treat the patient, as far as is known"),
        "self" => parts.push("is the patient"),
        _ => parts.push("whether they treat the patient is not on record"),
    }
    if !row.grant.is_empty() {
        parts.push("under emergency access");
    }
    let reason = row.broken.as_deref().map(reasons);
    let reason = reason.as_deref().filter(|text| !text.is_empty());
    parts.extend(reason);
    parts.extend(Some(row.said.as_str()).filter(|said| !said.is_empty()));
    parts.join("; ")
}

/// Codes of reasons, in words.
fn reasons(codes: &str) -> String {
    let words = codes.split(", ").filter_map(reason);
    words.collect::<Vec<_>>().join(", ")
}

/// Why glass was broken (HL7 v3 `ActReason`, and the gateway's own), in words.
pub(super) fn reason(code: &str) -> Option<&'static str> {
    Some(match code {
        "OVRER" => "emergency treatment",
        "OVRINCOMP" => "the patient could not consent",
        "OVRPJ" => "professional judgment",
        "OVRPS" => "public safety",
        "OVRTPS" => "safety of a third party",
        "CG-ASSIGNED" => "treats the patient; the care list was not up to date",
        "CG-COVERING" => "covers for a colleague who treats the patient",
        _ => return None,
    })
}

fn purposes(codes: &str) -> String {
    let codes = codes.split(", ").filter(|code| !code.is_empty());
    codes.map(meaning).collect::<Vec<_>>().join(", ")
}
