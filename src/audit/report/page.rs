//! A report as one HTML file that needs nothing else: no script, nothing from outside, fit for paper.

use askama::Template;

use super::chart::{Chart, charts};
use super::{Group, Report, Row, Subject};
use crate::audit::query::answer::instant;

#[derive(Template)]
#[template(path = "audit_report.html")]
struct Page<'r> {
    title: String,
    also: String,
    period: String,
    made: String,
    admitted: u64,
    refused: u64,
    broken: u64,
    span: Option<(String, String)>,
    group: &'static str,
    groups: Vec<&'r Group>,
    rows: &'r [Row],
    has_rows: bool,
    charts: Vec<Chart>,
}

/// The report as a page.
///
/// # Errors
/// [`askama::Error`], where the template cannot be rendered.
pub fn html(report: &Report) -> Result<String, askama::Error> {
    let (admitted, refused, broken) = report.totals();
    Page {
        title: report.subject.title(),
        also: report.also.join(", "),
        period: report.period(),
        made: instant(report.made),
        admitted,
        refused,
        broken,
        span: report
            .first_and_last()
            .map(|(first, last)| (instant(first), instant(last))),
        group: match report.subject.group() {
            "patient" => "Patient",
            _ => "Person",
        },
        groups: report.groups.values().collect(),
        rows: &report.rows,
        has_rows: report.subject != Subject::Activity,
        charts: charts(report),
    }
    .render()
}
