//! A report as one HTML file that needs nothing else: no script, nothing from outside, fit for paper.

use askama::Template;

use super::chart::{Chart, charts};
use super::foot::{Foot, Moment};
use super::words::{Told, counted};
use super::{Group, Report, Row, Staff, Subject};

#[derive(Template)]
#[template(path = "audit_report.html")]
struct Page<'r> {
    title: String,
    also: String,
    since: Option<Moment>,
    until: Moment,
    made: Moment,
    admitted: u64,
    refused: u64,
    broken: u64,
    span: Option<(Moment, Moment)>,
    group: &'static str,
    groups: Vec<Summed<'r>>,
    rows: Vec<Line<'r>>,
    has_rows: bool,
    has_staff: bool,
    charts: Vec<Chart>,
    foot: Option<&'r Foot>,
}

/// A line of the summary, as it is shown.
struct Summed<'r> {
    name: &'r str,
    roles: &'r str,
    admitted: u64,
    refused: u64,
    broken_glass: u64,
    first: Moment,
    last: Moment,
    what: String,
}

impl<'r> Summed<'r> {
    fn of(group: &'r Group, staff: Staff) -> Self {
        Self {
            name: &group.name,
            roles: &group.roles,
            admitted: group.admitted,
            refused: group.refused,
            broken_glass: group.broken_glass,
            first: Moment::of(group.first),
            last: Moment::of(group.last),
            what: counted(group, staff),
        }
    }
}

/// An access, as it is shown.
struct Line<'r> {
    time: Moment,
    is_refused: bool,
    who: &'r str,
    roles: &'r str,
    what: String,
    section: &'r str,
    patients: &'r str,
    result: String,
    why: String,
    purpose: String,
    client: &'r str,
    request: &'r str,
}

impl<'r> Line<'r> {
    fn of(row: &'r Row, staff: Staff) -> Self {
        let told = Told::of(row, staff);
        Self {
            time: Moment::of(row.time),
            is_refused: row.decision == "deny",
            who: &row.who,
            roles: &row.roles,
            what: told.what,
            section: &row.section,
            patients: &row.patients,
            result: told.result,
            why: told.why,
            purpose: told.purpose,
            client: &row.client,
            request: &row.request,
        }
    }
}

/// The report as a page.
///
/// # Errors
/// [`askama::Error`], where the template cannot be rendered.
pub fn html(report: &Report) -> Result<String, askama::Error> {
    let (admitted, refused, broken) = report.totals();
    let staff = report.staff;
    let groups = report.groups.values();
    Page {
        title: report.subject.title(),
        also: report.also.join(", "),
        since: report.since.map(Moment::of),
        until: Moment::of(report.until.unwrap_or(report.made)),
        made: Moment::of(report.made),
        admitted,
        refused,
        broken,
        span: report
            .first_and_last()
            .map(|(first, last)| (Moment::of(first), Moment::of(last))),
        group: match report.subject.group() {
            "patient" => "Patient",
            _ => "Person",
        },
        groups: groups.map(|group| Summed::of(group, staff)).collect(),
        rows: report.rows.iter().map(|row| Line::of(row, staff)).collect(),
        has_rows: report.subject != Subject::Activity,
        has_staff: staff == Staff::Named,
        charts: charts(report),
        foot: report.foot.as_ref(),
    }
    .render()
}
