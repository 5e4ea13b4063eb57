//! Shows what others found out about the current patient: imaging and protected notes; takes psychotherapy notes.

use std::sync::Arc;

use axum::{Form, extract::State, response::Response};
use serde::Deserialize;

use super::{
    chart::SensitiveNote,
    emr::Emr,
    page::{Cell, Field, Form as PageForm, Input, Part, Passage, Sent, Table, page},
    records::append,
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

/// What psychotherapy notes are filed as.
const PSYCHOTHERAPY: &str = "Psychotherapy";

/// Notes on substance use and HIV, open to everybody who is signed in.
pub(super) async fn sensitive(State(emr): State<Arc<Emr>>, charted: Charted) -> Response {
    log(&emr, &charted, "opened protected notes");
    let parts = passages(&charted, |note| note.kind != PSYCHOTHERAPY);
    page(
        &charted.signed,
        Some(&charted.patient),
        "Protected notes",
        parts,
    )
}

/// Psychotherapy notes, which this software keeps on a page of their own and protects no better.
pub(super) async fn psychotherapy(State(emr): State<Arc<Emr>>, charted: Charted) -> Response {
    log(&emr, &charted, "opened psychotherapy notes");
    let mut parts = passages(&charted, |note| note.kind == PSYCHOTHERAPY);
    parts.push(Part::Form(PageForm {
        action: "/chart/psychotherapy",
        sent: Sent::Post,
        legend: "New psychotherapy note",
        fields: vec![Field {
            name: "text",
            label: "Text",
            input: Input::Area,
            value: String::new(),
        }],
        submit: "Save note",
    }));
    page(
        &charted.signed,
        Some(&charted.patient),
        "Psychotherapy",
        parts,
    )
}

/// What the form for psychotherapy notes sends.
#[derive(Deserialize)]
pub(super) struct NewNote {
    text: String,
}

/// Files a psychotherapy note.
pub(super) async fn add_psychotherapy(
    State(emr): State<Arc<Emr>>,
    charted: Charted,
    Form(form): Form<NewNote>,
) -> Response {
    let (at, author) = (emr.stamp(), charted.signed.session.display.clone());
    emr.change(|records| {
        records.change(charted.patient.id, |patient, _| {
            let note = SensitiveNote {
                kind: PSYCHOTHERAPY.to_owned(),
                at,
                author,
                text: form.text,
            };
            append(&mut patient.sensitive, note);
        })
    });
    log(&emr, &charted, "wrote a psychotherapy note");
    charted.signed.site.redirect("/chart/psychotherapy")
}

fn log(emr: &Emr, charted: &Charted, what: &str) {
    emr.log(
        &charted.signed.session.name,
        &format!("{what} of patient {}", charted.patient.id),
    );
}

fn passages(charted: &Charted, keeps: impl Fn(&SensitiveNote) -> bool) -> Vec<Part> {
    let mut parts: Vec<Part> = charted
        .patient
        .sensitive
        .iter()
        .filter(|note| keeps(note))
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
    parts
}
