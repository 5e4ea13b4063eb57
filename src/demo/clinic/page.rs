//! Puts tables and forms into the EMR's frame of navigation and patient banner.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};

use super::{
    chart::{Confidentiality, Patient},
    signed_in::SignedIn,
};

/// The links of the navigation frame: address and label.
const CLINIC_LINKS: [(&str, &str); 7] = [
    ("/", "Worklist"),
    ("/patients/search", "Find patient"),
    ("/schedule", "Schedule"),
    ("/registration", "Registration"),
    ("/billing", "Billing"),
    ("/reports/patients.csv", "Patient list (CSV)"),
    ("/admin/users", "User administration"),
];

/// The links that need a current patient.
const CHART_LINKS: [(&str, &str); 12] = [
    ("/chart", "Summary"),
    ("/chart/demographics", "Demographics"),
    ("/chart/notes", "Notes"),
    ("/chart/orders", "Orders"),
    ("/chart/results", "Results"),
    ("/chart/imaging", "Imaging"),
    ("/chart/medications", "Prescriptions"),
    ("/chart/documents", "Documents"),
    ("/chart/sensitive", "Protected notes"),
    ("/chart/psychotherapy", "Psychotherapy"),
    ("/chart/print", "Print chart"),
    ("/chart/send", "Send a copy"),
];

/// One cell of a table.
#[derive(Debug)]
pub(super) enum Cell {
    /// A value out of range or otherwise to be noticed.
    Alert(String),
    /// A button that posts to an address.
    Button {
        action: String,
        label: String,
    },
    Link {
        href: String,
        label: String,
    },
    Text(String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

/// A table with a caption and column headings.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// What a form field looks like.
#[derive(Debug)]
pub(super) enum Input {
    Area,
    Choice(Vec<(String, String)>),
    Line,
}

/// A labelled form field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) input: Input,
    pub(super) value: String,
}

impl Field {
    /// A field of one line.
    pub(super) fn line(name: &'static str, label: &'static str, value: &str) -> Self {
        Self {
            name,
            label,
            input: Input::Line,
            value: value.to_owned(),
        }
    }
}

/// How a form is sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sent {
    Get,
    Post,
}

/// A form.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) action: &'static str,
    pub(super) sent: Sent,
    pub(super) legend: &'static str,
    pub(super) fields: Vec<Field>,
    pub(super) submit: &'static str,
}

/// A passage of text with a heading, such as a note.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) heading: String,
    pub(super) byline: String,
    pub(super) text: String,
}

/// A part of a page.
#[derive(Debug)]
pub(super) enum Part {
    Form(Form),
    Passage(Passage),
    Table(Table),
}

/// The sticky patient as the banner shows it.
#[derive(Debug)]
struct Banner {
    pid: String,
    name: String,
    mrn: String,
    born: String,
    sex: String,
    allergies: String,
    mark: &'static str,
}

impl From<&Patient> for Banner {
    fn from(patient: &Patient) -> Self {
        let allergies: Vec<&str> = patient
            .allergies
            .iter()
            .map(|allergy| allergy.substance.as_str())
            .collect();
        Self {
            pid: patient.id.to_string(),
            name: patient.name(),
            mrn: patient.mrn.clone(),
            born: patient.born.clone(),
            sex: patient.sex.clone(),
            allergies: allergies.join(", "),
            mark: match patient.confidentiality {
                Confidentiality::Normal => "",
                Confidentiality::Restricted => "RESTRICTED",
            },
        }
    }
}

/// A page of the EMR in its frame.
#[derive(Debug, Template)]
#[template(path = "clinic/page.html")]
struct Page<'a> {
    title: &'a str,
    user: &'a str,
    banner: Option<Banner>,
    clinic_links: &'static [(&'static str, &'static str)],
    chart_links: &'static [(&'static str, &'static str)],
    parts: Vec<Part>,
}

/// Renders a page for whoever is signed in, with the banner of `patient`.
pub(super) fn page(
    signed: &SignedIn,
    patient: Option<&Patient>,
    title: &str,
    parts: Vec<Part>,
) -> Response {
    rendered(&Page {
        title,
        user: &signed.session.display,
        banner: patient.map(Banner::from),
        clinic_links: &CLINIC_LINKS,
        chart_links: &CHART_LINKS,
        parts,
    })
}

/// The login form.
#[derive(Debug, Template)]
#[template(path = "clinic/login.html")]
pub(super) struct LoginPage<'a> {
    pub(super) message: &'a str,
}

/// Turns a template into an answer.
pub(super) fn rendered(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the sample EMR could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
