//! Takes entries for the current patient: notes, orders, prescriptions and results.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    chart::{Medication, Note, Order, Patient, TestResult},
    emr::Emr,
    page::{Cell, Field, Form as PageForm, Input, Part, Sent, Table, page},
    records::append,
    signed_in::Charted,
    summary,
};

/// Writes to the current patient's chart and goes back to the page that shows it.
fn enter(
    emr: &Emr,
    charted: &Charted,
    what: &str,
    page: &str,
    change: impl FnOnce(&mut Patient, u64),
) -> Response {
    let pid = charted.patient.id;
    emr.change(|records| records.change(pid, change));
    emr.log(
        &charted.signed.session.name,
        &format!("{what} of patient {pid}"),
    );
    charted.signed.site.redirect(page)
}

pub(super) async fn notes(charted: Charted) -> Response {
    let mut parts = vec![Part::Form(PageForm {
        action: "/chart/notes",
        sent: Sent::Post,
        legend: "New note",
        fields: vec![Field {
            name: "text",
            label: "Text",
            input: Input::Area,
            value: String::new(),
        }],
        submit: "Save note",
    })];
    parts.extend(summary::notes(&charted.patient));
    page(&charted.signed, Some(&charted.patient), "Notes", parts)
}

/// What the note form sends.
#[derive(Deserialize)]
pub(super) struct NewNote {
    text: String,
}

pub(super) async fn add_note(
    State(emr): State<Arc<Emr>>,
    charted: Charted,
    Form(form): Form<NewNote>,
) -> Response {
    let (at, author) = (emr.stamp(), charted.signed.session.display.clone());
    enter(
        &emr,
        &charted,
        "wrote note",
        "/chart/notes",
        |patient, id| {
            append(
                &mut patient.notes,
                Note {
                    id,
                    at,
                    author,
                    text: form.text,
                },
            );
        },
    )
}

pub(super) async fn orders(charted: Charted) -> Response {
    let rows = charted
        .patient
        .orders
        .iter()
        .rev()
        .map(|order| {
            vec![
                Cell::from(&order.at),
                Cell::from(&order.what),
                Cell::from(&order.author),
                match &order.signed_by {
                    Some(signer) => Cell::from(signer),
                    None => Cell::Button {
                        action: format!("/chart/orders/{}/sign", order.id),
                        label: format!("Sign order {}", order.id),
                    },
                },
            ]
        })
        .collect();
    page(
        &charted.signed,
        Some(&charted.patient),
        "Orders",
        vec![
            Part::Form(PageForm {
                action: "/chart/orders",
                sent: Sent::Post,
                legend: "New order",
                fields: vec![Field::line("what", "Order", "")],
                submit: "Place order",
            }),
            Part::Table(Table {
                caption: "Orders".to_owned(),
                columns: vec!["Date", "Order", "Ordered by", "Signed by"],
                rows,
            }),
        ],
    )
}

/// What the order form sends.
#[derive(Deserialize)]
pub(super) struct NewOrder {
    what: String,
}

pub(super) async fn add_order(
    State(emr): State<Arc<Emr>>,
    charted: Charted,
    Form(form): Form<NewOrder>,
) -> Response {
    let (at, author) = (emr.stamp(), charted.signed.session.display.clone());
    enter(
        &emr,
        &charted,
        "placed order",
        "/chart/orders",
        |patient, id| {
            let order = Order {
                id,
                at,
                author,
                what: form.what,
                signed_by: None,
            };
            append(&mut patient.orders, order);
        },
    )
}

pub(super) async fn sign_order(
    State(emr): State<Arc<Emr>>,
    charted: Charted,
    Path(id): Path<u64>,
) -> Response {
    if !charted.patient.orders.iter().any(|order| order.id == id) {
        return (
            StatusCode::NOT_FOUND,
            "The current patient has no such order.",
        )
            .into_response();
    }
    let signer = charted.signed.session.display.clone();
    enter(
        &emr,
        &charted,
        "signed order",
        "/chart/orders",
        |patient, _| {
            if let Some(order) = patient.orders.iter_mut().find(|order| order.id == id) {
                order.signed_by.get_or_insert(signer);
            }
        },
    )
}

pub(super) async fn medications(charted: Charted) -> Response {
    page(
        &charted.signed,
        Some(&charted.patient),
        "Prescriptions",
        vec![
            Part::Form(PageForm {
                action: "/chart/medications",
                sent: Sent::Post,
                legend: "New prescription",
                fields: vec![
                    Field::line("drug", "Drug", ""),
                    Field::line("dose", "Dose", ""),
                ],
                submit: "Prescribe",
            }),
            summary::medications(&charted.patient),
        ],
    )
}

/// What the prescription form sends.
#[derive(Deserialize)]
pub(super) struct Prescription {
    drug: String,
    dose: String,
}

pub(super) async fn prescribe(
    State(emr): State<Arc<Emr>>,
    charted: Charted,
    Form(form): Form<Prescription>,
) -> Response {
    let (started, prescriber) = (emr.stamp(), charted.signed.session.display.clone());
    enter(
        &emr,
        &charted,
        "wrote prescription",
        "/chart/medications",
        |patient, _| {
            let Prescription { drug, dose } = form;
            append(
                &mut patient.medications,
                Medication {
                    drug,
                    dose,
                    prescriber,
                    started,
                },
            );
        },
    )
}

pub(super) async fn results(charted: Charted) -> Response {
    page(
        &charted.signed,
        Some(&charted.patient),
        "Results",
        vec![
            summary::results(&charted.patient),
            Part::Form(PageForm {
                action: "/chart/results",
                sent: Sent::Post,
                legend: "Enter result",
                fields: vec![
                    Field::line("test", "Test", ""),
                    Field::line("value", "Value", ""),
                    Field::line("unit", "Unit", ""),
                    Field::line("reference", "Reference range", ""),
                    Field::line("flag", "Flag (H, L or empty)", ""),
                ],
                submit: "Save result",
            }),
        ],
    )
}

/// What the result form sends.
#[derive(Deserialize)]
pub(super) struct NewResult {
    test: String,
    value: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    reference: String,
    #[serde(default)]
    flag: String,
}

pub(super) async fn add_result(
    State(emr): State<Arc<Emr>>,
    charted: Charted,
    Form(form): Form<NewResult>,
) -> Response {
    let at = emr.stamp();
    enter(
        &emr,
        &charted,
        "entered result",
        "/chart/results",
        |patient, _| {
            let NewResult {
                test,
                value,
                unit,
                reference,
                flag,
            } = form;
            append(
                &mut patient.results,
                TestResult {
                    at,
                    test,
                    value,
                    unit,
                    reference,
                    flag,
                },
            );
        },
    )
}
