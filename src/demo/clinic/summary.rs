//! Shows the chart of the current patient: summary, demographics, and the page for paper.

use std::sync::Arc;

use axum::{Form, extract::State, response::Response};
use serde::Deserialize;

use super::{
    chart::{Patient, TestResult},
    emr::Emr,
    page::{Cell, Field, Form as PageForm, Part, Passage, Sent, Table, page},
    signed_in::Charted,
};

pub(super) async fn chart(charted: Charted) -> Response {
    let patient = &charted.patient;
    let parts = vec![
        problems(patient),
        allergies(patient),
        medications(patient),
        Part::Table(Table {
            caption: "Latest notes".to_owned(),
            columns: vec!["Date", "Author", "Note"],
            rows: patient
                .notes
                .iter()
                .rev()
                .take(3)
                .map(|note| {
                    vec![
                        Cell::from(&note.at),
                        Cell::from(&note.author),
                        Cell::from(&note.text),
                    ]
                })
                .collect(),
        }),
    ];
    page(&charted.signed, Some(patient), "Summary", parts)
}

/// The chart on paper: everything but protected notes.
pub(super) async fn print(State(emr): State<Arc<Emr>>, charted: Charted) -> Response {
    let patient = &charted.patient;
    emr.log(
        &charted.signed.session.name,
        &format!("printed chart of patient {}", patient.id),
    );
    let mut parts = vec![
        details(patient),
        problems(patient),
        allergies(patient),
        medications(patient),
        results(patient),
    ];
    parts.extend(notes(patient));
    let title = format!("Chart of {}, printed {}", patient.name(), emr.stamp());
    page(&charted.signed, Some(patient), &title, parts)
}

fn problems(patient: &Patient) -> Part {
    Part::Table(Table {
        caption: "Problems".to_owned(),
        columns: vec!["Problem", "ICD-10", "Since"],
        rows: patient
            .problems
            .iter()
            .map(|problem| {
                vec![
                    Cell::from(&problem.title),
                    Cell::from(&problem.code),
                    Cell::from(&problem.since),
                ]
            })
            .collect(),
    })
}

fn allergies(patient: &Patient) -> Part {
    Part::Table(Table {
        caption: "Allergies".to_owned(),
        columns: vec!["Substance", "Reaction"],
        rows: patient
            .allergies
            .iter()
            .map(|allergy| {
                vec![
                    Cell::from(&allergy.substance),
                    Cell::from(&allergy.reaction),
                ]
            })
            .collect(),
    })
}

/// The table of medications.
pub(super) fn medications(patient: &Patient) -> Part {
    Part::Table(Table {
        caption: "Medications".to_owned(),
        columns: vec!["Drug", "Dose", "Prescriber", "Started"],
        rows: patient
            .medications
            .iter()
            .map(|medication| {
                vec![
                    Cell::from(&medication.drug),
                    Cell::from(&medication.dose),
                    Cell::from(&medication.prescriber),
                    Cell::from(&medication.started),
                ]
            })
            .collect(),
    })
}

/// The table of laboratory results.
pub(super) fn results(patient: &Patient) -> Part {
    Part::Table(Table {
        caption: "Laboratory results".to_owned(),
        columns: vec!["Date", "Test", "Value", "Unit", "Reference", "Flag"],
        rows: patient.results.iter().map(result).collect(),
    })
}

fn result(result: &TestResult) -> Vec<Cell> {
    let flag = match result.flag.as_str() {
        "" => Cell::from(""),
        flag => Cell::Alert(flag.to_owned()),
    };
    vec![
        Cell::from(&result.at),
        Cell::from(&result.test),
        Cell::from(&result.value),
        Cell::from(&result.unit),
        Cell::from(&result.reference),
        flag,
    ]
}

/// The notes, newest first.
pub(super) fn notes(patient: &Patient) -> impl Iterator<Item = Part> {
    patient.notes.iter().rev().map(|note| {
        Part::Passage(Passage {
            heading: format!("Note of {}", note.at),
            byline: format!("{} (no. {})", note.author, note.id),
            text: note.text.clone(),
        })
    })
}

fn details(patient: &Patient) -> Part {
    Part::Table(Table {
        caption: "Demographics".to_owned(),
        columns: vec!["Field", "Value"],
        rows: [
            ("Name", patient.name()),
            ("MRN", patient.mrn.clone()),
            ("Birth date", patient.born.clone()),
            ("Sex", patient.sex.clone()),
            ("Telephone", patient.phone.clone()),
            ("Address", format!("{}, {}", patient.street, patient.city)),
            ("Insurance", patient.insurance.clone()),
        ]
        .into_iter()
        .map(|(field, value)| vec![Cell::from(field), Cell::Text(value)])
        .collect(),
    })
}

pub(super) async fn demographics(charted: Charted) -> Response {
    let patient = &charted.patient;
    let form = PageForm {
        action: "/chart/demographics",
        sent: Sent::Post,
        legend: "Change",
        fields: vec![
            Field::line("phone", "Telephone", &patient.phone),
            Field::line("street", "Street", &patient.street),
            Field::line("city", "Town", &patient.city),
            Field::line("insurance", "Insurance", &patient.insurance),
        ],
        submit: "Save",
    };
    page(
        &charted.signed,
        Some(patient),
        "Demographics",
        vec![details(patient), Part::Form(form)],
    )
}

/// What the demographics form sends; a missing field stays as it is.
#[derive(Deserialize)]
pub(super) struct Demographics {
    phone: Option<String>,
    street: Option<String>,
    city: Option<String>,
    insurance: Option<String>,
}

pub(super) async fn update_demographics(
    State(emr): State<Arc<Emr>>,
    charted: Charted,
    Form(form): Form<Demographics>,
) -> Response {
    let pid = charted.patient.id;
    emr.change(|records| {
        records.change(pid, |patient, _| {
            for (field, value) in [
                (&mut patient.phone, form.phone),
                (&mut patient.street, form.street),
                (&mut patient.city, form.city),
                (&mut patient.insurance, form.insurance),
            ] {
                if let Some(value) = value {
                    *field = value;
                }
            }
        })
    });
    emr.log(
        &charted.signed.session.name,
        &format!("changed demographics of patient {pid}"),
    );
    charted.signed.site.redirect("/chart/demographics")
}
