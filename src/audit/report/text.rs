//! A report as plain text.

use super::words::{Told, counted};
use super::{Report, Row, Staff, Subject};
use crate::audit::query::answer::instant;
use crate::audit::show::printable;

/// The report for a terminal or a letter.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut lines = vec![
        report.subject.title(),
        format!("{}; made {}", report.period(), instant(report.made)),
    ];
    if !report.also.is_empty() {
        lines.push(format!("Also known as {}.", report.also.join(", ")));
    }
    let (admitted, refused, broken) = report.totals();
    match report.first_and_last() {
        None => lines.push("Nothing is on record.".to_owned()),
        Some((first, last)) => lines.push(format!(
            "{admitted} admitted, {refused} refused, {broken} under break-glass; first {}, last {}",
            instant(first),
            instant(last)
        )),
    }
    lines.push(String::new());
    for group in report.groups.values() {
        let roles = if group.roles.is_empty() {
            String::new()
        } else {
            format!(" ({})", group.roles)
        };
        lines.push(format!(
            "{}{roles}: {} admitted, {} refused, {} under break-glass; first {}, last {}; {}",
            group.name,
            group.admitted,
            group.refused,
            group.broken_glass,
            instant(group.first),
            instant(group.last),
            counted(group, report.staff)
        ));
    }
    if report.subject != Subject::Activity {
        lines.push(String::new());
        for row in &report.rows {
            lines.push(told(row, report.staff));
        }
    }
    if let Some(foot) = &report.foot {
        lines.push(String::new());
        lines.extend(foot.text());
    }
    printed(lines)
}

/// Lines for a terminal or a letter.
pub(super) fn printed(lines: Vec<String>) -> String {
    let mut out = String::new();
    for line in lines {
        out.push_str(printable(&line).trim_end());
        out.push('\n');
    }
    out
}

/// A row on a line: what is known of it, two blanks between.
fn told(row: &Row, staff: Staff) -> String {
    let told = Told::of(row, staff);
    let time = instant(row.time);
    let decision = match staff {
        Staff::Named => row.decision.as_str(),
        // The result says it in words.
        Staff::Numbered => "",
    };
    let fields = [
        &time,
        &row.who,
        &row.roles,
        &told.what,
        &row.section,
        &row.patients,
        decision,
        &told.result,
        &told.why,
        &told.purpose,
        &row.client,
        &row.request,
    ];
    let kept: Vec<&str> = fields
        .into_iter()
        .filter(|field| !field.is_empty())
        .collect();
    kept.join("  ")
}
