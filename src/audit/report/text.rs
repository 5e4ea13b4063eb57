//! A report as plain text.

use super::{Report, Subject};
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
            group.actions_text()
        ));
    }
    if report.subject != Subject::Activity {
        lines.push(String::new());
        for row in &report.rows {
            let fields = row.fields();
            let kept: Vec<&str> = fields
                .iter()
                .map(String::as_str)
                .filter(|field| !field.is_empty())
                .collect();
            lines.push(kept.join("  "));
        }
    }
    let mut out = String::new();
    for line in lines {
        out.push_str(printable(&line).trim_end());
        out.push('\n');
    }
    out
}
