//! Answers as lines for a person's terminal.

use super::answer::{Answer, instant};
use crate::audit::show::printable;

/// The heading above the lines.
#[must_use]
pub fn heading() -> String {
    columns([
        "SEQ", "TIME", "WHO", "WHAT", "PATIENT", "DECISION", "OUTCOME", "WHY", "REQUEST",
    ])
}

/// One line for a person.
#[must_use]
pub fn line(answer: &Answer) -> String {
    let what = if answer.event.is_empty() {
        format!("{} {}", answer.action, answer.section)
    } else {
        answer.event.to_owned()
    };
    let outcome = match answer.status {
        Some(status) if answer.outcome == "complete" => status.to_string(),
        Some(status) => format!("{status} {}", answer.outcome),
        None => answer.outcome.to_owned(),
    };
    let outcome = if answer.refusal.is_empty() {
        outcome
    } else {
        format!("{} {outcome}", answer.refusal)
    };
    let mut why = answer.policies.join(",");
    if !answer.grant.is_empty() {
        why = format!("{why} grant {}", answer.grant);
    }
    if !answer.event.is_empty() {
        why = answer.detail_text();
    }
    let seq = answer.seq.to_string();
    let time = instant(answer.time);
    let listed = answer.listed();
    let patients: Vec<&str> = answer
        .patients
        .iter()
        .chain(&listed)
        .map(String::as_str)
        .collect();
    let patients = patients.join(",");
    columns([
        seq.as_str(),
        &time,
        &answer.user,
        &what,
        &patients,
        &answer.decision,
        &outcome,
        &why,
        &answer.request,
    ])
}

fn columns(fields: [&str; 9]) -> String {
    let widths = [8, 24, 16, 20, 10, 8, 16, 24, 0];
    let padded: Vec<String> = fields
        .iter()
        .zip(widths)
        .map(|(field, width)| {
            let shown = if field.trim().is_empty() {
                "-"
            } else {
                field.trim()
            };
            format!("{:<width$}", printable(shown))
        })
        .collect();
    padded.join(" ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_what_whose_and_why() {
        let answer = Answer {
            seq: 7,
            user: "dr.okafor\u{1b}[2J".to_owned(),
            action: "Read".to_owned(),
            section: "notes".to_owned(),
            patients: vec!["4".to_owned()],
            decision: "allow".to_owned(),
            policies: vec!["care-reads".to_owned()],
            outcome: "complete",
            status: Some(200),
            request: "r1".to_owned(),
            appeared: vec!["8".to_owned(), "9".to_owned()],
            appeared_more: Some(3),
            ..Answer::default()
        };
        let shown = line(&answer);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        for part in [
            "dr.okafor",
            "Read notes",
            " 4,5 in a list ",
            "allow",
            "200",
            "care-reads",
            "r1",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
