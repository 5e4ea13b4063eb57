//! Events in the Common Event Format (CEF:0), one a line.
//!
//! *Never*: a value that ends its field, or a line break.

use std::net::IpAddr;

use super::judged::{Judgement, judge};
use super::ocsf;
use crate::audit::query::answer::Answer;
use crate::audit::query::join::Joined;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
mod tests;

/// The event of a record.
pub(super) fn event(joined: &Joined) -> String {
    let answer = Answer::of(joined);
    let (judgement, words) = judge(joined);
    let (class, name) = named(&answer);
    let severity = match ocsf::severity(joined, judgement) {
        5 => "10",
        4 => "8",
        3 => "5",
        2 => "3",
        _ => "2",
    };
    let mut line = String::from("CEF:0");
    for field in [
        "Chartgate",
        "Chartgate",
        env!("CARGO_PKG_VERSION"),
        &class,
        &name,
        severity,
    ] {
        line.push('|');
        header(field, &mut line);
    }
    line.push('|');
    let pairs = extension(&answer, judgement, words);
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        line.extend([key, "="]);
        escape(value, &mut line);
    }
    line
}

/// Class and name: what correlation rules are written against, so neither has anything of the single event in it.
fn named(answer: &Answer) -> (String, String) {
    if !answer.event.is_empty() {
        return (answer.event.to_owned(), answer.event.replace('-', " "));
    }
    let action = if answer.action.is_empty() {
        "request".to_owned()
    } else {
        answer.action.to_lowercase()
    };
    if answer.decision == "deny" {
        let code = &answer.refusal;
        return (code.clone(), format!("{action} refused"));
    }
    (format!("request.{action}"), format!("{action} admitted"))
}

fn extension(
    answer: &Answer,
    judgement: Judgement,
    words: Option<String>,
) -> Vec<(&'static str, String)> {
    let outcome = match judgement {
        Judgement::Success => "success",
        Judgement::Minor | Judgement::Serious => "failure",
        Judgement::Open => "unknown",
    };
    let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    let mut pairs = vec![
        ("rt", answer.time.as_millisecond().to_string()),
        ("dvchost", answer.node.clone()),
        ("cat", answer.kind.to_owned()),
        ("act", answer.decision.clone()),
        ("outcome", outcome.to_owned()),
        ("suser", answer.user.clone()),
        ("suid", answer.user_id.clone()),
        ("spriv", answer.roles.join(",")),
        ("destinationServiceName", answer.emr.clone()),
        ("requestMethod", answer.method.clone()),
        ("request", answer.path.clone()),
        ("externalId", answer.request.clone()),
        // Of the gateway as the destination of the client's request.
        ("in", number(answer.bytes_in)),
        ("out", number(answer.bytes_out)),
    ];
    match answer.client.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => pairs.push(("src", address.to_string())),
        Ok(IpAddr::V6(address)) => {
            pairs.push(("c6a2Label", "Source IPv6 Address".to_owned()));
            pairs.push(("c6a2", address.to_string()));
        }
        // A client without an address, as on the operators' socket.
        Err(_) => pairs.push(("shost", answer.client.clone())),
    }
    for (label, key, name, value) in [
        ("cs1Label", "cs1", "patientId", answer.patients.join(",")),
        ("cs2Label", "cs2", "section", answer.section.clone()),
        ("cs3Label", "cs3", "purposeOfUse", answer.purpose.clone()),
        ("cs4Label", "cs4", "policies", answer.policies.join(",")),
        (
            "cs5Label",
            "cs5",
            "careRelation",
            answer.care_relation.clone(),
        ),
        ("cs6Label", "cs6", "session", answer.session.clone()),
        ("cn1Label", "cn1", "sequence", answer.seq.to_string()),
        (
            "cn2Label",
            "cn2",
            "httpStatus",
            number(answer.status.map(u64::from)),
        ),
        ("cn3Label", "cn3", "milliseconds", number(answer.millis)),
        (
            "flexString1Label",
            "flexString1",
            "recordId",
            answer.id.clone(),
        ),
        (
            "flexString2Label",
            "flexString2",
            "sensitivity",
            answer.sensitivity.clone(),
        ),
    ] {
        if !value.is_empty() {
            pairs.extend([(label, name.to_owned()), (key, value)]);
        }
    }
    // Last, because it is the longest: what is cut for syslog is cut from it.
    pairs.push(("reason", words.unwrap_or_default()));
    pairs.retain(|(_, value)| !value.is_empty());
    pairs
}

/// In the header a field ends at `|`, and nothing stands for a line break.
fn header(field: &str, line: &mut String) {
    for c in field.chars() {
        match c {
            '|' => line.push_str("\\|"),
            '\\' => line.push_str("\\\\"),
            control if control.is_control() => line.push(' '),
            plain => line.push(plain),
        }
    }
}

/// In the extension `=` follows a key.
fn escape(value: &str, line: &mut String) {
    for c in value.chars() {
        match c {
            '=' => line.push_str("\\="),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            control if control.is_control() => line.push(' '),
            plain => line.push(plain),
        }
    }
}
