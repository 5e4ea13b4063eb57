//! Writes charts as comma-separated values.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    chart::{Patient, Pid},
    emr::Emr,
    signed_in::SignedIn,
};

/// One chart, entry by entry.
pub(super) async fn chart(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    Path(pid): Path<Pid>,
) -> Response {
    let Some(patient) = emr.records().patient(pid).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    emr.log(
        &signed.session.name,
        &format!("exported chart of patient {pid}"),
    );
    csv(&format!("chart-{pid}.csv"), &chart_lines(&patient))
}

/// All patients.
pub(super) async fn all(State(emr): State<Arc<Emr>>, signed: SignedIn) -> Response {
    let lines = list_lines(emr.records().patients());
    emr.log(&signed.session.name, "exported all patients");
    csv("patients.csv", &lines)
}

fn list_lines<'a>(patients: impl Iterator<Item = &'a Patient>) -> String {
    let mut text = line(&[
        "pid", "mrn", "family", "given", "born", "sex", "phone", "problems",
    ]);
    for patient in patients {
        let problems: Vec<&str> = patient
            .problems
            .iter()
            .map(|problem| problem.title.as_str())
            .collect();
        text.push_str(&line(&[
            &patient.id.to_string(),
            &patient.mrn,
            &patient.family,
            &patient.given,
            &patient.born,
            &patient.sex,
            &patient.phone,
            &problems.join("; "),
        ]));
    }
    text
}

fn chart_lines(patient: &Patient) -> String {
    let mut text = line(&["section", "date", "entry", "detail"]);
    text.push_str(&line(&[
        "demographics",
        &patient.born,
        &patient.name(),
        &patient.mrn,
    ]));
    for problem in &patient.problems {
        text.push_str(&line(&[
            "problem",
            &problem.since,
            &problem.title,
            &problem.code,
        ]));
    }
    for medication in &patient.medications {
        text.push_str(&line(&[
            "medication",
            &medication.started,
            &medication.drug,
            &medication.dose,
        ]));
    }
    for result in &patient.results {
        text.push_str(&line(&["result", &result.at, &result.test, &result.value]));
    }
    for note in &patient.notes {
        text.push_str(&line(&["note", &note.at, &note.author, &note.text]));
    }
    text
}

/// One record, quoted by RFC 4180.
fn line(fields: &[&str]) -> String {
    let quoted: Vec<String> = fields
        .iter()
        .map(|field| format!("\"{}\"", field.replace('"', "\"\"")))
        .collect();
    format!("{}\r\n", quoted.join(","))
}

fn csv(name: &str, text: &str) -> Response {
    let mut response = text.to_owned().into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/csv; charset=utf-8"),
    );
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_commas_kept_inside() {
        assert_eq!(
            line(&["a,b", "say \"ah\""]),
            "\"a,b\",\"say \"\"ah\"\"\"\r\n"
        );
    }
}
