//! Finds, selects, registers and deletes patients.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    chart::{Confidentiality, Patient, Pid},
    emr::Emr,
    page::{Cell, Field, Form as PageForm, Input, Part, Sent, Table, page},
    signed_in::SignedIn,
};

/// What the search form sends.
#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
}

pub(super) async fn search(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    Query(search): Query<Search>,
) -> Response {
    let records = emr.records();
    let current = signed
        .session
        .current
        .and_then(|pid| records.patient(pid).cloned());
    let rows = records
        .search(&search.q)
        .into_iter()
        .map(|patient| {
            vec![
                Cell::Link {
                    href: format!("/patients/select?set_pid={}", patient.id),
                    label: patient.name(),
                },
                Cell::from(&patient.mrn),
                Cell::from(&patient.born),
                Cell::from(&patient.sex),
                Cell::from(&patient.city),
                match patient.confidentiality {
                    Confidentiality::Normal => Cell::from(""),
                    Confidentiality::Restricted => Cell::Alert("restricted".to_owned()),
                },
            ]
        })
        .collect();
    drop(records);
    page(
        &signed,
        current.as_ref(),
        "Find patient",
        vec![
            Part::Form(PageForm {
                action: "/patients/search",
                sent: Sent::Get,
                legend: "Search",
                fields: vec![Field::line("q", "Name, MRN or birth date", &search.q)],
                submit: "Search",
            }),
            Part::Table(Table {
                caption: "Patients".to_owned(),
                columns: vec!["Name", "MRN", "Born", "Sex", "Town", "Mark"],
                rows,
            }),
        ],
    )
}

/// Which patient becomes the sticky one.
#[derive(Deserialize)]
pub(super) struct Selection {
    set_pid: Pid,
}

/// Makes a patient the session's current one: every chart page then means this patient.
pub(super) async fn select(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    Query(selection): Query<Selection>,
) -> Response {
    match emr.select(&signed.token, selection.set_pid) {
        Some(patient) => {
            emr.log(
                &signed.session.name,
                &format!("selected patient {}", patient.id),
            );
            signed.site.redirect("/chart")
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(super) async fn registration_form(signed: SignedIn) -> Response {
    page(
        &signed,
        None,
        "Registration",
        vec![Part::Form(PageForm {
            action: "/registration",
            sent: Sent::Post,
            legend: "New patient",
            fields: vec![
                Field::line("family", "Family name", ""),
                Field::line("given", "Given name", ""),
                Field::line("born", "Birth date (YYYY-MM-DD)", ""),
                Field {
                    name: "sex",
                    label: "Sex",
                    input: Input::Choice(
                        [("F", "Female"), ("M", "Male"), ("U", "Unknown")]
                            .map(|(value, label)| (value.to_owned(), label.to_owned()))
                            .to_vec(),
                    ),
                    value: "U".to_owned(),
                },
                Field::line("phone", "Telephone", ""),
                Field::line("street", "Street", ""),
                Field::line("city", "Town", ""),
                Field::line("insurance", "Insurance", ""),
            ],
            submit: "Register",
        })],
    )
}

/// What the registration form sends.
#[derive(Deserialize)]
pub(super) struct Registration {
    family: String,
    given: String,
    born: String,
    #[serde(default)]
    sex: String,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    street: String,
    #[serde(default)]
    city: String,
    #[serde(default)]
    insurance: String,
}

impl Registration {
    fn into_patient(self, pid: Pid) -> Patient {
        Patient {
            id: pid,
            mrn: format!("RC9{:05}", pid.0),
            family: self.family,
            given: self.given,
            sex: self.sex,
            born: self.born,
            phone: self.phone,
            street: self.street,
            city: self.city,
            insurance: self.insurance,
            confidentiality: Confidentiality::Normal,
            problems: Vec::new(),
            allergies: Vec::new(),
            medications: Vec::new(),
            notes: Vec::new(),
            orders: Vec::new(),
            results: Vec::new(),
            studies: Vec::new(),
            charges: Vec::new(),
            sensitive: Vec::new(),
            documents: Vec::new(),
        }
    }
}

/// Registers a patient and makes it the current one.
pub(super) async fn register(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    Form(registration): Form<Registration>,
) -> Response {
    if registration.family.trim().is_empty()
        || registration.born.parse::<jiff::civil::Date>().is_err()
    {
        return (
            StatusCode::BAD_REQUEST,
            "A family name and a birth date (YYYY-MM-DD) are needed.",
        )
            .into_response();
    }
    let registered = emr.change(|records| records.register(|pid| registration.into_patient(pid)));
    match registered.and_then(|pid| emr.select(&signed.token, pid)) {
        Some(patient) => {
            emr.log(
                &signed.session.name,
                &format!("registered patient {}", patient.id),
            );
            signed.site.redirect("/chart/demographics")
        }
        None => StatusCode::INSUFFICIENT_STORAGE.into_response(),
    }
}

pub(super) async fn delete(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    Path(pid): Path<Pid>,
) -> Response {
    match emr.change(|records| records.delete(pid)) {
        Some(patient) => {
            emr.log(
                &signed.session.name,
                &format!("deleted patient {}", patient.id),
            );
            signed.site.redirect("/patients/search")
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
