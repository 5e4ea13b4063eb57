//! Shows what others found out about the current patient: imaging and protected notes.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{
    emr::Emr,
    page::{Cell, Part, Passage, Table, page},
    signed_in::Charted,
};

pub(super) async fn imaging(charted: Charted) -> Response {
    let rows = charted
        .patient
        .studies
        .iter()
        .map(|study| {
            vec![
                Cell::from(&study.at),
                Cell::from(&study.modality),
                Cell::from(&study.title),
                Cell::from(&study.report),
            ]
        })
        .collect();
    page(
        &charted.signed,
        Some(&charted.patient),
        "Imaging",
        vec![Part::Table(Table {
            caption: "Studies".to_owned(),
            columns: vec!["Date", "Modality", "Study", "Report"],
            rows,
        })],
    )
}

/// Notes on psychotherapy, substance use and HIV, open to everybody who is signed in.
pub(super) async fn sensitive(State(emr): State<Arc<Emr>>, charted: Charted) -> Response {
    let patient = &charted.patient;
    emr.log(
        &charted.signed.session.name,
        &format!("opened protected notes of patient {}", patient.id),
    );
    let mut parts: Vec<Part> = patient
        .sensitive
        .iter()
        .map(|note| {
            Part::Passage(Passage {
                heading: note.kind.clone(),
                byline: format!("{}, {}", note.at, note.author),
                text: note.text.clone(),
            })
        })
        .collect();
    if parts.is_empty() {
        parts.push(Part::Table(Table {
            caption: "Protected notes".to_owned(),
            columns: vec!["Note"],
            rows: Vec::new(),
        }));
    }
    page(&charted.signed, Some(patient), "Protected notes", parts)
}
